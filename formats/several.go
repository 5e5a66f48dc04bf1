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

// openAlone opens the checkpoint. If the names of its files, or of its directories, do not say that it is that of the directory, it has to be the only
// one there: what has the same name is the same checkpoint, and named in a note, as directories that only loose files make a checkpoint are.
// isEntry is set for an entry of a directory that is being listed.
func (c *candidate) openAlone(source fs.FS, dir string, isEntry bool) (*Checkpoint, error) {
	if !c.loose {
		return c.open()
	}
	members := membersOf(source, dir, isEntry)
	if c.apart != nil && members == nil { // over a network
		members = c.membersByName(source, dir)
	}
	beside, several := c.besideOf(members)
	if several {
		return nil, severalError(source, dir, memberNames(members))
	}
	ckpt, err := c.open()
	if err != nil {
		if tensor.ReasonOf(err) == tensor.SeveralFiles {
			return nil, ofFiles(source, dir, memberNames(members), err)
		}
		return nil, err
	}
	if c.apart == nil {
		sameName, err := aloneAmongFiles(ckpt, source, dir, memberNames(members))
		if err != nil {
			ckpt.Close()
			return nil, err
		}
		beside = append(beside, sameName...)
	}
	noteNotRead(ckpt, beside)
	return ckpt, nil
}

// besideOf returns the checkpoints beside the candidate that can be left out with a note, and whether there are others. Files beside loose files are
// judged when these are open.
func (c *candidate) besideOf(members []member) (beside []string, several bool) {
	isOwn := func(m member) bool {
		if c.apart == nil {
			return !m.isDir
		}
		return slices.Contains(c.apart, m.name)
	}
	for _, m := range members {
		isAlike := func(own member) bool {
			return isOwn(own) && isNamedLike(Step{Name: own.name}.Base(), Step{Name: m.name}.Base())
		}
		switch {
		case isOwn(m) || leftover.MatchString(m.name):
		case m.isDir && m.loose || slices.ContainsFunc(members, isAlike):
			beside = append(beside, m.name)
		default:
			several = true
		}
	}
	return beside, several
}

// mostOthers is how many files of another format are looked into.
const mostOthers = 20

// membersByName returns the directories of a candidate and the files beside them that hold tensors.
func (c *candidate) membersByName(source fs.FS, dir string) (found []member) {
	for _, name := range c.apart {
		found = append(found, member{name: name, isDir: true})
	}
	own, others, _ := filesByFormat(source, dir, true)
	files := slices.Concat(own, others)
	for _, name := range files[:min(len(files), mostOthers)] {
		if holdsTensors(source, path.Join(dir, name)) {
			found = append(found, member{name: name, loose: true})
		}
	}
	return found
}

// ofFiles returns the error for the files of a directory that are several checkpoints, or err if it is not known which they are. found are those that
// were opened.
func ofFiles(source fs.FS, dir string, found []string, err error) error {
	if len(found) < 2 {
		safe, others, listErr := filesByFormat(source, dir, true)
		if found = slices.Concat(safe, others); listErr != nil || len(found) < 2 {
			return err
		}
	}
	return severalError(source, dir, found)
}

// aloneAmongFiles returns an error if files of another format beside the loose files of a checkpoint hold tensors too, so that nothing says which is
// meant. What has the same name in two formats is one checkpoint: sameName are the files of it that are not read.
func aloneAmongFiles(c *Checkpoint, source fs.FS, dir string, members []string) (sameName []string, err error) {
	own, others, err := filesByFormat(source, dir, strings.HasPrefix(c.Format, "safetensors"))
	if err != nil {
		return nil, err
	}
	var several []string
	for _, other := range others[:min(len(others), mostOthers)] {
		is := func(related func(a, b string) bool) bool {
			return slices.ContainsFunc(own, func(name string) bool { return related(Step{Name: name}.Base(), Step{Name: other}.Base()) })
		}
		switch {
		case !is(isOtherStep) && !holdsTensors(source, path.Join(dir, other)):
		case is(isNamedLike):
			sameName = append(sameName, other)
		default:
			several = append(several, other)
		}
	}
	if several != nil {
		all := slices.Concat(members, own, several)
		slices.Sort(all)
		return nil, severalError(source, dir, slices.Compact(all))
	}
	return sameName, nil
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
