// Package web is what people see in a browser: the API reference, and the page that says what each
// error means.
//
// It is a client of the API like any other and imports nothing of the gateway; what its pages show
// is read from the contract in the browser, or handed in. Nothing is loaded from elsewhere.
//
// Rejected: a reference built beforehand. It would be one more thing to build, and could show
// another contract than the one that is served.
package web
