package auth

import (
	"crypto/hmac"
	"crypto/sha256"
)

// Key is a secret for a purpose of another part of the gateway, such as signing page tokens: the same
// wherever and as long as the sealing key is the same, and of no use for another purpose.
func (s *Sessions) Key(purpose string) []byte { return derive(s.partsKey, purpose) }

// derive makes a key for one purpose from another key.
func derive(key []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}
