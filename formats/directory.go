package formats

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/flax"
	"github.com/griffin-ckpt/griffin/formats/internal/foreign"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch"
	"github.com/griffin-ckpt/griffin/formats/torch/dcp"
)

// flaxName is what transformers calls the parameters of a Flax model.
const flaxName = "flax_model.msgpack"

// candidate is a checkpoint that a directory holds.
type candidate struct {
	name    string // for notes
	steps   bool   // it may have steps
	weights bool   // it may keep two kinds of weights
	loose   bool   // it is files whose names say nothing about the directory
	open    func() (*Checkpoint, error)
}

// openDirectory opens the preferred checkpoint of a directory, or the one that may have steps if a
// step is asked for.
func openDirectory(source fs.FS, dir string, options Options) (*Checkpoint, error) {
	found, err := candidates(source, dir, options)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && options.Step == nil {
		return nil, unknownDirectory(source, dir)
	}
	chosen := slices.IndexFunc(found, func(c candidate) bool {
		return (options.Step == nil || c.steps) && (options.Weights == AnyWeights || c.weights)
	})
	switch {
	case chosen < 0 && options.Step != nil:
		return openNumbered(source, dir, options)
	case chosen < 0:
		return nil, oneKind(storage.Path(source, dir))
	}
	if found[chosen].loose {
		if err := oneOfSeveral(source, dir); err != nil {
			return nil, err
		}
	}
	ckpt, err := found[chosen].openOnly(source, dir)
	if err != nil {
		return nil, ofNumberedFiles(source, dir, err)
	}
	for i, c := range found {
		if i != chosen {
			ckpt.Notes = append(ckpt.Notes, fmt.Sprintf("the directory also holds %s, which is not read", c.name))
		}
	}
	if !found[chosen].loose {
		noteOthers(ckpt, source, dir)
	}
	return ckpt, nil
}

// candidates returns the checkpoints of a directory in order of preference.
func candidates(source fs.FS, dir string, options Options) (found []candidate, err error) {
	add := func(name string, open func(fs.FS, string) (*Checkpoint, error)) {
		found = append(found, candidate{name: name, open: func() (*Checkpoint, error) { return open(source, dir) }})
	}
	openTorch := func(source fs.FS, dir string) (*Checkpoint, error) { return torch.Open(source, dir, options.torch()) }
	if dcp.Detect(source, dir) { // its safetensors files would look incomplete
		return []candidate{*documented(source, dir, sharded(source, dir, options))}, nil
	}
	st, err := safetensors.Find(source, dir)
	if err != nil {
		return nil, err
	}
	adapter := peft.Detect(source, dir)
	if st != nil && !(adapter && st.Index == "" && !slices.Contains(st.Files, safetensors.SingleName)) {
		add("a safetensors checkpoint", safetensors.Open)
		found[0].loose = st.Loose
	}
	if hasFile(source, dir, torch.IndexName) || hasFile(source, dir, torch.WeightsName) {
		add("a PyTorch checkpoint", openTorch)
	}
	if !isTensorFlow(source, dir) && orbax.Detect(source, dir) {
		step := orbax.Newest
		if options.Step != nil {
			step = *options.Step
		}
		found = append(found, candidate{name: "an Orbax checkpoint", steps: true, open: func() (*Checkpoint, error) { return orbax.Open(source, dir, step) }})
	}
	if hasFile(source, dir, flaxName) {
		found = append(found, candidate{name: "a Flax checkpoint", open: func() (*Checkpoint, error) { return flax.Open(source, path.Join(dir, flaxName)) }})
	}
	if adapter {
		add("a PEFT adapter", peft.Open)
	}
	if len(found) > 1 && found[0].loose { // the others have names that say what they are
		found = found[1:]
	}
	if c := shardedBelow(source, dir, options, 0); c != nil {
		found = append(found, *c)
	}
	if len(found) > 0 {
		return found, nil
	}
	// Other PyTorch files are recognised by their content only, so they are read last.
	files, err := torch.Files(source, dir)
	if err == nil && len(files) > 0 {
		add("a PyTorch checkpoint", openTorch)
		found[0].loose = true
	}
	return found, err
}

// openOnly opens the checkpoint. A loose one must be the only one in its directory.
func (c *candidate) openOnly(source fs.FS, dir string) (*Checkpoint, error) {
	ckpt, err := c.open()
	if err != nil || !c.loose {
		return ckpt, err
	}
	return alone(ckpt, source, dir)
}

func hasFile(source fs.FS, dir, name string) bool {
	return storage.IsFile(source, path.Join(dir, name))
}

// isTensorFlow reports whether a directory holds a TensorFlow checkpoint, whose state file has the
// name that Flax gives to its checkpoints.
func isTensorFlow(source fs.FS, dir string) bool {
	head, _, err := readHead(source, path.Join(dir, "checkpoint"))
	return err == nil && strings.HasPrefix(string(head), "model_checkpoint_path")
}

// unknownDirectory returns the error for a directory without a checkpoint.
func unknownDirectory(source fs.FS, dir string) error {
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return err
	}
	snapshots, err := fs.ReadDir(source, path.Join(dir, "snapshots"))
	if err == nil && len(snapshots) > 0 {
		newest := path.Join(dir, "snapshots", snapshots[len(snapshots)-1].Name())
		return foreign.Format{Name: "a repository in the Hugging Face cache",
			Hint: "give one of its snapshots, such as " + storage.Path(source, newest)}.Error(storage.Path(source, dir))
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if format := foreign.Directory(names); format.Kind != foreign.Unknown {
		return format.Error(storage.Path(source, dir))
	}
	if hasFile(source, dir, "config.json") {
		return foreign.Format{Name: "a model directory without its weights", Hint: "download or copy the weights too"}.Error(storage.Path(source, dir))
	}
	below, _ := checkpointsBelow(source, dir, entries)
	if len(below) == 0 {
		below = checkpointsFurtherBelow(source, dir, entries)
	}
	if len(below) > 0 {
		bad := tensor.Bad("is no checkpoint itself").In(storage.Path(source, dir)).Advise("give one of those in it: %s", tensor.JoinNames(below))
		if numberOf(path.Base(below[0])) >= 0 {
			bad = bad.Because(ReasonSteps)
		}
		return bad
	}
	return unknown(storage.Path(source, dir))
}

// oneOfSeveral returns an error if directories beside the loose files of a directory are checkpoints too, so that nothing says which is
// meant.
func oneOfSeveral(source fs.FS, dir string) error {
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return err
	}
	if below, directories := checkpointsBelow(source, dir, entries); directories {
		return tensor.Bad("holds %d checkpoints", len(below)).In(storage.Path(source, dir)).Advise("give one of them: %s", tensor.JoinNames(below))
	}
	return nil
}

// ofNumberedFiles makes the error about the files of a directory one about a training run if they are its steps.
func ofNumberedFiles(source fs.FS, dir string, err error) error {
	var bad *FormatError
	entries, listErr := fs.ReadDir(source, dir)
	if listErr != nil || !errors.As(err, &bad) || bad.Reason != tensor.SeveralFiles {
		return err
	}
	l := &stepLister{source: source, dir: dir, steps: map[string]Step{}}
	l.addFiles(entries)
	if steps := l.sorted(); len(steps) > 1 {
		bad.Because(ReasonSteps).Advise("give one of those in it, such as the newest, %s", storage.Path(source, path.Join(dir, steps[len(steps)-1].Name)))
	}
	return err
}

// checkpointsBelow returns the paths of the checkpoints among the entries of a directory, in natural order, and whether directories are
// among them that are so by their names. It looks at the first entries only, and at none over a network.
func checkpointsBelow(source fs.FS, dir string, entries []fs.DirEntry) (below []string, directories bool) {
	const mostEntries = 100
	if _, local := storage.LocalPath(source, dir); !local {
		return nil, false
	}
	for _, e := range entries[:min(len(entries), mostEntries)] {
		name := path.Join(dir, e.Name())
		info, err := fs.Stat(source, name)
		if err != nil {
			continue
		}
		found, loose := isCheckpoint(source, name, info)
		if found {
			below, directories = append(below, storage.Path(source, name)), directories || info.IsDir() && !loose
		}
	}
	slices.SortFunc(below, tensor.CompareNames)
	return below, directories
}

// checkpointsFurtherBelow returns the paths of the checkpoints in the first directories among the entries of a directory.
func checkpointsFurtherBelow(source fs.FS, dir string, entries []fs.DirEntry) (all []string) {
	const mostDirectories = 20
	n := 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if n++; n > mostDirectories {
			break
		}
		name := path.Join(dir, e.Name())
		if inner, err := fs.ReadDir(source, name); err == nil {
			below, _ := checkpointsBelow(source, name, inner)
			all = append(all, below...)
		}
	}
	return all
}

// isCheckpoint reports whether a path is that of a checkpoint, and whether only loose files make it one.
func isCheckpoint(source fs.FS, name string, info fs.FileInfo) (is, loose bool) {
	switch {
	case info.IsDir():
		found, err := candidates(source, name, Options{})
		if err != nil || len(found) == 0 {
			return false, false
		}
		if !found[0].loose {
			return true, false
		}
		if oneOfSeveral(source, name) != nil {
			return false, false
		}
		ckpt, err := found[0].openOnly(source, name) // the files need not belong together
		if err != nil {
			return false, false
		}
		ckpt.Close()
		return true, true
	case !info.Mode().IsRegular():
		return false, false
	}
	ckpt, err := openFile(source, name, Options{})
	if err != nil {
		return false, false
	}
	ckpt.Close()
	return true, true
}
