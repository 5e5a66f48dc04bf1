package torch

import "github.com/nlpodyssey/gopickle/types"

// This file has what a pickle's values that are no tensors become. Dicts, lists and tuples are
// gopickle's own. Its OrderedDict is not used: it cannot be made from pairs, as Python 2 pickles
// it, and it replaces the values of repeated keys, where a checkpoint had better be refused.

// orderedDict is a collections.OrderedDict or defaultdict. A state (the _metadata that
// Module.state_dict adds) is of no use here.
type orderedDict struct{ types.Dict }

func (*orderedDict) PySetState(any) error { return nil }

// makeOrderedDict takes no argument, or as Python 2 has it a list of lists of key and value.
func makeOrderedDict(args []any) any {
	d := &orderedDict{}
	if len(args) == 0 {
		return d
	}
	pairs, ok := args[0].(*types.List)
	if !ok || len(args) > 1 {
		return &other{"OrderedDicts of odd arguments"}
	}
	for _, item := range *pairs {
		pair, ok := item.(*types.List)
		if !ok || pair.Len() != 2 {
			return &other{"OrderedDicts of odd arguments"}
		}
		d.Set(pair.Get(0), pair.Get(1))
	}
	return d
}

func makeDefaultDict([]any) any { return &orderedDict{} }

// pySet is a set. Its order means nothing, so that tensors in it have no names.
type pySet struct{ items []any }

func (s *pySet) Add(v any)          { s.items = append(s.items, v) }
func (*pySet) PySetState(any) error { return nil }

func makeSet(args []any) any {
	s := &pySet{}
	if len(args) == 1 {
		if l, ok := args[0].(*types.List); ok {
			s.items = *l
		}
	}
	return s
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
func (*other) Set(any, any)         {}

// numpyArrays is the one kind of other values that may be of interest.
const numpyArrays = "numpy arrays"

func makeOther(what string) func([]any) any {
	return func([]any) any { return &other{what} }
}
