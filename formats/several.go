package formats

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch"
)

// alone returns a checkpoint that was opened from the files of a directory whose names say nothing about it, or an error if files of another format
// beside them are checkpoints of the same model, so that nothing says which is meant: other steps of one series, or files of other names with
// the same tensors. Notes of the checkpoint name the other files that hold tensors, such as an optimizer's. Those are not opened over a network.
func alone(c *Checkpoint, source fs.FS, dir string) (*Checkpoint, error) {
	own, others, err := filesByFormat(source, dir, strings.HasPrefix(c.Format, "safetensors"))
	if err != nil {
		c.Close()
		return nil, err
	}
	_, local := storage.LocalPath(source, dir)
	var same, beside []string
	for _, other := range others {
		is := func(related func(a, b string) bool) bool {
			return slices.ContainsFunc(own, func(name string) bool { return related(Step{Name: name}.Base(), Step{Name: other}.Base()) })
		}
		steps := is(isOtherStep)
		if steps || !local {
			if steps {
				same = append(same, other)
			}
			continue
		}
		switch holds, all := holdsTensors(source, path.Join(dir, other), c); {
		case all && !is(isNamedLike):
			same = append(same, other)
		case holds:
			beside = append(beside, other)
		}
	}
	if same != nil {
		c.Close()
		all := slices.Concat(own, same)
		slices.SortFunc(all, tensor.CompareNames)
		return nil, tensor.Bad("directory holds checkpoints of several formats: %s", tensor.JoinNames(all)).In(storage.Path(source, dir)).Because(tensor.SeveralFiles).
			Advise("give the path of one, such as %s", storage.Path(source, path.Join(dir, all[0])))
	}
	if beside != nil {
		c.Notes = append(c.Notes, "the directory also holds "+tensor.JoinNames(beside)+", not read")
	}
	return c, nil
}

// filesByFormat returns the files of a directory that may be whole checkpoints: those of the format that was opened, safetensors or PyTorch, and the first
// others.
func filesByFormat(source fs.FS, dir string, safetensors bool) (own, others []string, err error) {
	const mostOthers = 20
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return nil, nil, err
	}
	l := &stepLister{source: source, dir: dir}
	for _, e := range entries {
		name := e.Name()
		switch isOwn := safetensors == (path.Ext(name) == ".safetensors") && path.Ext(name) != ".msgpack"; {
		case !isOwn && len(others) == mostOthers || name == torch.WeightsName || name == flaxName || !l.isStepFile(e): // candidates are noted otherwise
		case isOwn:
			own = append(own, name)
		default:
			others = append(others, name)
		}
	}
	return own, others, nil
}

// isOtherStep reports whether two names are those of different steps of one series.
func isOtherStep(a, b string) bool {
	x, y := numberOf(a), numberOf(b)
	return x >= 0 && y >= 0 && x != y && seriesOf(a) == seriesOf(b)
}

// isNamedLike reports whether one name begins with the other, as consolidated and consolidated.00: the files may be one checkpoint in two formats.
func isNamedLike(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// holdsTensors reports whether a file holds tensors, and whether those of c are all among them.
func holdsTensors(source fs.FS, name string, c *Checkpoint) (some, all bool) {
	other, err := openFile(source, name, Options{SkipUnreadable: true})
	if err != nil {
		return false, false
	}
	defer other.Close()
	lacks := func(t *Tensor) bool { return other.Tensor(t.Name) == nil }
	return len(other.Tensors()) > 0, len(c.Tensors()) > 0 && !slices.ContainsFunc(c.Tensors(), lacks)
}
