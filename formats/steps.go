package formats

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch"
	"github.com/griffin-ckpt/griffin/formats/torch/dcp"
	"github.com/griffin-ckpt/griffin/formats/torch/ranks"
	"github.com/griffin-ckpt/griffin/formats/torch/zero"
)

// Step is one of the checkpoints in the directory of a training run.
type Step struct {
	Name       string // of the file or directory
	Number     int64  // -1 if the name has none
	Err        error  // why it cannot be opened, as far as its directory shows; nil otherwise
	Unfinished string // why it counts as being written: "empty"; "" for others
}

// Base returns the name of the step without the extension of a file.
func (s Step) Base() string {
	for _, extension := range stepExtensions {
		if base, ok := strings.CutSuffix(s.Name, extension); ok && base != "" {
			return base
		}
	}
	return s.Name
}

// stepExtensions are those of files that hold a checkpoint.
var stepExtensions = []string{".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".msgpack"}

// Steps returns the checkpoints in the directory of a training run, by number and then by name: the steps of a
// CheckpointManager of Orbax, the numbered directories that other training programs write (checkpoint-500,
// global_step8), or numbered files (step_100.pt). If nothing is numbered, every directory and file that holds a
// checkpoint is a step. Steps that are broken, and those that are Unfinished, are among them; temporary directories of Orbax are not.
//
// A directory without steps, such as one that is itself a checkpoint, and a file are a *FormatError with ReasonNoSteps.
func Steps(source fs.FS, dir string) ([]Step, error) {
	none := tensor.Bad("has no steps, as the directory of a training run has").In(storage.Path(source, dir)).Because(ReasonNoSteps)
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		if info, statErr := fs.Stat(source, dir); statErr == nil && !info.IsDir() {
			return nil, none
		}
		return nil, err
	}
	managed, single, err := orbax.Steps(source, dir)
	if err != nil && !errors.As(err, new(*FormatError)) {
		return nil, err
	}
	l := &stepLister{source: storage.Listed(source), dir: dir, steps: map[string]Step{}, held: map[string]bool{}, unfinished: map[string]string{}}
	for _, s := range managed {
		l.steps[s.Name] = Step(s)
	}
	isRun := err == nil && !single && !isSharded(source, dir)
	if isRun {
		l.addDirectories(entries)
	}
	if isRun && len(l.steps) == 0 {
		l.addFiles(entries)
	}
	if isRun && len(l.steps) == 0 {
		l.addUnnumbered(entries)
	}
	if len(l.steps) == 0 {
		return nil, none
	}
	return l.sorted(), nil
}

// NumberedStep returns the step with a number. None, or several, are a *FormatError.
func NumberedStep(steps []Step, n int64) (Step, error) {
	var found []Step
	var names []string
	for _, s := range steps {
		name := s.Name
		if s.Unfinished != "" {
			name += " (" + s.Unfinished + ")"
		}
		names = append(names, name)
		if s.Number == n {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Step{}, tensor.Bad("has no step %d, only %s", n, tensor.JoinNames(names)).Because(tensor.NoStep)
	}
	return Step{}, tensor.Bad("has step %d several times: %s and %s", n, found[0].Name, found[1].Name)
}

// openNumbered opens a step of a directory whose own files, if any, have no steps.
func openNumbered(source fs.FS, dir string, options Options) (*Checkpoint, error) {
	n := *options.Step
	steps, err := Steps(source, dir)
	if err != nil || steps[0].Number < 0 && steps[len(steps)-1].Number < 0 {
		return nil, noSteps(storage.Path(source, dir), n)
	}
	step, err := NumberedStep(steps, n)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: storage.Path(source, dir)})
	}
	options.Step = nil
	return OpenStep(source, dir, step, options)
}

// isSharded reports whether the files of a directory are parts of one checkpoint.
func isSharded(source fs.FS, dir string) bool {
	return dcp.Detect(source, dir) || ranks.Detect(source, dir)
}

// stepLister collects the steps of a directory.
type stepLister struct {
	source fs.FS
	dir    string
	steps  map[string]Step // by name
	held   map[string]bool // results of holds

	unfinished map[string]string // of directories that hold no checkpoint yet, why
}

// sorted returns the steps by number and then by name.
func (l *stepLister) sorted() []Step {
	return slices.SortedFunc(maps.Values(l.steps), func(a, b Step) int { return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name)) })
}

// stepNumber finds the number of a step in a name, in the words of training programs or at the end.
var stepNumber = regexp.MustCompile(`(?:^|[^a-z])(?:global_?step|step|steps|iter|iteration)s?[-_=]?(\d{1,18})(?:\D|$)|(\d{1,18})$`)

// numberOf returns the number of a step, -1 if it has none.
func numberOf(base string) int64 {
	m := stepNumber.FindStringSubmatch(strings.ToLower(base))
	if m == nil {
		return -1
	}
	n, err := strconv.ParseInt(cmp.Or(m[1], m[2]), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// isHidden reports whether an entry is no step whatever it holds: what is being written, or a hidden file.
func isHidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.Contains(name, ".orbax-checkpoint-tmp")
}

// addDirectories adds the numbered directories that hold a checkpoint, and those of the same series that should.
func (l *stepLister) addDirectories(entries []fs.DirEntry) {
	series := map[string]bool{} // names without their numbers, of which one holds a checkpoint
	var numbered []string
	for _, e := range entries {
		name := e.Name()
		if isHidden(name) || numberOf(name) < 0 || !l.isDirectory(e) || l.steps[name].Name != "" {
			continue
		}
		numbered = append(numbered, name)
		if l.holds(name) {
			series[seriesOf(name)] = true
		}
	}
	for name := range l.steps {
		series[seriesOf(name)] = true
	}
	for _, name := range numbered {
		if series[seriesOf(name)] {
			l.steps[name] = Step{Name: name, Number: numberOf(name), Unfinished: l.unfinished[name]}
		}
	}
}

// seriesOf returns a name without its digits.
func seriesOf(name string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, name)
}

// addFiles adds the numbered files, unless the files of the directory are one checkpoint.
func (l *stepLister) addFiles(entries []fs.DirEntry) {
	if l.isCheckpoint(entries) {
		return
	}
	for _, e := range entries {
		s := Step{Name: e.Name()}
		s.Number = numberOf(s.Base())
		if s.Number >= 0 && l.isStepFile(e) {
			l.steps[s.Name] = s
		}
	}
}

// addUnnumbered adds everything that holds a checkpoint, unless the directory is one checkpoint.
func (l *stepLister) addUnnumbered(entries []fs.DirEntry) {
	if l.isCheckpoint(entries) {
		return
	}
	if ckpt, err := OpenSource(l.source, l.dir, Options{}); err == nil {
		ckpt.Close()
		return
	}
	for _, e := range entries {
		name := e.Name()
		if l.isStepFile(e) || !isHidden(name) && l.isDirectory(e) && l.holds(name) {
			l.steps[name] = Step{Name: name, Number: -1}
		}
	}
}

// isStepFile reports whether an entry is a file that may be a whole checkpoint.
func (l *stepLister) isStepFile(e fs.DirEntry) bool {
	s := Step{Name: e.Name()}
	return !isHidden(s.Name) && s.Base() != s.Name && !torch.IsShard(s.Name) && hasFile(l.source, l.dir, s.Name)
}

// isCheckpoint reports whether the files of the directory itself are one checkpoint.
func (l *stepLister) isCheckpoint(entries []fs.DirEntry) bool {
	if zero.Detect(l.source, l.dir) {
		return true
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		name := e.Name()
		whole := slices.Contains([]string{hfconfig.Name, "model.safetensors", "pytorch_model.bin", "adapter_config.json", flaxName}, name)
		return (whole || strings.HasSuffix(name, ".index.json") || torch.IsShard(name)) && hasFile(l.source, l.dir, name)
	})
}

func (l *stepLister) isDirectory(e fs.DirEntry) bool {
	if e.IsDir() || e.Type().IsRegular() {
		return e.IsDir()
	}
	info, err := fs.Stat(l.source, path.Join(l.dir, e.Name()))
	return err == nil && info.IsDir()
}

// holds reports whether a directory looks like a checkpoint, also one that cannot be opened.
func (l *stepLister) holds(name string) bool {
	is, known := l.held[name]
	if !known {
		dir := path.Join(l.dir, name)
		entries, err := fs.ReadDir(l.source, dir)
		isPart := func(e fs.DirEntry) bool { return path.Ext(e.Name()) == ".distcp" }
		switch {
		case err == nil && len(entries) == 0:
			l.unfinished[name] = "empty"
		case slices.ContainsFunc(entries, isPart) && !dcp.Detect(l.source, dir):
			l.unfinished[name] = "without the " + dcp.MetadataName + " that PyTorch writes last"
		default:
			found, err := candidates(l.source, dir, Options{})
			is = err != nil || len(found) > 0
		}
		l.held[name] = is
	}
	return is
}

// OpenStep opens a step of the run in the directory dir, as OpenSource does. If there is no configuration beside its
// weights, that of the run is used.
func OpenStep(source fs.FS, dir string, s Step, options Options) (*Checkpoint, error) {
	if s.Err != nil {
		return nil, s.Err
	}
	ckpt, err := OpenSource(source, path.Join(dir, s.Name), options)
	if err != nil {
		return nil, err
	}
	if s.Number >= 0 && ckpt.Step() == "" {
		ckpt.Describe(tensor.StepKey, strconv.FormatInt(s.Number, 10))
	}
	if !storage.IsFile(source, ckpt.Beside(hfconfig.Name)) && hasFile(source, dir, hfconfig.Name) {
		ckpt.Documents = dir
	}
	return ckpt, nil
}
