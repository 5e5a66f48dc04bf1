package orbax

import (
	"slices"
	"testing"
	"unsafe"
)

// Each array is that of one leaf, whether the store lists it or not, and its name is in memory once.
func TestUsage(t *testing.T) {
	stored := []string{"b/c", "b", "a"}
	u := newUsage(stored)
	for _, tt := range []struct {
		leaf leaf
		want bool
	}{
		{leaf{name: string([]byte("a")), array: "a"}, true},
		{leaf{name: "x", array: string([]byte("b/c"))}, true},
		{leaf{name: "y", array: "b/c"}, false},
		{leaf{name: "z", array: "none"}, true},
		{leaf{name: "z", array: "none"}, false},
		{leaf{name: "z", array: "zz"}, true},
	} {
		l := tt.leaf
		if got := u.add(&l); got != tt.want || l.name != tt.leaf.name || l.array != tt.leaf.array {
			t.Errorf("%+v: %t, %+v", tt.leaf, got, l)
		}
		i := slices.Index(stored, l.array)
		if !tt.want || i < 0 {
			continue
		}
		if unsafe.StringData(l.array) != unsafe.StringData(stored[i]) || l.name == l.array && unsafe.StringData(l.name) != unsafe.StringData(stored[i]) {
			t.Errorf("%+v: the name is in memory twice", l)
		}
	}
	c := &contents{}
	c.noteUnnamed(u)
	if want := []string{"arrays that are not in the tree are left out: b"}; !slices.Equal(c.notes, want) {
		t.Errorf("%q", c.notes)
	}
}
