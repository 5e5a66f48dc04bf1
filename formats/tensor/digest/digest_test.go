package digest_test

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

//go:embed testdata/vectors.txt
var vectors string

// counting returns the input of the test vectors.
func counting(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

// BLAKE3 is that of the reference implementation, whether the bytes come at once, in pieces or backwards.
func TestVectors(t *testing.T) {
	_, lines, _ := strings.Cut(vectors, "\n")
	for line := range strings.Lines(lines) {
		var n int
		var want string
		if _, err := fmt.Sscan(line, &n, &want); err != nil {
			t.Fatal(err)
		}
		p := counting(n)
		if got := digest.Of(digest.BLAKE3, p); got != (digest.Sum{BLAKE3: want}) {
			t.Errorf("%d bytes: %s", n, got)
		}
		for _, step := range []int{1, 1000, 1024, 16 << 10, 20000} {
			forwards, backwards := digest.New(digest.BLAKE3), digest.New(digest.BLAKE3)
			for at := 0; at < n; at += step {
				forwards.Write(p[at:min(at+step, n)])
			}
			for at := (n - 1) / step * step; at >= 0; at -= step {
				backwards.Feed(int64(at), p[at:min(at+step, n)])
			}
			if got := forwards.Sum(int64(n)); got.BLAKE3 != want {
				t.Errorf("%d bytes in steps of %d: %s", n, step, got)
			}
			if got := backwards.Sum(int64(n)); got.BLAKE3 != want {
				t.Errorf("%d bytes backwards in steps of %d: %s", n, step, got)
			}
		}
	}
}

// Large inputs have subtrees of many blocks. The digests were computed by the package blake3 of Python.
func TestLarge(t *testing.T) {
	for n, want := range map[int]string{
		1 << 20:       "74cb441fd087764ca9c3694da742ebe30cbeb3060a17009ca81825c7a8d10343",
		5<<20 + 12345: "4f6f706f56439f9ecb9e0347cbe6d68235fac93c2336c68c14222c5b1bf924fb",
	} {
		p := counting(n)
		if got := digest.Of(digest.BLAKE3|digest.SHA256, p); got.BLAKE3 != want || got.SHA256 != hexOf(p) {
			t.Errorf("%d bytes: %+v", n, got)
		}
	}
}

func hexOf(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

// scattered feeds p in random pieces that overlap, in random order, from several goroutines.
func scattered(t *testing.T, h *digest.Hash, p []byte, rng *rand.Rand, most int) {
	t.Helper()
	var pieces [][2]int
	for at := 0; at < len(p); {
		n := min(1+rng.IntN(most), len(p)-at)
		pieces = append(pieces, [2]int{max(at-rng.IntN(3)*rng.IntN(5000), 0), at + n})
		at += n
	}
	rng.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	var group task.Group
	for _, x := range pieces {
		group.Go(func() error { h.Feed(int64(x[0]), p[x[0]:x[1]]); return nil })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// BLAKE3 does not depend on the order of the pieces; SHA-256 says what it needs again.
func TestAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		p := counting(rng.IntN(1 << rng.IntN(21)))
		n := int64(len(p))
		want := digest.Of(digest.BLAKE3|digest.SHA256, p)
		h := digest.New(digest.BLAKE3)
		scattered(t, h, p, rng, 1+rng.IntN(100000))
		if got := h.Sum(n); h.Missing(n) != n || got != want.Only(digest.BLAKE3) {
			t.Fatalf("%d bytes: %s, not %s", n, got, want)
		}
		both := digest.New(digest.BLAKE3 | digest.SHA256)
		scattered(t, both, p, rng, 1+rng.IntN(100000))
		at := both.Missing(n)
		both.Feed(at, p[at:])
		if got := both.Sum(n); both.Missing(n) != n || got != want {
			t.Fatalf("%d bytes, %d again: %+v, not %+v", n, n-at, got, want)
		}
	}
}

// Missing bytes are found.
func TestMissing(t *testing.T) {
	for a, last := range map[digest.Algorithms]int64{digest.BLAKE3: 9000, digest.SHA256: 6000, digest.BLAKE3 | digest.SHA256: 6000} {
		h := digest.New(a)
		h.Feed(5000, make([]byte, 1000))
		if at := h.Missing(10000); at != 0 {
			t.Errorf("%s: %d", a, at)
		}
		h.Feed(7000, make([]byte, 2000))
		h.Feed(0, make([]byte, 6000))
		if a == digest.BLAKE3 {
			h.Feed(6000, make([]byte, 1000))
		}
		if at := h.Missing(10000); at != last {
			t.Errorf("%s: %d, not %d", a, at, last)
		}
		if at := h.Missing(5500); at != 5500 {
			t.Errorf("%s: %d", a, at)
		}
	}
}

// A clone goes on by itself.
func TestClone(t *testing.T) {
	p := counting(100000)
	q := counting(100001)[1:]
	h := digest.New(digest.BLAKE3 | digest.SHA256)
	h.Write(p[:50001])
	c := h.Clone()
	h.Write(p[50001:])
	c.Write(q[50001:])
	mixed := append(append([]byte(nil), p[:50001]...), q[50001:]...)
	if h.Sum(100000) != digest.Of(h.Algorithms(), p) || c.Sum(100000) != digest.Of(h.Algorithms(), mixed) {
		t.Error("a clone shares what comes later")
	}
}

// Sums are compared by what both have.
func TestSum(t *testing.T) {
	both := digest.Of(digest.BLAKE3|digest.SHA256, []byte("weight"))
	if s := both.Only(digest.SHA256); s.BLAKE3 != "" || s.Algorithms() != digest.SHA256 || s.Hex() != s.SHA256 || s.Named() != "sha256:"+s.SHA256 {
		t.Errorf("%+v", s)
	}
	for _, tt := range []struct {
		a, b              digest.Sum
		equal, comparable bool
	}{
		{both, both, true, true},
		{both, both.Only(digest.SHA256), true, true},
		{both.Only(digest.BLAKE3), both.Only(digest.SHA256), true, false},
		{both, digest.Sum{BLAKE3: both.BLAKE3, SHA256: "00"}, false, true},
		{both, digest.Sum{}, true, false},
	} {
		if equal, comparable := tt.a.Compare(tt.b); equal != tt.equal || comparable != tt.comparable {
			t.Errorf("%+v and %+v: %t, %t", tt.a, tt.b, equal, comparable)
		}
	}
	for _, name := range digest.Names() {
		if a, err := digest.Parse(name); err != nil || a.String() != name {
			t.Errorf("%s: %s, %v", name, a, err)
		}
	}
	if _, err := digest.Parse("md5"); err == nil {
		t.Error("md5 is accepted")
	}
}

// FuzzOrder takes lengths of pieces, two bytes each, and feeds the pieces in the order of their lengths.
func FuzzOrder(f *testing.F) {
	f.Add([]byte{1, 0, 0, 4, 0, 64, 255, 255})
	f.Fuzz(func(t *testing.T, lengths []byte) {
		lengths = lengths[:min(len(lengths), 64)]
		var ends []int
		n := 0
		for i := 0; i+1 < len(lengths); i += 2 {
			n += int(lengths[i]) | int(lengths[i+1])<<8
			ends = append(ends, n)
		}
		p := counting(n)
		h := digest.New(digest.BLAKE3)
		for even := range 2 {
			start := 0
			for i, end := range ends {
				if i%2 == even {
					h.Feed(int64(start), p[start:end])
				}
				start = end
			}
		}
		if got := h.Sum(int64(n)); got != digest.Of(digest.BLAKE3, p) {
			t.Errorf("%v: %s", ends, got)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	p := counting(1 << 20)
	for _, a := range []digest.Algorithms{digest.BLAKE3, digest.SHA256} {
		for _, offset := range []int64{0, 1000} {
			b.Run(fmt.Sprint(a, "/", offset), func(b *testing.B) {
				b.SetBytes(int64(len(p)))
				h := digest.New(a)
				h.Feed(0, make([]byte, offset))
				for at := offset; b.Loop(); at += int64(len(p)) {
					h.Feed(at, p)
				}
			})
		}
	}
}

// A model may have very many tensors of a few bytes.
func TestMemoryOfFewBytes(t *testing.T) {
	const n, most = 1000, 1024 // hashes, bytes each
	kept := make([]*digest.Hash, n)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range kept {
		kept[i] = digest.New(digest.BLAKE3)
		kept[i].Feed(0, []byte{1, 2, 3, 4})
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > most {
		t.Errorf("a hash of 4 bytes takes %d bytes, more than %d", each, most)
	}
	runtime.KeepAlive(kept)
}
