package formats

import (
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
	"github.com/griffin-ckpt/griffin/formats/torch"
	"github.com/griffin-ckpt/griffin/formats/torch/dcp"
)

// flaxName is what transformers calls the parameters of a Flax model.
const flaxName = "flax_model.msgpack"

// candidate is a checkpoint that a directory holds.
type candidate struct {
	name    string   // for notes
	steps   bool     // it may have steps
	weights bool     // it may keep two kinds of weights
	loose   bool     // it is files whose names say nothing about the directory, or the directories that apart names
	apart   []string // directories of Orbax in a directory that is no checkpoint itself
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
	ckpt, err := found[chosen].openAlone(source, dir, false)
	if err != nil {
		return nil, err
	}
	for i, c := range found {
		if i != chosen && !(c.loose && found[chosen].loose) {
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
	if is, apart := orbax.Detect(source, dir); is && !isTensorFlow(source, dir) {
		step := orbax.Newest
		if options.Step != nil {
			step = *options.Step
		}
		found = append(found, candidate{name: "an Orbax checkpoint", steps: apart == nil, loose: apart != nil, apart: apart, open: func() (*Checkpoint, error) { return orbax.Open(source, dir, step) }})
	}
	if hasFile(source, dir, flaxName) {
		found = append(found, candidate{name: "a Flax checkpoint", open: func() (*Checkpoint, error) { return flax.Open(source, path.Join(dir, flaxName)) }})
	}
	if adapter {
		add("a PEFT adapter", peft.Open)
	}
	if slices.ContainsFunc(found, func(c candidate) bool { return !c.loose }) { // names say what these are
		found = slices.DeleteFunc(found, func(c candidate) bool { return c.loose && c.apart == nil })
		slices.SortStableFunc(found, func(a, b candidate) int { return len(a.apart) - len(b.apart) })
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
	members := memberNames(membersOf(source, dir, false))
	if found := slices.Concat(members, membersFurtherBelow(source, dir, entries, members)); len(found) > 0 {
		return severalError(source, dir, found)
	}
	return unknown(storage.Path(source, dir))
}
