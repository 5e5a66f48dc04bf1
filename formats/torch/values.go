package torch

import "github.com/nlpodyssey/gopickle/types"

// This file has what a pickle's values that are no tensors become. Dicts, lists and tuples are
// gopickle's own. Its Dict is a list of entries whose look-up is linear, but nothing looks anything
// up in it: the walk goes through it once, so that 10,000 keys cost what they should. Its
// OrderedDict is not used, nor can it be, since the copied pickle does not name it: it cannot be
// made from pairs, as Python 2 pickles it, and it replaces the values of repeated keys, where a
// checkpoint had better be refused.

// orderedDict is a collections.OrderedDict or defaultdict. A state (the _metadata that
// Module.state_dict adds) is of no use here.
type orderedDict struct {
	pairs      *types.List // that it was made of: a call does not copy what is shared by many
	types.Dict             // what was set afterwards
}

func (*orderedDict) PySetState(any) error { return nil }

// makeOrderedDict takes no argument, or as Python 2 has it a list of lists of key and value.
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

// at returns the key and value of index i; a pair that is none has nil for both.
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

// pySet is a set. Its order means nothing, so that tensors in it have no names.
type pySet struct {
	list  *types.List // that it was made of
	items []any       // what was added afterwards
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

// makeSize makes a torch.Size the tuple that it is given.
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

// other is a value that is no tensor and holds none; what says which kind, in the plural.
type other struct{ what string }

func (*other) PySetState(any) error { return nil }

// numpyArrays is the one kind of other values that may be of interest.
const numpyArrays = "numpy arrays"

func makeOther(what string) func([]any) any {
	return func([]any) any { return &other{what} }
}
