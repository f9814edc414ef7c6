package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// keys are the hashes of the API keys: hashes have one length, so comparing them tells nothing of the keys, not even
// their lengths.
type keys [][sha256.Size]byte

func newKeys(texts []string) keys {
	var k keys
	for _, text := range texts {
		if text != "" {
			k = append(k, sha256.Sum256([]byte(text)))
		}
	}
	return k
}

// open reports whether a request has one of the keys, in a time that does not depend on which, or on how wrong it is.
func (k keys) open(r *http.Request) bool {
	if len(k) == 0 {
		return true
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		given = ""
	}
	hash, found := sha256.Sum256([]byte(given)), 0
	for i := range k {
		found |= subtle.ConstantTimeCompare(hash[:], k[i][:])
	}
	return found == 1
}

// requestID is the client's X-Request-Id if it is a sane one, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	printable := func(c byte) bool { return c > ' ' && c < 0x7f }
	if id == "" || len(id) > 128 {
		return rand.Text()
	}
	for i := range len(id) {
		if !printable(id[i]) {
			return rand.Text()
		}
	}
	return id
}

func allowed(methods map[string]http.HandlerFunc) string {
	return strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
}
