package orbax

import "github.com/griffin-ckpt/griffin/formats/tensor"

// usage says which of the arrays of a store are those of leaves.
type usage struct {
	stored []string // names
	index  tensor.NameIndex
	named  []bool          // as stored
	others map[string]bool // arrays of leaves that are not among stored
}

func newUsage(stored []string) *usage {
	return &usage{stored: stored, index: tensor.IndexNames(len(stored), func(i int) string { return stored[i] }), named: make([]bool, len(stored)), others: map[string]bool{}}
}

// add records the array of a leaf, and reports whether it is that of no leaf before. The leaf then shares the memory of the
// store's name, since there may be very many.
func (u *usage) add(l *leaf) bool {
	found := u.index.Of(l.array)
	if len(found) == 0 {
		known := u.others[l.array]
		u.others[l.array] = true
		return !known
	}
	i := found[0]
	if u.named[i] {
		return false
	}
	u.named[i] = true
	if l.name == l.array {
		l.name = u.stored[i]
	}
	l.array = u.stored[i]
	return true
}
