package digest

import "encoding/hex"

// Sums is a list of sums in less memory than texts take. It has no sum of an index that was not set.
type Sums struct {
	n              int
	blake3, sha256 [][32]byte // nil as long as there are none; zero where there is none
}

// NewSums returns a list of n sums.
func NewSums(n int) *Sums { return &Sums{n: n} }

// Set sets a sum that this package computed.
func (s *Sums) Set(i int, sum Sum) {
	setSum(&s.blake3, s.n, i, sum.BLAKE3)
	setSum(&s.sha256, s.n, i, sum.SHA256)
}

func setSum(all *[][32]byte, n, i int, text string) {
	if text == "" {
		return
	}
	if *all == nil {
		*all = make([][32]byte, n)
	}
	_, _ = hex.Decode((*all)[i][:], []byte(text))
}

// At returns a sum.
func (s *Sums) At(i int) Sum { return Sum{BLAKE3: sumAt(s.blake3, i), SHA256: sumAt(s.sha256, i)} }

func sumAt(all [][32]byte, i int) string {
	if all == nil || all[i] == [32]byte{} {
		return ""
	}
	return hex.EncodeToString(all[i][:])
}

// Ref is one sum of a list. The zero Ref is of no sum.
type Ref struct {
	of *Sums
	i  int32
}

// Ref returns a reference to a sum, which may be set later.
func (s *Sums) Ref(i int) Ref { return Ref{s, int32(i)} }

// RefOf returns a reference to a sum by itself.
func RefOf(sum Sum) Ref {
	s := NewSums(1)
	s.Set(0, sum)
	return s.Ref(0)
}

// Sum returns the sum.
func (r Ref) Sum() Sum {
	if r.of == nil {
		return Sum{}
	}
	return r.of.At(int(r.i))
}
