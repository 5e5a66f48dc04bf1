// Package zero reads the checkpoints that DeepSpeed writes with ZeRO of stages 1, 2 and 3: a directory
// for each step with the files of the ranks, such as global_step500/, and beside these the file latest.
//
// The float32 master weights of the optimizer are cut into as many parts as there are ranks. They are read
// as whole tensors, as DeepSpeed's own zero_to_fp32.py does, which is copied into every such directory
// (here that of DeepSpeed 0.19). Not all of the files are open at once.
package zero

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// Format is the name of the format in a tensor.Checkpoint.
const Format = "deepspeed-zero"

// Weights is which of the two copies of a model's weights to read.
type Weights uint8

const (
	// Master is the weights that the optimizer keeps, in float32.
	Master Weights = iota

	// Compute is the weights that the model computes with, in bfloat16 for example. ZeRO of stage 3
	// does not keep them.
	Compute
)

// ReasonNoComputeWeights is the reason of the error about a checkpoint that does not have them.
const ReasonNoComputeWeights tensor.Reason = "no compute weights"

// Options say what to make of a checkpoint.
type Options struct {
	savefile.Options
	Weights Weights
}

// reasonBadLatest is the reason of the error about a file latest that names nothing.
const reasonBadLatest tensor.Reason = "latest names nothing"

// Newest stands for the step that the file latest names.
const Newest = -1

// Detect reports whether a directory of a source holds a checkpoint of DeepSpeed.
func Detect(source fs.FS, dir string) bool {
	_, _, err := find(source, dir, Newest)
	return err == nil || tensor.ReasonOf(err) == reasonBadLatest
}

// Open opens the checkpoint of a step in a directory of a source. The directory is that of the step, or
// the one that holds it. A corrupt or incomplete checkpoint is a *tensor.FormatError.
func Open(source fs.FS, dir string, step int64, options Options) (*tensor.Checkpoint, error) {
	files, notes, err := find(source, dir, step)
	if err != nil {
		return nil, err
	}
	c, err := open(source, files, options)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: storage.Path(source, files.dir)})
	}
	c.Path, c.Source, c.Root = storage.Path(source, dir), source, dir
	c.Notes = append(notes, c.Notes...)
	if n := number(path.Base(files.dir)); n >= 0 && files.dir != dir {
		c.Describe(tensor.StepKey, strconv.FormatInt(n, 10))
	}
	return c, nil
}

// files are the files of a step.
type files struct {
	dir   string
	model map[int64]string // of each rank; of stages 1 and 2 that of rank 0 only
	optim map[int64]string // of each rank
	other []string         // of pipeline stages, experts or further model-parallel ranks
}

var (
	modelName = regexp.MustCompile(`^(?:zero_pp_rank_(\d{1,9})_)?mp_rank_(\d{1,9})_model_states\.pt$`)
	optimName = regexp.MustCompile(`^(?:bf16_|fp16_)?zero_pp_rank_(\d{1,9})_mp_rank_(\d{1,9})_optim_states\.pt$`)
	partName  = regexp.MustCompile(`^(?:layer_|expp_rank_|.*expert).*[-_](?:model|optim)_states\.pt$`)
	stepName  = regexp.MustCompile(`^global_step(\d{1,18})$`)
)

// list returns the files of a step in a directory, nil if it holds none.
func list(source fs.FS, dir string) *files {
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return nil
	}
	f := &files{dir: dir, model: map[int64]string{}, optim: map[int64]string{}}
	for _, e := range entries {
		name := e.Name()
		for pattern, byRank := range map[*regexp.Regexp]map[int64]string{modelName: f.model, optimName: f.optim} {
			m := pattern.FindStringSubmatch(name)
			if m == nil {
				continue
			}
			rank, _ := strconv.ParseInt(m[1], 10, 64) // 0 if the name has none
			if strings.Trim(m[2], "0") != "" {
				f.other = append(f.other, name)
			} else {
				byRank[rank] = name
			}
		}
		if partName.MatchString(name) {
			f.other = append(f.other, name)
		}
	}
	if len(f.model)+len(f.optim)+len(f.other) == 0 {
		return nil
	}
	return f
}

// find returns the files of a step.
func find(source fs.FS, dir string, step int64) (*files, []string, error) {
	if f := list(source, dir); f != nil && step == Newest {
		return f, nil, nil
	}
	notFound := tensor.Bad("holds no checkpoint of DeepSpeed").In(storage.Path(source, dir))
	if step != Newest {
		tag := fmt.Sprintf("global_step%d", step)
		if f := list(source, path.Join(dir, tag)); f != nil {
			return f, nil, nil
		}
		return nil, nil, tensor.Bad("holds no step %d", step).In(storage.Path(source, dir)).Because(tensor.NoStep)
	}
	latest, latestErr := storage.ReadFile(source, path.Join(dir, "latest"), 4096)
	tag := strings.TrimSpace(string(latest))
	if latestErr == nil && fs.ValidPath(tag) && !strings.Contains(tag, "/") {
		if f := list(source, path.Join(dir, tag)); f != nil {
			return f, nil, nil
		}
	}
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return nil, nil, err
	}
	var tags []string
	for _, e := range entries {
		if e.IsDir() && (stepName.MatchString(e.Name()) || e.Name() == "checkpoint") && list(source, path.Join(dir, e.Name())) != nil {
			tags = append(tags, e.Name())
		}
	}
	if len(tags) == 0 {
		return nil, nil, notFound
	}
	if latestErr == nil {
		return nil, nil, tensor.Bad("names the step %q, which is not in the directory", tensor.Clip(tag)).
			In(storage.Path(source, path.Join(dir, "latest"))).Because(reasonBadLatest)
	}
	slices.SortFunc(tags, func(a, b string) int { return int(min(max(number(a)-number(b), -1), 1)) })
	newest := tags[len(tags)-1]
	var notes []string
	if len(tags) > 1 {
		notes = []string{fmt.Sprintf("there is no file latest: of %d steps, %s is read", len(tags), newest)}
	}
	return list(source, path.Join(dir, newest)), notes, nil
}

// number returns the step of a tag, -1 if it has none.
func number(tag string) int64 {
	m := stepName.FindStringSubmatch(tag)
	if m == nil {
		return -1
	}
	n, _ := strconv.ParseInt(m[1], 10, 64)
	return n
}

// check reports files of a kind that is not read.
func (f *files) check() error {
	if len(f.other) > 0 {
		return tensor.Bad("model is spread over pipeline stages, experts or model-parallel ranks as well (%s), which griffin does not put together", f.other[0])
	}
	if len(f.model) == 0 {
		return tensor.Bad("there is no file with the states of the model")
	}
	if f.model[0] == "" {
		return tensor.Bad("the file with the states of the model of rank 0 is missing")
	}
	return nil
}

// missing returns the error about ranks whose files are missing, if there are any.
func missing(byRank map[int64]string, world int64, what string) error {
	var absent []string
	for rank := range world {
		if byRank[rank] == "" && len(absent) < 1000 {
			absent = append(absent, fmt.Sprint(rank))
		}
	}
	switch {
	case len(absent) > 0:
		return tensor.Bad("files of ranks are missing, of %d with %s: %s", world, what, tensor.JoinNames(absent)).
			Advise("the checkpoint is incomplete: copy the files of all ranks")
	case int64(len(byRank)) > world:
		return tensor.Bad("there are files of %d ranks with %s, where the checkpoint has %d", len(byRank), what, world).
			Advise("move the files of other checkpoints elsewhere")
	}
	return nil
}
