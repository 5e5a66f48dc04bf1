package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

// Hash computes the digests of a sequence of bytes that comes in pieces. It is safe for use by several goroutines.
type Hash struct {
	algorithms Algorithms
	tree       *tree // nil without BLAKE3

	mu     sync.Mutex
	sha    hash.Hash // nil without SHA-256
	hashed int64     // bytes in sha
	end    int64     // after the last byte of Write
}

// New returns the Hash of no bytes.
func New(a Algorithms) *Hash {
	h := &Hash{algorithms: a}
	if a.Has(BLAKE3) {
		h.tree = &tree{}
	}
	if a.Has(SHA256) {
		h.sha = sha256.New()
	}
	return h
}

// NewBounded returns the Hash of no bytes that leaves out bytes which would have to be held until those around them come, if there are more
// of them than most (above 0). Missing says which, and the caller adds them again, from there on.
func NewBounded(a Algorithms, most int64) *Hash {
	h := New(a)
	if h.tree != nil {
		h.tree.most = most
	}
	return h
}

// Of returns the digests of p.
func Of(a Algorithms, p []byte) Sum {
	h := New(a)
	h.Feed(0, p)
	return h.Sum(int64(len(p)))
}

// Algorithms returns the hash functions.
func (h *Hash) Algorithms() Algorithms { return h.algorithms }

// Write adds the bytes after those of the last Write, or from the beginning on. It never fails.
func (h *Hash) Write(p []byte) (int, error) {
	h.mu.Lock()
	at := h.end
	h.end += int64(len(p))
	h.mu.Unlock()
	h.Feed(at, p)
	return len(p), nil
}

// Feed adds the bytes from offset at on. Bytes that were added before are left out. SHA-256 also leaves out bytes that
// come before those in front of them: then they have to be added again.
func (h *Hash) Feed(at int64, p []byte) {
	if h.tree != nil {
		h.tree.feed(at, p)
	}
	if h.sha == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if end := at + int64(len(p)); at <= h.hashed && h.hashed < end {
		h.sha.Write(p[h.hashed-at:])
		h.hashed = end
	}
}

// Missing returns the offset of the first of size bytes that has to be added yet, or size if there is none. No Feed may
// be running.
func (h *Hash) Missing(size int64) int64 {
	missing := size
	if h.tree != nil {
		missing = h.tree.known.prefix()
	}
	if h.sha != nil {
		missing = min(missing, h.hashed)
	}
	return min(missing, size)
}

// Sum returns the digests of the first size bytes, all of which were added, and after which none was. No Feed may be
// running.
func (h *Hash) Sum(size int64) Sum {
	var s Sum
	if h.tree != nil {
		sum := h.tree.sum(size)
		s.BLAKE3 = hex.EncodeToString(sum[:])
	}
	if h.sha != nil {
		s.SHA256 = hex.EncodeToString(h.sha.Sum(nil))
	}
	return s
}

// Clone returns a Hash with the same bytes. No Feed may be running.
func (h *Hash) Clone() *Hash {
	c := &Hash{algorithms: h.algorithms, hashed: h.hashed, end: h.end}
	if h.tree != nil {
		c.tree = h.tree.clone()
	}
	if h.sha != nil {
		sha, err := h.sha.(hash.Cloner).Clone()
		if err != nil {
			panic(err) // crypto/sha256 documents no error
		}
		c.sha = sha
	}
	return c
}
