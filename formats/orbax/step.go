package orbax

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// step is an entry of a CheckpointManager's directory, such as 7, 000007 or step_7.
type step struct {
	name   string
	prefix string // "" or ending in "_"
	number int64
	isFile bool // written by flax.training.checkpoints
	holds  bool // there is a checkpoint in it
}

// base returns the name of the checkpoint's directory.
func (t *tree) base() string {
	abs, err := filepath.Abs(t.path)
	if err != nil {
		abs = t.path
	}
	return filepath.Base(abs)
}

// isStep reports whether the directory is that very step of a CheckpointManager.
func (t *tree) isStep(want int64) bool {
	s, ok := parseStep(t.base())
	return ok && s.number == want
}

func (t *tree) noSteps(want int64) error {
	return tensor.Bad("step %d is asked for, but there are no steps here", want).In(t.path)
}

// stepsIn returns the steps at the top, ascending.
func (t *tree) stepsIn() ([]step, error) {
	entries, err := fs.ReadDir(t.fsys, ".")
	if err != nil {
		return nil, err
	}
	var steps []step
	for _, e := range entries {
		s, ok := parseStep(e.Name())
		if !ok {
			continue
		}
		info, err := t.stat(s.name)
		if err != nil {
			return nil, err
		}
		switch {
		case info == nil:
			continue
		case info.IsDir():
			s.holds, err = t.holdsItems(s.name)
		case info.Mode().IsRegular() && s.prefix == "checkpoint_":
			s.isFile, s.holds = true, true
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.number, b.number) })
	return steps, nil
}

// parseStep takes the name of a step apart, as Orbax's name formats build it.
func parseStep(name string) (step, bool) {
	digits := len(name)
	for digits > 0 && '0' <= name[digits-1] && name[digits-1] <= '9' {
		digits--
	}
	s := step{name: name, prefix: name[:digits]}
	number, err := strconv.ParseInt(name[digits:], 10, 64)
	if err != nil || number == math.MaxInt64 || len(s.prefix) == 1 || s.prefix != "" && !strings.HasSuffix(s.prefix, "_") ||
		strings.HasPrefix(name, processPrefix) {
		return s, false
	}
	s.number = number
	return s, true
}

// atStep is the place of one of the steps.
func (t *tree) atStep(all []step, want int64) (*place, error) {
	var prefixes []string
	for _, s := range all {
		if s.holds && !slices.Contains(prefixes, s.prefix) {
			prefixes = append(prefixes, s.prefix)
		}
	}
	if len(prefixes) > 1 {
		return nil, tensor.Bad("steps of several series: %s", names(all, func(s step) string { return s.name })).In(t.path).
			Advise("open one of them")
	}
	steps := slices.DeleteFunc(all, func(s step) bool { return s.prefix != prefixes[0] })
	if want == Newest {
		want = steps[len(steps)-1].number
	}
	chosen := slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return s.number != want })
	listed := names(steps, func(s step) string { return s.name })
	switch {
	case len(chosen) == 0:
		return nil, tensor.Bad("no step %d; there are %s", want, listed).In(t.path)
	case len(chosen) > 1:
		return nil, tensor.Bad("step %d comes twice: %s", want, names(chosen, func(s step) string { return s.name })).In(t.path)
	case !chosen[0].holds:
		return nil, tensor.Bad("step %s holds no checkpoint; there are %s", chosen[0].name, listed).In(t.path).
			Advise("name another step")
	}
	p := &place{step: &chosen[0], steps: steps}
	if err := t.stepItems(p); err != nil {
		return nil, err
	}
	inside, err := t.directories(".")
	for _, name := range inside {
		if isTemporary(name) {
			p.notes = append(p.notes, fmt.Sprintf("step %s was never finished and is left out", name))
		}
	}
	return p, err
}

// stepItems finds the items of the chosen step.
func (t *tree) stepItems(p *place) error {
	if p.step.isFile {
		p.items = []item{{dir: ".", file: p.step.name}}
		return nil
	}
	flat, err := t.isItem(p.step.name)
	if err != nil {
		return err
	}
	if flat {
		p.items = []item{{dir: p.step.name}}
		return nil
	}
	p.items, p.notes, err = t.itemsIn(p.step.name)
	return err
}
