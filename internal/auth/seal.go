package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// KeySize is the length of a sealing key, in bytes.
const KeySize = 32

// sealer encrypts what a store keeps: AES-256-GCM with a random nonce in front.
type sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) (sealer, error) {
	if len(key) != KeySize {
		return sealer{}, fmt.Errorf("a sealing key has %d bytes, not %d", KeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

// seal binds text to the key of its entry, so that entries cannot be exchanged for one another.
func (s sealer) seal(text []byte, entryKey string) []byte {
	return s.aead.Seal(nil, nil, text, []byte(entryKey))
}

func (s sealer) open(sealed []byte, entryKey string) ([]byte, error) {
	text, err := s.aead.Open(nil, nil, sealed, []byte(entryKey))
	if err != nil {
		return nil, errors.New("a stored entry cannot be opened with this sealing key")
	}
	return text, nil
}

// NewKey makes a sealing key for sessions that end with the process.
func NewKey() []byte {
	key := make([]byte, KeySize)
	rand.Read(key) // never fails since Go 1.24
	return key
}
