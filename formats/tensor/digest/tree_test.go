package digest

import (
	"math/rand/v2"
	"testing"
)

// A bounded Hash holds no more than it may of bytes that come in any order, and after they were added again has the digest of all.
func TestBounded(t *testing.T) {
	const most, piece = 8 * blockBytes, 1000
	r := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{1, blockBytes, 100*blockBytes + 17, 300 * blockBytes} {
		p := make([]byte, size)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		h := NewBounded(BLAKE3, most)
		pieces := (size + piece - 1) / piece
		for _, i := range r.Perm(pieces) {
			if i%100 != 1 { // some bytes do not come at all
				h.Feed(int64(i*piece), p[i*piece:min((i+1)*piece, size)])
			}
			if h.tree.held > most+blockBytes {
				t.Fatalf("%d bytes are held", h.tree.held)
			}
		}
		again := 0
		for at := h.Missing(int64(size)); at < int64(size); at = h.Missing(int64(size)) {
			h.Feed(at, p[at:min(at+3*blockBytes/2, int64(size))])
			if again++; again > pieces {
				t.Fatalf("bytes from %d on stay missing", at)
			}
		}
		if got, want := h.Sum(int64(size)), Of(BLAKE3, p); got != want {
			t.Errorf("%d bytes: %v, want %v", size, got, want)
		}
		if size < most && again > 2 {
			t.Errorf("of %d bytes, %d pieces were added again", size, again)
		}
	}
}
