package orbax

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// selection is what is to be read of a directory: one item, or several that belong together.
type selection struct {
	step  *step  // nil if there are no steps
	steps []step // all steps, ascending
	items []item
	notes []string
	apart []string // names of the items if nothing says that the directory is a checkpoint, so that each of them is one
}

// item is a directory with the files of one tree, or a single Flax file.
type item struct {
	name string // "" for the directory that was opened and for a step of one item
	dir  string
	file string // the Flax file, "" for none
}

// Parts of the names of directories that Orbax has not finished writing, and of the database that
// each process writes.
const (
	temporaryMark = ".orbax-checkpoint-tmp"
	processPrefix = "ocdbt.process_"
)

// finder selects what to read of a directory.
type finder struct{ *directory }

// find selects the item at the top, the items of the wanted step (or of the newest one, if want is
// Newest), or the items that are directories at the top.
func (f finder) find(want int64) (*selection, error) {
	if single, err := f.isItem("."); err != nil || single {
		if err == nil && want != Newest && !f.isStep(want) {
			err = f.noSteps(want)
		}
		return &selection{items: []item{{dir: "."}}}, err
	}
	steps, err := f.stepsIn()
	if err != nil {
		return nil, err
	}
	items, notes, err := f.itemsIn(".")
	if err != nil {
		return nil, err
	}
	declared, err := f.declaresItems(".")
	if err != nil {
		return nil, err
	}
	if !declared && slices.ContainsFunc(steps, func(s step) bool { return s.holds }) {
		return f.atStep(steps, want)
	}
	if want != Newest && !f.isStep(want) {
		return nil, f.noSteps(want)
	}
	if len(items) == 0 {
		return nil, f.nothing()
	}
	s := &selection{items: items, notes: notes}
	if _, isStep := parseStep(f.base()); !declared && !isStep {
		for _, i := range items {
			s.apart = append(s.apart, i.name)
		}
	}
	return s, nil
}

// errNothing is the cause if there is no sign of a checkpoint.
var errNothing = errors.New("nothing found")

// nothing returns the error for a directory without a checkpoint.
func (f finder) nothing() error {
	bad := tensor.Bad("no Orbax or Flax checkpoint in it").In(f.path)
	if all, err := f.directories("."); err == nil && slices.ContainsFunc(all, isTemporary) {
		return bad.Advise("it holds directories that Orbax did not finish writing (%s)", temporaryMark)
	}
	bad.Err = errNothing
	return bad
}

// declaresItems reports whether Orbax marked dir as a checkpoint, so that the directories in it are
// its items.
func (f finder) declaresItems(dir string) (bool, error) {
	return f.hasFile(dir, "_CHECKPOINT_METADATA", "orbax.checkpoint")
}

// isItem reports whether dir has the files of a tree.
func (f finder) isItem(dir string) (bool, error) {
	if has, err := f.hasFile(dir, "_METADATA", "manifest.ocdbt", "checkpoint", ".zarray", "zarr.json"); has || err != nil {
		return has, err
	}
	inside, err := f.directories(dir)
	if err != nil {
		return false, err
	}
	for _, name := range inside {
		marks := []string{".zarray", "zarr.json"}
		if strings.HasPrefix(name, processPrefix) {
			marks = []string{"manifest.ocdbt"}
		}
		if has, err := f.hasFile(path.Join(dir, name), marks...); has || err != nil {
			return has, err
		}
	}
	return false, nil
}

// itemsIn returns the items that are directories of dir, and notes about directories that are not
// read.
func (f finder) itemsIn(dir string) (items []item, notes []string, err error) {
	inside, err := f.directories(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range inside {
		sub := path.Join(dir, name)
		if isTemporary(name) {
			notes = append(notes, fmt.Sprintf("item %s was never finished and is left out", name))
			continue
		}
		is, err := f.isItem(sub)
		if err != nil {
			return nil, nil, err
		}
		json, err := f.isFile(path.Join(sub, "metadata"))
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

// holdsItems reports whether dir is an item or has items.
func (f finder) holdsItems(dir string) (bool, error) {
	if is, err := f.isItem(dir); is || err != nil {
		return is, err
	}
	items, _, err := f.itemsIn(dir)
	return len(items) > 0, err
}

func isTemporary(name string) bool { return strings.Contains(name, temporaryMark) }

// names lists things by name, the first twenty of them.
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
