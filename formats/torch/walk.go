package torch

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nlpodyssey/gopickle/types"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The values of a pickle are a graph, not a tree. Those of a hostile one contain themselves, nest 200,000
// deep, or have 2^64 paths through 64 lists. So they are walked without recursion, in two passes: the
// first visits each container once and counts the tensors below it; the second follows the paths to
// tensors, whose number the first has bounded.

// Limits of the passes.
const (
	maxChildren  = 1 << 20 // of all containers, more than the largest pickle can list
	maxTensors   = 1 << 17
	maxNameBytes = 16 << 20 // of all names together
)

func namesTooLong() error {
	return tensor.Bad("names of the tensors take more than %d MiB", maxNameBytes>>20)
}

// named is a tensor with its full name.
type named struct {
	name string
	ref  *tensorRef
}

// children returns the number of values in a container, and a function that returns each of them with its
// key. ok is false if v is not a container.
func children(v any) (n int, at func(i int) (key, child any), ok bool) {
	inOrder := func(items []any) (int, func(int) (any, any), bool) {
		return len(items), func(i int) (any, any) { return i, items[i] }, true
	}
	switch c := v.(type) {
	case *types.Dict:
		return c.Len(), func(i int) (any, any) { return (*c)[i].Key, (*c)[i].Value }, true
	case *orderedDict:
		return c.len(), c.at, true
	case *types.List:
		return inOrder(*c)
	case *types.Tuple:
		return inOrder(*c)
	case *pySet:
		return c.len(), c.at, true
	}
	return 0, nil, false
}

// graph is the result of the first pass.
type graph struct {
	paths  map[any]*paths // by container; empty ones are left out
	others map[string]int // number of leaves that are not tensors, by kind
}

// paths are the paths from a container to tensors.
type paths struct {
	open    bool  // the pass is below it
	tensors int   // number of paths, at most maxTensors+1
	by      []int // indices of the children that are or hold tensors
}

// visit is a container on the path of a pass.
type visit struct {
	node any
	*paths
	i    int // next child; in the second pass, next index of by
	n    int
	at   func(int) (key, child any)
	name int // length of the container's name, in the second pass
}

// newGraph does the first pass.
func newGraph(root any) (*graph, error) {
	c := &graph{paths: map[any]*paths{}, others: map[string]int{}}
	holder := visit{paths: &paths{}, n: 1, at: func(int) (any, any) { return nil, root }}
	stack := []visit{holder}
	visited := 0 // children, of all containers
	for {
		top := &stack[len(stack)-1]
		if top.i == top.n {
			top.open = false
			if stack = stack[:len(stack)-1]; len(stack) == 0 {
				break
			}
			parent := &stack[len(stack)-1]
			parent.found(parent.i-1, top.tensors)
			continue
		}
		_, child := top.at(top.i)
		top.i++
		if _, ok := child.(*tensorRef); ok {
			top.found(top.i-1, 1)
			continue
		}
		n, at, ok := children(child)
		if !ok {
			c.others[describe(child)]++
			continue
		}
		if n == 0 {
			continue
		}
		if known := c.paths[child]; known != nil {
			if known.open {
				return nil, tensor.Bad("pickle holds a container that contains itself")
			}
			top.found(top.i-1, known.tensors)
			continue
		}
		if visited += n; visited > maxChildren {
			return nil, tensor.Bad("pickle has more values than it can list")
		}
		if err := checkKeys(child, n, at); err != nil {
			return nil, err
		}
		c.paths[child] = &paths{open: true}
		stack = append(stack, visit{node: child, paths: c.paths[child], n: n, at: at})
	}
	if holder.tensors > maxTensors {
		return nil, tensor.Bad("pickle names more than %d tensors", maxTensors)
	}
	return c, nil
}

// found adds the number of tensors at or below a child.
func (p *paths) found(child, tensors int) {
	if tensors > 0 {
		p.by = append(p.by, child)
		p.tensors = min(p.tensors+tensors, maxTensors+1)
	}
}

// checkKeys refuses dicts that Python cannot have: with a container as key, or with one key twice.
func checkKeys(v any, n int, at func(int) (any, any)) error {
	switch v.(type) {
	case *types.Dict, *orderedDict:
	default:
		return nil
	}
	seen := make(map[any]bool, n)
	for i := range n {
		key, _ := at(i)
		switch k := key.(type) {
		case string, int, bool, float64, nil:
			if seen[k] {
				return tensor.Bad("dict has the key %q twice", tensor.Clip(fmt.Sprint(k)))
			}
			seen[k] = true
		case *types.Dict, *orderedDict, *types.List, *pySet:
			return tensor.Bad("dict has a key that is a container")
		}
	}
	return nil
}

// collect does both passes. It returns the tensors with their names, in the order of the pickle.
func collect(root any) ([]named, *graph, error) {
	c, err := newGraph(root)
	if err != nil {
		return nil, nil, err
	}
	if t, ok := root.(*tensorRef); ok {
		return []named{{unnamedTensor, t}}, c, nil
	}
	_, at, ok := children(root)
	if !ok || c.paths[root] == nil || c.paths[root].tensors == 0 {
		return nil, nil, tensor.Bad("pickle holds no tensor").
			Advise("a checkpoint is a dict of tensors, as torch.save(model.state_dict(), path) writes it")
	}
	var found []named
	var name []byte
	total := 0
	stack := []visit{{node: root, paths: c.paths[root], at: at}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.i == len(top.by) {
			stack = stack[:len(stack)-1]
			continue
		}
		key, child := top.at(top.by[top.i])
		top.i++
		name = name[:top.name]
		if len(stack) > 1 {
			name = append(name, '.')
		}
		if name, err = appendKey(name, top.node, key); err != nil {
			return nil, nil, err
		}
		if ref, ok := child.(*tensorRef); ok {
			found = append(found, named{string(name), ref})
			if total += len(name); total > maxNameBytes {
				return nil, nil, namesTooLong()
			}
			continue
		}
		_, at, _ := children(child)
		stack = append(stack, visit{node: child, paths: c.paths[child], at: at, name: len(name)})
	}
	return found, c, nil
}

// unnamedTensor is the name of a tensor that was saved by itself.
const unnamedTensor = "tensor"

// appendKey appends the key of a value in container to the name of the container.
func appendKey(name []byte, container, key any) ([]byte, error) {
	if _, ok := container.(*pySet); ok {
		return nil, tensor.Bad("set holds tensors, which have no names in it").Of(tensor.Clip(string(name)))
	}
	text, ok := keyText(key)
	if !ok {
		return nil, tensor.Bad("tensor in a dict with a key that is neither text nor an integer").Of(tensor.Clip(string(name)))
	}
	if !utf8.ValidString(text) {
		return nil, tensor.Bad("name of a tensor is not UTF-8: %s", strconv.QuoteToASCII(tensor.Clip(text))).Of(tensor.Clip(string(name)))
	}
	if len(name) > maxNameBytes-len(text) {
		return nil, namesTooLong()
	}
	return append(name, text...), nil
}

// listOthers lists the leaves that are not tensors: "numbers (3), strings (1)".
func (c *graph) listOthers() string {
	var kinds []string
	for kind := range c.others {
		kinds = append(kinds, kind)
	}
	sort.Strings(kinds)
	for i, kind := range kinds {
		kinds[i] = fmt.Sprintf("%s (%d)", kind, c.others[kind])
	}
	return strings.Join(kinds, ", ")
}
