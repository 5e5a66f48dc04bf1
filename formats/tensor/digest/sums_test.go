package digest

import "testing"

// A list has the sums that were set, by each hash function, and none of other indexes.
func TestSums(t *testing.T) {
	s := NewSums(4)
	both, one := Of(BLAKE3|SHA256, []byte("a")), Of(SHA256, []byte("b"))
	ref := s.Ref(2)
	s.Set(2, both)
	s.Set(0, one)
	for i, want := range []Sum{one, {}, both, {}} {
		if got := s.At(i); got != want {
			t.Errorf("%d: %v, want %v", i, got, want)
		}
	}
	if ref.Sum() != both || (Ref{}).Sum() != (Sum{}) || RefOf(one).Sum() != one {
		t.Errorf("%v, %v, %v", ref.Sum(), Ref{}.Sum(), RefOf(one).Sum())
	}
}
