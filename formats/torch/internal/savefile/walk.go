package savefile

import (
	"bytes"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// The values of a pickle are a graph, not a tree. Those of a hostile one contain themselves, nest 200,000
// deep, or have 2^64 paths through 64 lists. So they are walked without recursion, in two passes: the
// first visits each container once and counts the tensors below it; the second follows the paths to
// tensors, whose number the first has bounded.

// Limits of the passes.
const (
	maxChildren  = 1 << 20 // of all containers, more than the largest pickle can list
	maxTensors   = tensor.MaxTensors
	maxObjects   = 1 << 12         // that are named
	maxNameBytes = tensor.MaxNames // of all names together
)

func namesTooLong() error {
	return tensor.Bad("names of the tensors take more than %d MiB", maxNameBytes>>20)
}

// children returns the number of values in a container, and a function that returns each of them with its
// key. ok is false if v is not a container.
func children(v any) (n int, at func(i int) (key, child any), ok bool) {
	switch c := v.(type) {
	case *pickle.Dict:
		n, first := made(c.From)
		return n + len(c.Entries), func(i int) (any, any) {
			if i < n {
				return pairOf(first(i))
			}
			return c.Entries[i-n].Key, c.Entries[i-n].Value
		}, true
	case *pickle.Set:
		n, first := made(c.From)
		return n + len(c.Items), func(i int) (any, any) {
			if i < n {
				return first(i)
			}
			return i, c.Items[i-n]
		}, true
	case *pickle.List:
		return inOrder(c.Items)
	case *pickle.Tuple:
		return inOrder(c.Items)
	}
	return 0, nil, false
}

func inOrder(items []any) (n int, at func(i int) (key, child any), ok bool) {
	return len(items), func(i int) (any, any) { return i, items[i] }, true
}

// made returns the values that a dict or set was made from. What is none that Python takes counts as one
// value without a key.
func made(from any) (n int, at func(i int) (key, child any)) {
	switch f := from.(type) {
	case nil:
		return 0, nil
	case *pickle.List, *pickle.Tuple:
		n, at, _ = children(f)
		return n, at
	case *pickle.Dict:
		if f.From == nil {
			return len(f.Entries), func(i int) (any, any) {
				return i, &pickle.Tuple{Items: []any{f.Entries[i].Key, f.Entries[i].Value}}
			}
		}
	}
	return 1, func(int) (any, any) { return notPairs{}, from }
}

// notPairs stands for the key of what a dict cannot be made from.
type notPairs struct{}

// pairOf returns the key and value of a pair: Python 2 writes an OrderedDict as a list of them.
func pairOf(_, pair any) (key, value any) {
	var items []any
	switch p := pair.(type) {
	case *pickle.List:
		items = p.Items
	case *pickle.Tuple:
		items = p.Items
	}
	if len(items) != 2 {
		return notPairs{}, pair
	}
	return items[0], items[1]
}

// isTensor reports whether a value is a tensor.
func isTensor(v any) bool {
	switch v.(type) {
	case *Ref, *Wrapped:
		return true
	}
	return false
}

// graph is the result of the first pass.
type graph struct {
	paths   map[any]*paths // by container; empty ones are left out
	others  map[string]int // number of leaves that are not tensors, by kind
	objects []Named        // leaves that are objects of unknown classes, at most maxObjects
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
		if isTensor(child) {
			top.found(top.i-1, 1)
			continue
		}
		n, at, ok := children(child)
		if !ok {
			c.count(child, stack)
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
		return nil, tensor.Bad("pickle names more than %d tensors, which is the most that griffin reads", maxTensors).Because(tensor.TooLarge)
	}
	return c, nil
}

// count counts a value that is neither a tensor nor a container, below the containers of the stack.
func (c *graph) count(v any, stack []visit) {
	if s, ok := v.(*Size); ok {
		if len(s.numbers) > 0 {
			c.others["numbers"] += len(s.numbers)
		}
		return
	}
	c.others[describe(v)]++
	if o, ok := v.(*pickle.Object); ok && len(c.objects) < maxObjects {
		var name string
		for i := 1; i < len(stack); i++ {
			key, _ := stack[i].at(stack[i].i - 1)
			name = joinShort(name, key)
		}
		if name == "" {
			name = unnamedTensor
		}
		c.objects = append(c.objects, Named{strings.TrimPrefix(name, "."), o})
	}
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
	if _, ok := v.(*pickle.Dict); !ok {
		return nil
	}
	seen := make(map[any]bool, n)
	for i := range n {
		key, _ := at(i)
		switch k := key.(type) {
		case string, int64, bool, float64, nil:
			if seen[k] {
				return tensor.Bad("dict has the key %q twice", tensor.Clip(fmt.Sprint(k)))
			}
			seen[k] = true
		case *pickle.Set:
			if !k.Frozen {
				return tensor.Bad("dict has a key that is a container")
			}
		case *pickle.Dict, *pickle.List:
			return tensor.Bad("dict has a key that is a container")
		case notPairs:
			return tensor.Bad("dict is made of something that is not pairs of a key and a value")
		}
	}
	return nil
}

// collect does the second pass. It returns the tensors with their names, in the order of the pickle.
func (c *graph) collect(root any) ([]Named, error) {
	if isTensor(root) {
		return []Named{{unnamedTensor, root}}, nil
	}
	_, at, ok := children(root)
	if !ok || c.paths[root] == nil {
		return nil, nil
	}
	var found []Named
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
		var problem error
		if name, problem = appendKey(name, top.node, key); problem != nil {
			if tensor.ReasonOf(problem) != Unreadable {
				return nil, problem
			}
			child = &Ref{problem: problem.(*tensor.FormatError)}
			name = bytes.TrimSuffix(name, []byte("."))
		}
		if isTensor(child) {
			found = append(found, Named{string(name), child})
			if total += len(name); total > maxNameBytes {
				return nil, namesTooLong()
			}
			continue
		}
		_, at, _ := children(child)
		stack = append(stack, visit{node: child, paths: c.paths[child], at: at, name: len(name)})
	}
	return found, nil
}

// unnamedTensor is the name of a tensor that was saved by itself.
const unnamedTensor = "tensor"

// appendKey appends the key of a value in container to the name of the container.
func appendKey(name []byte, container, key any) ([]byte, error) {
	if _, ok := container.(*pickle.Set); ok {
		return name, unnamed("set holds tensors, which have no names in it")
	}
	text, ok := keyText(key)
	if !ok {
		return name, unnamed("tensor in a dict with a key that is neither text nor an integer")
	}
	if !utf8.ValidString(text) {
		return name, unnamed("name of a tensor is not UTF-8: %s", strconv.QuoteToASCII(tensor.Clip(text)))
	}
	if len(name) > maxNameBytes-len(text) {
		return name, namesTooLong()
	}
	return append(name, text...), nil
}

func unnamed(format string, args ...any) error {
	return tensor.Bad(format, args...).Because(Unreadable)
}

// describe returns the kind of a value that is neither tensor nor container, in the plural.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "booleans"
	case int64, float64, *big.Int:
		return "numbers"
	case string:
		return "strings"
	case pickle.Bytes:
		return "byte strings"
	case *storageRef:
		return looseStorages
	case other:
		return v.kind
	case *pickle.Object:
		return unknownObjects
	}
	return "types"
}

const (
	looseStorages  = "storages without a tensor"
	unknownObjects = "objects of unknown classes"
)

// keyText returns the part of a tensor's name that a key of a dict gives: text as it is, a number
// in decimal, a tuple of these as Python writes it.
func keyText(key any) (string, bool) {
	switch k := key.(type) {
	case string:
		return k, true
	case int: // of a list
		return strconv.Itoa(k), true
	case int64:
		return strconv.FormatInt(k, 10), true
	case bool:
		if k {
			return "True", true
		}
		return "False", true
	case *Size:
		return keyText(k.tuple())
	case *pickle.Tuple:
		var parts []string
		for _, item := range k.Items {
			switch item.(type) {
			case string, int64, bool:
			default:
				return "", false
			}
			part, _ := keyText(item)
			parts = append(parts, part)
		}
		return "(" + strings.Join(parts, ", ") + ")", true
	}
	return "", false
}
