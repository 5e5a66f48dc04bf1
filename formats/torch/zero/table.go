package zero

import (
	"cmp"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// table finds the entries of a dict that have text keys, in 4 bytes of memory for each.
type table struct {
	entries []pickle.Entry
	sorted  []int32 // indexes of entries, by their keys
	next    int     // index after that of the entry that was found last
}

// newTable returns the table of a dict, of which each key has to occur once. Of another value it is empty.
func newTable(v any) (*table, error) {
	d, ok := v.(*pickle.Dict)
	if !ok {
		return &table{}, nil
	}
	t := &table{entries: d.Entries}
	for i, e := range d.Entries {
		if _, ok := e.Key.(string); ok {
			t.sorted = append(t.sorted, int32(i))
		}
	}
	slices.SortFunc(t.sorted, func(a, b int32) int { return cmp.Compare(t.name(a), t.name(b)) })
	for k := 1; k < len(t.sorted); k++ {
		if name := t.name(t.sorted[k]); name == t.name(t.sorted[k-1]) {
			return nil, tensor.Bad("two tensors of one name").Of(tensor.Clip(name))
		}
	}
	return t, nil
}

func (t *table) name(i int32) string {
	name, _ := t.entries[i].Key.(string)
	return name
}

// find returns the index of the entry with a key, -1 if there is none. Names that are looked up in the order of the dict are found at once.
func (t *table) find(name string) int {
	if t.next < len(t.entries) {
		if key, ok := t.entries[t.next].Key.(string); ok && key == name {
			t.next++
			return t.next - 1
		}
	}
	k, found := slices.BinarySearchFunc(t.sorted, name, func(i int32, name string) int { return strings.Compare(t.name(i), name) })
	if !found {
		return -1
	}
	t.next = int(t.sorted[k]) + 1
	return t.next - 1
}

// get returns the value of a key, nil if there is none.
func (t *table) get(name string) any {
	if i := t.find(name); i >= 0 {
		return t.entries[i].Value
	}
	return nil
}
