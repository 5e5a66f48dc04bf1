// Package digest computes digests of bytes that are read or written for another purpose. A Hash takes BLAKE3 from
// pieces in any order, as several goroutines produce them, and SHA-256 from pieces in ascending order.
package digest

import (
	"fmt"
	"strings"
)

// Algorithms is a set of hash functions.
type Algorithms uint8

// The hash functions. BLAKE3 is as fast as memory on processors with vector instructions; SHA-256 is known to more
// programs.
const (
	BLAKE3 Algorithms = 1 << iota
	SHA256
)

// Default is the hash function that is used where none is named.
const Default = BLAKE3

// all lists the hash functions with their names, which are the keys of digests in JSON.
var all = []struct {
	Algorithms
	name string
}{{BLAKE3, "blake3"}, {SHA256, "sha256"}}

// Names returns the names of the hash functions.
func Names() []string {
	var names []string
	for _, a := range all {
		names = append(names, a.name)
	}
	return names
}

// Parse returns the hash function with a name.
func Parse(name string) (Algorithms, error) {
	for _, a := range all {
		if a.name == name {
			return a.Algorithms, nil
		}
	}
	return 0, fmt.Errorf("%q is not one of %s", name, strings.Join(Names(), ", "))
}

// String returns the names, joined by "+".
func (a Algorithms) String() string {
	var names []string
	for _, one := range all {
		if a.Has(one.Algorithms) {
			names = append(names, one.name)
		}
	}
	return strings.Join(names, "+")
}

// Has reports whether a has all of b.
func (a Algorithms) Has(b Algorithms) bool { return a&b == b }

// Sum has the digests of one sequence of bytes, each as 64 lower-case hexadecimal digits, or "" if it was not computed.
// Records in JSON embed a Sum, so that the key of a digest names its hash function.
type Sum struct {
	BLAKE3 string `json:"blake3,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// Algorithms returns the hash functions of the digests that s has.
func (s Sum) Algorithms() (a Algorithms) {
	if s.BLAKE3 != "" {
		a |= BLAKE3
	}
	if s.SHA256 != "" {
		a |= SHA256
	}
	return a
}

// Only returns the digests of s by the hash functions of a.
func (s Sum) Only(a Algorithms) Sum {
	if !a.Has(BLAKE3) {
		s.BLAKE3 = ""
	}
	if !a.Has(SHA256) {
		s.SHA256 = ""
	}
	return s
}

// Hex returns the digest by the first hash function of s, "" if s has none.
func (s Sum) Hex() string {
	if s.BLAKE3 != "" {
		return s.BLAKE3
	}
	return s.SHA256
}

// Compare compares the digests that s and other both have. comparable is false if there are none.
func (s Sum) Compare(other Sum) (equal, comparable bool) {
	both := s.Algorithms() & other.Algorithms()
	return s.Only(both) == other.Only(both), both != 0
}

// Named returns the digest with its hash function, such as "blake3:af13…". If s has several, it is the first.
func (s Sum) Named() string {
	switch {
	case s.BLAKE3 != "":
		return "blake3:" + s.BLAKE3
	case s.SHA256 != "":
		return "sha256:" + s.SHA256
	}
	return ""
}
