package ranks

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

// group is the files of a directory whose names differ only in the number of the rank.
type group struct {
	dir            string
	prefix, suffix string
	digits         map[int64]string // of each rank, as its name has them
	ranks          []int64          // ascending
	twice          string           // a name of a rank that another name stands for as well, "" for none
}

// name returns the name of a rank's file; -1 stands for all.
func (g *group) name(rank int64) string {
	if rank < 0 {
		return g.prefix + "*" + g.suffix
	}
	return g.prefix + g.digits[rank] + g.suffix
}

// rankNumber finds the number of the rank in a name: the one after "rank", else the last one.
var rankNumber = []*regexp.Regexp{
	regexp.MustCompile(`(?i)^(.*rank[-_.]?)(\d{1,9})(.*)$`),
	regexp.MustCompile(`^(.*?)(\d{1,9})(\D*)$`),
}

// worldSize finds the number of ranks in a name.
var worldSize = regexp.MustCompile(`(?i)world[-_]?size[-_]?(\d{1,9})`)

// split returns the parts of a name around the number of the rank.
func split(name string) (prefix, digits, suffix string, ok bool) {
	for _, pattern := range rankNumber {
		if m := pattern.FindStringSubmatch(name); m != nil {
			return m[1], m[2], m[3], true
		}
	}
	return "", "", "", false
}

// listGroups returns the groups of files in a directory.
func listGroups(source fs.FS, dir string) ([]*group, error) {
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return nil, err
	}
	var groups []*group
	byName := map[[2]string]*group{}
	for _, e := range entries {
		prefix, digits, suffix, ok := split(e.Name())
		if !ok || e.IsDir() {
			continue
		}
		key := [2]string{prefix, suffix}
		g := byName[key]
		if g == nil {
			g = &group{dir: dir, prefix: prefix, suffix: suffix, digits: map[int64]string{}}
			byName[key] = g
			groups = append(groups, g)
		}
		rank, _ := strconv.ParseInt(digits, 10, 64)
		if _, twice := g.digits[rank]; twice {
			g.twice = e.Name()
			continue
		}
		g.digits[rank] = digits
		g.ranks = append(g.ranks, rank)
	}
	for _, g := range groups {
		slices.Sort(g.ranks)
	}
	return groups, nil
}

// groupOf returns the group of a file.
func groupOf(source fs.FS, name string) (*group, error) {
	prefix, _, suffix, ok := split(path.Base(name))
	groups, err := listGroups(source, path.Dir(name))
	for _, g := range groups {
		if ok && g.prefix == prefix && g.suffix == suffix {
			return g, nil
		}
	}
	if err == nil {
		err = tensor.Bad("holds one rank's parts of tensors, and its name does not have the number of the rank").In(storage.Path(source, name))
	}
	return nil, err
}

// findGroups returns the groups in a directory whose files hold parts of tensors, those of the model first.
func findGroups(source fs.FS, dir string) ([]*group, error) {
	groups, err := listGroups(source, dir)
	if err != nil {
		return nil, err
	}
	groups = slices.DeleteFunc(groups, func(g *group) bool { return len(g.ranks) < 2 && !g.saysRank() })
	slices.SortStableFunc(groups, func(a, b *group) int { return a.preference() - b.preference() })
	for i, g := range groups {
		sharded, err := g.isSharded(source)
		if g.twice != "" && sharded && err == nil {
			err = tensor.Bad("another file is of the same rank").In(storage.Path(source, path.Join(dir, g.twice)))
		}
		if err != nil {
			return nil, err
		}
		if sharded {
			return append([]*group{g}, slices.Delete(slices.Clone(groups), i, i+1)...), nil
		}
	}
	return nil, nil
}

// preference orders groups by what their names say: the model, anything, what is not the model.
func (g *group) preference() int {
	name := strings.ToLower(g.prefix + g.suffix)
	switch {
	case strings.Contains(name, "optim") || strings.Contains(name, "extra") || strings.Contains(name, "rng") || strings.Contains(name, "random"):
		return 2
	case strings.Contains(name, "model"):
		return 0
	}
	return 1
}

// isSharded reports whether the first file of the group holds parts of tensors. That it cannot be read
// matters only if its name has the word "rank".
func (g *group) isSharded(source fs.FS) (bool, error) {
	name := path.Join(g.dir, g.name(g.ranks[0]))
	sharded, err := holdsParts(source, name)
	if err != nil && g.saysRank() {
		return false, tensor.Annotate(err, tensor.Location{File: storage.Path(source, name)})
	}
	return sharded, nil
}

// saysRank reports whether the names have the word "rank".
func (g *group) saysRank() bool { return strings.Contains(strings.ToLower(g.prefix), "rank") }

// holdsParts reports whether a file is one of torch.save with parts of tensors.
func holdsParts(source fs.FS, name string) (bool, error) {
	file, size, err := storage.Open(source, name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	head := make([]byte, min(size, savefile.HeadSize))
	if _, err := file.ReadAt(head, 0); err != nil || !savefile.Detect(head) {
		return false, nil
	}
	f, err := savefile.Read(file, size)
	if err != nil {
		return false, err
	}
	list, err := f.List()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.Tensors, func(n savefile.Named) bool {
		w, ok := n.Value.(*savefile.Wrapped)
		return ok && w.IsSharded()
	}), nil
}

// checkComplete reports ranks whose files are missing. world is the number of ranks that the files speak
// of; a name may say another.
func (g *group) checkComplete(world int64) error {
	if m := worldSize.FindStringSubmatch(g.prefix + g.suffix); m != nil {
		n, _ := strconv.ParseInt(m[1], 10, 64)
		world = max(world, n)
	}
	var missing []string
	for rank := range world {
		if _, ok := g.digits[rank]; !ok && len(missing) < 1000 {
			missing = append(missing, fmt.Sprint(rank))
		}
	}
	if len(missing) > 0 {
		return tensor.Bad("files of ranks are missing, of %d: %s", world, tensor.JoinNames(missing)).
			Advise("the checkpoint is incomplete: copy the files of all ranks")
	}
	if n := int64(len(g.ranks)); world > 0 && n > world {
		return tensor.Bad("there are files of %d ranks, where the checkpoint has %d", n, world).
			Advise("move the files of other checkpoints elsewhere")
	}
	return nil
}
