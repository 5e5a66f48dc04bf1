package torch

import "github.com/nlpodyssey/gopickle/types"

// This file holds the values of a pickle that are not tensors. Dicts, lists and tuples are those of
// gopickle. Its Dict has linear look-up, but the walk only iterates over it. Its OrderedDict is not used
// (the copied pickle cannot name it): it cannot be made from pairs, as Python 2 pickles it, and it
// overwrites the values of repeated keys, for which a checkpoint is refused.

// orderedDict is a collections.OrderedDict or defaultdict. Its state, such as the _metadata that
// Module.state_dict adds, is ignored.
type orderedDict struct {
	pairs      *types.List // that it was made from, not copied since many dicts may share them
	types.Dict             // entries that were set afterwards
}

func (*orderedDict) PySetState(any) error { return nil }

// makeOrderedDict takes no argument or, as Python 2 writes it, a list of [key, value] lists.
func makeOrderedDict(args []any) any {
	d := &orderedDict{}
	if len(args) > 0 {
		d.pairs, _ = args[0].(*types.List)
	}
	return d
}

func makeDefaultDict([]any) any { return &orderedDict{} }

func (d *orderedDict) len() int {
	if d.pairs == nil {
		return d.Dict.Len()
	}
	return d.pairs.Len() + d.Dict.Len()
}

// at returns the key and the value of index i, nil for both if the pair is not one.
func (d *orderedDict) at(i int) (key, value any) {
	if d.pairs != nil {
		if i < d.pairs.Len() {
			if pair, ok := d.pairs.Get(i).(*types.List); ok && pair.Len() == 2 {
				return pair.Get(0), pair.Get(1)
			}
			return nil, nil
		}
		i -= d.pairs.Len()
	}
	return d.Dict[i].Key, d.Dict[i].Value
}

// pySet is a set. It has no order, so tensors in it have no names.
type pySet struct {
	list  *types.List // that it was made from
	items []any       // that were added afterwards
}

func (s *pySet) Add(v any)          { s.items = append(s.items, v) }
func (*pySet) PySetState(any) error { return nil }

func makeSet(args []any) any {
	s := &pySet{}
	if len(args) > 0 {
		s.list, _ = args[0].(*types.List)
	}
	return s
}

func (s *pySet) len() int {
	if s.list == nil {
		return len(s.items)
	}
	return s.list.Len() + len(s.items)
}

func (s *pySet) at(i int) (key, value any) {
	if s.list != nil {
		if i < s.list.Len() {
			return i, s.list.Get(i)
		}
		i -= s.list.Len()
	}
	return i, s.items[i]
}

// makeSize returns the tuple that a torch.Size is made from.
func makeSize(args []any) any {
	if len(args) == 1 {
		switch sizes := args[0].(type) {
		case *types.Tuple:
			return sizes
		case *types.List:
			return types.NewTupleFromSlice(*sizes)
		}
	}
	return types.NewTupleFromSlice(nil)
}

// other is a value that neither is a tensor nor holds any. what is its kind, in the plural.
type other struct{ what string }

func (*other) PySetState(any) error { return nil }

// numpyArrays is a kind of other values that may be weights.
const numpyArrays = "numpy arrays"

func makeOther(what string) func([]any) any {
	return func([]any) any { return &other{what} }
}
