// Package web is what people see in a browser: the console, the API reference, and the page that
// says what each error means.
//
// It is a client of the API like any other and imports nothing of the gateway; what its pages show
// is read from the API in the browser, or handed in. Nothing is loaded from elsewhere.
//
// The console's sources are in ui/, in TypeScript; what Vite makes of them is committed in ui/dist.
//
// Rejected: a reference built beforehand. It would be one more thing to build, and could show
// another contract than the one that is served. A console that is built when the gateway is: whoever
// only wants to run the gateway would need Node.
package web
