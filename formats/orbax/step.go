package orbax

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
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
	isFile bool // a file, as flax.training.checkpoints writes
	holds  bool // it holds a checkpoint
	empty  bool // it is a directory with nothing in it

	committed   bool // it holds the file that Orbax writes last where directories cannot be renamed at once
	uncommitted bool // it lacks that file, which other steps have
}

// CommitName is the file that Orbax writes into a step when all else is written, on stores such as GCS.
// Source: CommitFileTemporaryPath in orbax/checkpoint/_src/path/atomicity.py.
const CommitName = "commit_success.txt"

// isStep reports whether the directory itself is that step of a CheckpointManager.
func (f finder) isStep(want int64) bool {
	s, ok := parseStep(f.base())
	return ok && s.number == want
}

func (f finder) noSteps(want int64) error {
	return tensor.Bad("step %d is asked for, but there are no steps", want).In(f.path).Because(tensor.NoStep).Advise("give the checkpoint itself, without a step")
}

// stepsIn returns the steps that are in the directory, ascending.
func (f finder) stepsIn() ([]step, error) {
	entries, err := fs.ReadDir(f.FS, ".")
	if err != nil {
		return nil, err
	}
	var steps []step
	for _, e := range entries {
		s, ok := parseStep(e.Name())
		if !ok {
			continue
		}
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := f.stat(s.name)
			if err != nil {
				return nil, err
			}
			mode = info.Mode()
		}
		switch {
		case mode.IsDir():
			if s.holds, err = f.holdsItems(s.name); err == nil {
				s.committed, err = f.hasFile(s.name, CommitName)
			}
			if err == nil && !s.holds && !s.committed {
				s.empty, err = f.isEmpty(s.name)
			}
		case mode.IsRegular() && s.prefix == "checkpoint_":
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

// parseStep parses the name of a step in one of Orbax's name formats.
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

// atStep selects one of the steps.
func (f finder) atStep(all []step, want int64) (*selection, error) {
	var prefixes []string
	for _, s := range all {
		if s.holds && !slices.Contains(prefixes, s.prefix) {
			prefixes = append(prefixes, s.prefix)
		}
	}
	if len(prefixes) > 1 {
		return nil, tensor.Bad("holds steps of several series: %s", names(all, func(s step) string { return s.name })).In(f.path).
			Because(tensor.SeveralFiles).Advise("give one of those in it: %s", names(all, func(s step) string { return f.in(s.name) }))
	}
	steps := slices.DeleteFunc(all, func(s step) bool { return s.prefix != prefixes[0] })
	markUncommitted(steps)
	sel := &selection{steps: steps}
	if want == Newest {
		newest := len(steps) - 1
		for ; newest > 0 && steps[newest].unfinished() != ""; newest-- {
			sel.notes = append(sel.notes, fmt.Sprintf("step %s is left out: %s", steps[newest].name, steps[newest].unfinished()))
		}
		want = steps[newest].number
	}
	chosen := slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return s.number != want })
	listed := names(steps, func(s step) string {
		if why := s.unfinished(); why != "" {
			return s.name + " (" + why + ")"
		}
		return s.name
	})
	switch {
	case len(chosen) == 0:
		return nil, tensor.Bad("has no step %d, only %s", want, listed).In(f.path).Because(tensor.NoStep)
	case len(chosen) > 1:
		return nil, tensor.Bad("has step %d twice: %s", want, names(chosen, func(s step) string { return s.name })).In(f.path)
	case chosen[0].uncommitted && !chosen[0].empty:
		return nil, tensor.Bad("step %s was not committed: it lacks the %s that other steps have, so its writing did not finish; the steps are %s", chosen[0].name, CommitName, listed).In(f.path).
			Advise("name another step")
	case !chosen[0].holds:
		return nil, tensor.Bad("step %s holds no checkpoint; the steps are %s", chosen[0].name, listed).In(f.path).
			Advise("name another step")
	}
	sel.step = &chosen[0]
	if err := f.stepItems(sel); err != nil {
		return nil, err
	}
	inside, err := f.directories(".")
	for _, name := range inside {
		if isTemporary(name) {
			sel.notes = append(sel.notes, fmt.Sprintf("step %s was never finished and is left out", name))
		}
	}
	return sel, err
}

// markUncommitted finds the steps of a series that lack the commit file that others have.
func markUncommitted(steps []step) {
	if slices.ContainsFunc(steps, func(s step) bool { return s.committed }) {
		for i := range steps {
			steps[i].uncommitted = !steps[i].committed && !steps[i].isFile
		}
	}
}

// unfinished says why a step counts as being written: it lacks the commit file that others have, or it is empty. It is "" for
// others.
func (s step) unfinished() string {
	switch {
	case s.empty:
		return "empty"
	case s.uncommitted:
		return "not committed, without the " + CommitName + " of other steps"
	}
	return ""
}

// isEmpty reports whether a directory has no entries.
func (f finder) isEmpty(dir string) (bool, error) {
	entries, err := fs.ReadDir(f.FS, dir)
	return len(entries) == 0, err
}

// uncommittedError returns the error for a step whose writing did not finish.
func (f finder) uncommittedError(name string) *tensor.FormatError {
	return tensor.Bad("step %s was not committed: it lacks the %s that other steps have, so its writing did not finish", name, CommitName).In(f.path)
}

// Step is a step in the directory of a CheckpointManager.
type Step struct {
	Name       string // of the directory or file
	Number     int64
	Err        error  // why it cannot be opened: its writing did not finish, or it holds no checkpoint; nil otherwise
	Unfinished string // why it counts as being written: "empty"; "" for others
}

// Steps returns the steps of a CheckpointManager's directory, ascending, of all series that hold checkpoints, and none
// for other directories. single reports that the directory is itself a checkpoint.
func Steps(source fs.FS, name string) (found []Step, single bool, err error) {
	dir, closer, err := openDirectory(source, name)
	if err != nil {
		return nil, false, err
	}
	defer closer.Close()
	f := finder{dir.listed()}
	for _, is := range []func(string) (bool, error){f.isItem, f.declaresItems} {
		if single, err := is("."); single || err != nil {
			return nil, single, err
		}
	}
	all, err := f.stepsIn()
	if err != nil {
		return nil, false, err
	}
	series := map[string][]step{}
	for _, s := range all {
		series[s.prefix] = append(series[s.prefix], s)
	}
	for _, steps := range series {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.holds }) {
			continue
		}
		markUncommitted(steps)
		for _, s := range steps {
			each := Step{Name: s.name, Number: s.number, Unfinished: s.unfinished()}
			switch {
			case s.uncommitted:
				each.Err = f.uncommittedError(s.name)
			case !s.holds:
				each.Err = tensor.Bad("step %s holds no checkpoint", s.name).In(f.path)
			}
			found = append(found, each)
		}
	}
	slices.SortFunc(found, func(a, b Step) int { return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name)) })
	return found, false, nil
}

// stepItems finds the items of the chosen step.
func (f finder) stepItems(sel *selection) error {
	if sel.step.isFile {
		sel.items = []item{{dir: ".", file: sel.step.name}}
		return nil
	}
	flat, err := f.isItem(sel.step.name)
	if err != nil {
		return err
	}
	if flat {
		sel.items = []item{{dir: sel.step.name}}
		return nil
	}
	items, notes, err := f.itemsIn(sel.step.name)
	sel.items, sel.notes = items, append(sel.notes, notes...)
	return err
}
