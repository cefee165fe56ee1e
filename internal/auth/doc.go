// Package auth turns a token into logins at backends, and ends those logins when nobody needs them
// any more.
//
// It is the room between the contract and the handlers. A token is 256 random bits, shown once and
// kept as a hash. Logins of one user at one backend share one backend session, counted by the
// tokens that hold it and ended with the last, because backends allow few (OpenNebula ten login
// tokens a user, xapi 500 sessions an originator); the password is still checked at the backend at
// every login, and nothing is shared across users.
//
// What is kept lies in a [store.Store] as sealed bytes, so that a store outside of the process learns
// neither tokens nor backend credentials. Passwords are kept nowhere.
//
// Rejected: signed, self-contained tokens. They cannot be revoked, and would carry the backend's
// credential to the client.
package auth
