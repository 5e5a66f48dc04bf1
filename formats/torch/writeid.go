package torch

import (
	"encoding/binary"
	"fmt"
)

// The last record of a file, .data/serialization_id, is computed from the names and the checksums of the
// others (caffe2/serialize/inline_container.cc, writeSerializationId). Its first half combines the hashes
// of the names in the iteration order of a std::unordered_set of libstdc++, with which torch is built for
// Linux.

const (
	idName   = ".data/serialization_id"
	idLength = 40
)

// serializationID returns the content of the record, 40 digits. record returns one of the n others.
func serializationID(n int, record func(k int) record) string {
	var set nameSet
	sums := uint64(0)
	for k := range n {
		r := record(k)
		set.add(r.plain)
		if r.size > 0 { // torch takes the checksums from the descriptors
			sums = combine(sums, uint64(r.crc))
		}
	}
	names := uint64(0)
	for at := set.first; at != none; at = set.nodes[at].next {
		names = combine(names, set.nodes[at].hash)
	}
	return fmt.Sprintf("%020d%020d", names, sums)
}

// combine is hash_combine of c10.
func combine(seed, value uint64) uint64 {
	return seed ^ (value + 0x9e3779b9 + seed<<6 + seed>>2)
}

// nameSet has the iteration order of a std::unordered_set<std::string> of libstdc++ into which names are
// inserted one by one: a list, in which a name is inserted before the others of its bucket or, if the
// bucket is empty, at the front. If there are more names than buckets, the list is rebuilt.
type nameSet struct {
	nodes   []nameNode
	first   int   // of the list
	buckets []int // the node before the first of each bucket, front or none
}

type nameNode struct {
	hash uint64
	next int
}

const (
	none  = -1
	front = -2 // before the first node
)

// bucketCounts are the numbers of buckets of a growing set.
var bucketCounts = []int{13, 29, 59, 127, 257, 541, 1109, 2357, 5087, 10273, 20753, 42043, 85229, 172933, 351061, 712697, 1447153}

func (s *nameSet) add(name string) {
	if len(s.nodes) == 0 {
		s.first = none
	}
	s.nodes = append(s.nodes, nameNode{stdHash(name), none})
	if len(s.nodes) > len(s.buckets) {
		s.grow(len(s.nodes) - 1)
	}
	s.insert(len(s.nodes) - 1)
}

// grow rebuilds the list of the first n nodes with the next number of buckets.
func (s *nameSet) grow(n int) {
	count := bucketCounts[len(bucketCounts)-1]
	for _, c := range bucketCounts {
		if c > n {
			count = c
			break
		}
	}
	s.buckets = make([]int, count)
	for i := range s.buckets {
		s.buckets[i] = none
	}
	at := s.first
	s.first = none
	for at != none {
		next := s.nodes[at].next
		s.insert(at)
		at = next
	}
}

func (s *nameSet) bucket(node int) int {
	return int(s.nodes[node].hash % uint64(len(s.buckets)))
}

// insert puts a node before the others of its bucket.
func (s *nameSet) insert(node int) {
	b := s.bucket(node)
	switch before := s.buckets[b]; before {
	case none:
		s.nodes[node].next = s.first
		if s.first != none {
			s.buckets[s.bucket(s.first)] = node
		}
		s.first = node
		s.buckets[b] = front
	case front:
		s.nodes[node].next = s.first
		s.first = node
	default:
		s.nodes[node].next = s.nodes[before].next
		s.nodes[before].next = node
	}
}

// stdHash is std::hash<std::string> of libstdc++: MurmurHash64A by Austin Appleby with a fixed seed.
func stdHash(s string) uint64 {
	const (
		seed = 0xc70f6907
		m    = 0xc6a4a7935bd1e995
		r    = 47
	)
	h := seed ^ uint64(len(s))*m
	for len(s) >= 8 {
		k := binary.LittleEndian.Uint64([]byte(s[:8])) * m
		h = (h ^ (k^k>>r)*m) * m
		s = s[8:]
	}
	if len(s) > 0 {
		var rest [8]byte
		copy(rest[:], s)
		h = (h ^ binary.LittleEndian.Uint64(rest[:])) * m
	}
	h = (h ^ h>>r) * m
	return h ^ h>>r
}
