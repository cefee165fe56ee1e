package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
)

// config is how a backend's certificate is checked: by the system's authorities, by those of CAFile,
// or by the pin of its public key (for hosts that sign their own). There is no way to check nothing.
func (t backendTLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", t.CAFile)
		}
	}
	if t.PinSHA256 == "" {
		return c, nil
	}
	pin, err := base64.StdEncoding.DecodeString(t.PinSHA256)
	if err != nil || len(pin) != sha256.Size {
		return nil, errors.New("pinSha256: expected the base64 of 32 bytes")
	}
	// With a CA file both are checked; without one the pin stands for the chain.
	c.InsecureSkipVerify = t.CAFile == ""
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the backend shows no certificate")
		}
		sum := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
		if subtle.ConstantTimeCompare(sum[:], pin) != 1 {
			return errors.New("the backend's public key is not the pinned one")
		}
		return nil
	}
	return c, nil
}
