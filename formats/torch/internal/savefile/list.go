package savefile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// Named is a tensor or an object in a file with its full name: the keys that lead to it, joined with
// dots. What was saved by itself is called "tensor".
type Named struct {
	Name  string
	Value any // a *Ref, *Wrapped or *pickle.Object
}

// List is what a file holds.
type List struct {
	Tensors []Named        // each a *Ref or *Wrapped, in the order of the pickle
	Objects []Named        // of unknown classes, the first few of them
	Hidden  []Named        // tensors that only those hold
	Others  map[string]int // how many other values there are, by kind
}

// List lists the tensors of the file. A tensor that has no name is in the list with the reason why it
// cannot be read.
func (f *File) List() (*List, error) {
	c, err := newGraph(f.Root)
	if err != nil {
		return nil, err
	}
	found, err := c.collect(f.Root)
	if err != nil {
		return nil, err
	}
	list := &List{Tensors: found, Objects: c.objects, Others: c.others}
	list.findHidden()
	return list, nil
}

// findHidden finds the tensors that only objects of unknown classes hold.
func (l *List) findHidden() {
	if len(l.Objects) == 0 {
		return
	}
	listed := map[any]bool{}
	for _, n := range l.Tensors {
		listed[n.Value] = true
	}
	for _, object := range l.Objects {
		visited := map[any]bool{}
		stack := []Named{object}
		for len(stack) > 0 {
			top := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if isTensor(top.Value) {
				if !listed[top.Value] {
					listed[top.Value] = true
					l.Hidden = append(l.Hidden, top)
				}
				continue
			}
			n, at, ok := inside(top.Value)
			if !ok || visited[top.Value] {
				continue
			}
			visited[top.Value] = true
			for i := n - 1; i >= 0; i-- {
				if key, child := at(i); isTensor(child) || isContainer(child) {
					stack = append(stack, Named{joinShort(top.Name, key), child})
				}
			}
		}
	}
}

// inside returns the values in a container or in an object, as children does.
func inside(v any) (n int, at func(i int) (key, child any), ok bool) {
	o, ok := v.(*pickle.Object)
	if !ok {
		return children(v)
	}
	parts := []any{o.Args, o.State}
	if o.Named != nil {
		parts = append(parts, o.Named)
	}
	n = len(parts) + len(o.Items) + len(o.Entries)
	return n, func(i int) (key, child any) {
		if i < len(parts) {
			return nil, parts[i]
		}
		if i -= len(parts); i < len(o.Items) {
			return i, o.Items[i]
		}
		e := o.Entries[i-len(o.Items)]
		return e.Key, e.Value
	}, true
}

func isContainer(v any) bool {
	_, _, ok := inside(v)
	return ok
}

// joinShort appends a key to a name, if it is one and the name is not too long.
func joinShort(name string, key any) string {
	text, ok := keyText(key)
	if !ok || len(name)+len(text) > 200 {
		return name
	}
	return name + "." + text
}

// describe adds what the file holds besides tensors, with a note where that may be weights.
func (l *List) describe(c *tensor.Checkpoint) {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(l.Others)) {
		kinds = append(kinds, fmt.Sprintf("%s (%d)", kind, l.Others[kind]))
	}
	if len(kinds) > 0 {
		c.Describe("other values", strings.Join(kinds, ", "))
	}
	var objects []string
	for _, o := range l.Objects {
		objects = append(objects, fmt.Sprintf("%s (%s)", tensor.QuoteName(o.Name), tensor.QuoteName(o.Value.(*pickle.Object).Name())))
	}
	if len(objects) > 0 {
		c.Describe(unknownObjects, tensor.JoinNames(objects))
	}
	for _, kind := range []string{numpyArrays, looseStorages} {
		if n := l.Others[kind]; n > 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("%s (%d) are left out: only tensors are listed", kind, n))
		}
	}
}
