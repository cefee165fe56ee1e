// Package backends holds the gateway's own words for virtual machines: [VM], [State], [Verb],
// [Operation], [Error], and the [Driver] that says them in a backend's words.
//
// It is the room between the handlers and the drivers. [Backend] looks a verb's row up, refuses
// what its driver does not have, and explains a refusal with one read; everything that knows
// XML-RPC, OpenNebula or XenAPI is behind [Driver]. It imports the standard library only, so that
// neither HTTP nor a wire format can leak into the vocabulary.
//
// Rejected: one interface method per verb and sub-resource. It made the tenth verb an edit in
// five places; now a verb is a row in [Verbs] and one in each driver that has it, a sub-resource a
// row in [Resources], and a writable member a row in [Members].
package backends
