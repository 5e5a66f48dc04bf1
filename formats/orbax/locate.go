package orbax

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// place is where a checkpoint's arrays are: one item, or several that belong together.
type place struct {
	step  *step  // nil where there are no steps
	steps []step // all that there are, ascending
	items []item
	notes []string
}

// item is a directory with the files of one tree, or (where file is not "") a Flax file that is
// one.
type item struct {
	name string // "" at the top
	dir  string
	file string
}

// The mark of directories that Orbax has not finished, and of the part of each process in a
// database.
const (
	temporaryMark = ".orbax-checkpoint-tmp"
	processPrefix = "ocdbt.process_"
)

// locate finds the items to read: those at the top, those of the wanted step (or the newest, if
// want is Newest), or those one level down.
func (t *tree) locate(want int64) (*place, error) {
	if flat, err := t.isItem("."); err != nil || flat {
		return t.flat(want, err)
	}
	steps, err := t.stepsIn()
	if err != nil {
		return nil, err
	}
	items, notes, err := t.itemsIn(".")
	if err != nil {
		return nil, err
	}
	declared, err := t.declaresItems(".")
	if err != nil {
		return nil, err
	}
	if !declared && slices.ContainsFunc(steps, func(s step) bool { return s.holds }) {
		return t.atStep(steps, want)
	}
	if want != Newest && !t.isStep(want) {
		return nil, t.noSteps(want)
	}
	if len(items) == 0 {
		return nil, t.nothing()
	}
	if _, isStep := parseStep(t.base()); len(items) > 1 && !declared && !isStep {
		return nil, tensor.Bad("several checkpoints: %s", names(items, func(i item) string { return i.name })).In(t.path).
			Advise("open one of them")
	}
	return &place{items: items, notes: notes}, nil
}

// flat is the place of a directory that is an item itself.
func (t *tree) flat(want int64, err error) (*place, error) {
	if err == nil && want != Newest && !t.isStep(want) {
		err = t.noSteps(want)
	}
	return &place{items: []item{{dir: "."}}}, err
}

// errNothing is the cause where there is no sign of a checkpoint.
var errNothing = errors.New("nothing found")

// nothing is the error for a directory in which nothing was found.
func (t *tree) nothing() error {
	bad := tensor.Bad("no Orbax or Flax checkpoint in it").In(t.path)
	if all, err := t.directories("."); err == nil && slices.ContainsFunc(all, isTemporary) {
		return bad.Advise("there are directories that Orbax did not finish writing (%s)", temporaryMark)
	}
	bad.Err = errNothing
	return bad
}

// declaresItems reports whether Orbax says that dir is a checkpoint, so that directories in it are
// its items.
func (t *tree) declaresItems(dir string) (bool, error) {
	for _, mark := range []string{"_CHECKPOINT_METADATA", "orbax.checkpoint"} {
		if is, err := t.isFile(join(dir, mark)); is || err != nil {
			return is, err
		}
	}
	return false, nil
}

// isItem reports whether dir has the files of a tree.
func (t *tree) isItem(dir string) (bool, error) {
	for _, mark := range []string{"_METADATA", "manifest.ocdbt", "checkpoint", ".zarray", "zarr.json"} {
		if is, err := t.isFile(join(dir, mark)); is || err != nil {
			return is, err
		}
	}
	inside, err := t.directories(dir)
	if err != nil {
		return false, err
	}
	for _, name := range inside {
		marks := []string{".zarray", "zarr.json"}
		if strings.HasPrefix(name, processPrefix) {
			marks = []string{"manifest.ocdbt"}
		}
		for _, mark := range marks {
			if is, err := t.isFile(join(dir, name) + "/" + mark); is || err != nil {
				return is, err
			}
		}
	}
	return false, nil
}

// itemsIn returns the items that are directories of dir, and notes about others.
func (t *tree) itemsIn(dir string) (items []item, notes []string, err error) {
	inside, err := t.directories(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range inside {
		sub := join(dir, name)
		if isTemporary(name) {
			notes = append(notes, fmt.Sprintf("item %s was never finished and is left out", name))
			continue
		}
		is, err := t.isItem(sub)
		if err != nil {
			return nil, nil, err
		}
		json, err := t.isFile(sub + "/metadata")
		if err != nil {
			return nil, nil, err
		}
		switch {
		case is:
			items = append(items, item{name: name, dir: sub})
		case json || name == "metrics":
			notes = append(notes, fmt.Sprintf("item %s holds no arrays", name))
		}
	}
	return items, notes, nil
}

// holdsItems reports whether dir is an item or has some.
func (t *tree) holdsItems(dir string) (bool, error) {
	if is, err := t.isItem(dir); is || err != nil {
		return is, err
	}
	items, _, err := t.itemsIn(dir)
	return len(items) > 0, err
}

func isTemporary(name string) bool { return strings.Contains(name, temporaryMark) }

// names lists things by name, cut short.
func names[T any](things []T, name func(T) string) string {
	const most = 20
	var list []string
	for i, thing := range things {
		if i == most {
			list = append(list, fmt.Sprintf("… (%d)", len(things)))
			break
		}
		list = append(list, name(thing))
	}
	return strings.Join(list, ", ")
}
