package backends

import "strings"

// Pointer turns a member's path ("memory.staticMaxBytes") into an RFC 6901 JSON pointer.
func Pointer(path string) string { return "/" + strings.ReplaceAll(path, ".", "/") }
