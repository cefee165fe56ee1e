// Package feed tells what changes at the backends: one [Feed] for each login at a backend, however
// many follow it.
//
// A feed runs one watcher, which hands over batches ([backends.Watcher]); keeps the last known
// state of every VM and says what differs; and writes events into a bounded log that listeners read
// by position, each at its own pace. A listener that comes back goes on where it was, or is told
// that the log no longer reaches so far.
//
// That last known state is a mirror of the backend as well ([Feeds.Snapshot]): reads that may be a few
// seconds old are answered from it, as long as it has all that the login itself has written. Each
// batch makes a new one that shares what did not change, so that readers and watcher never wait for
// each other. The VMs of all feeds together are bounded.
//
// It leaves to the drivers how a backend is watched, to internal/operations what becomes of an
// operation, and to the handlers how events look on the line.
//
// Rejected: a channel for each listener. A slow one would either hold up the watcher or lose events
// without knowing it, and nobody could resume. Rejected too: a feed for each backend, filtered for
// each user. What a user may see is known by the backend alone, so its own login has to ask.
package feed
