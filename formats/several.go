package formats

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch"
	"github.com/griffin-ckpt/griffin/formats/torch/ranks"
	"github.com/griffin-ckpt/griffin/formats/torch/zero"
)

// alone returns a checkpoint that was opened from the files of a directory whose names say nothing about it, or an error if files of another format
// beside them hold tensors too, so that nothing says which is meant. What has the same name in two formats is one checkpoint: a note names what is not read.
func alone(c *Checkpoint, source fs.FS, dir string) (*Checkpoint, error) {
	const mostOthers = 20
	own, others, err := filesByFormat(source, dir, strings.HasPrefix(c.Format, "safetensors"))
	if err != nil {
		c.Close()
		return nil, err
	}
	var several, beside []string
	for _, other := range others[:min(len(others), mostOthers)] {
		is := func(related func(a, b string) bool) bool {
			return slices.ContainsFunc(own, func(name string) bool { return related(Step{Name: name}.Base(), Step{Name: other}.Base()) })
		}
		switch {
		case !is(isOtherStep) && !holdsTensors(source, path.Join(dir, other)):
		case is(isNamedLike):
			beside = append(beside, other)
		default:
			several = append(several, other)
		}
	}
	if several != nil {
		c.Close()
		all := slices.Concat(own, several)
		slices.SortFunc(all, tensor.CompareNames)
		return nil, tensor.Bad("directory holds checkpoints of several formats: %s", tensor.JoinNames(all)).In(storage.Path(source, dir)).Because(tensor.SeveralFiles).
			Advise("give the path of one, such as %s", storage.Path(source, path.Join(dir, all[0])))
	}
	noteNotRead(c, beside)
	return c, nil
}

// noteOthers notes the files of weights beside a checkpoint whose name says that it is that of the directory, as far as names tell them.
func noteOthers(c *Checkpoint, source fs.FS, dir string) {
	isSafetensors := strings.HasPrefix(c.Format, "safetensors")
	own, others, err := filesByFormat(source, dir, isSafetensors)
	if !isSafetensors { // which notes its own
		others = slices.Concat(slices.DeleteFunc(own, leftover.MatchString), others)
		slices.SortFunc(others, tensor.CompareNames)
	}
	if err == nil && others != nil && !ranks.Detect(source, dir) && !zero.Detect(source, dir) {
		noteNotRead(c, others)
	}
}

// noteNotRead adds a note about files of weights in the directory of a checkpoint that are not part of it.
func noteNotRead(c *Checkpoint, names []string) {
	if len(names) > 0 {
		c.Notes = append(c.Notes, "the directory also holds "+tensor.JoinNames(names)+", not read")
	}
}

// modelNames are those that transformers gives to the weights of a model in one file.
var modelNames = []string{safetensors.SingleName, torch.WeightsName, flaxName}

// leftover matches the names of files without weights that training programs write beside a checkpoint, and adapters, which are candidates.
var leftover = regexp.MustCompile(`^adapter_model\.|(?:^|[^a-z])(?:optim|optimizer|scheduler|scaler|sampler|training_args|trainer_state|training_state|rng_states?|random_states?)(?:[^a-z]|$)`)

// filesByFormat returns the files of a directory that may be whole checkpoints, without those that are candidates and noted as these: those of the format
// that was opened, safetensors or PyTorch, and the others.
func filesByFormat(source fs.FS, dir string, isSafetensors bool) (own, others []string, err error) {
	entries, err := fs.ReadDir(source, dir)
	l := &stepLister{source: source, dir: dir}
	for _, e := range entries {
		name := e.Name()
		switch isOwn := isSafetensors == (path.Ext(name) == ".safetensors") && path.Ext(name) != ".msgpack"; {
		case slices.Contains(modelNames, name) || !l.isStepFile(e):
		case isOwn:
			own = append(own, name)
		case !leftover.MatchString(name):
			others = append(others, name)
		}
	}
	return own, others, err
}

// isOtherStep reports whether two names are those of different steps of one series.
func isOtherStep(a, b string) bool {
	x, y := numberOf(a), numberOf(b)
	return x >= 0 && y >= 0 && x != y && seriesOf(a) == seriesOf(b)
}

// partNumber matches the number of a part in a name.
var partNumber = regexp.MustCompile(`\.\d+$`)

// isNamedLike reports whether two names differ in the number of a part at most, as consolidated and consolidated.00: the files may be one checkpoint in
// two formats.
func isNamedLike(a, b string) bool {
	return partNumber.ReplaceAllString(a, "") == partNumber.ReplaceAllString(b, "")
}

// holdsTensors reports whether a file holds tensors. Over a network it is judged by its first bytes and its name, so that it is not read.
func holdsTensors(source fs.FS, name string) bool {
	if _, local := storage.LocalPath(source, name); !local {
		head, _, err := readHead(source, name)
		return err == nil && (torch.Detect(head) || path.Ext(name) == ".safetensors" || path.Ext(name) == ".msgpack")
	}
	c, err := openFile(source, name, Options{SkipUnreadable: true})
	if err != nil {
		return false
	}
	defer c.Close()
	return len(c.Tensors()) > 0
}
