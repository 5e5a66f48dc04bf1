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

// worldSize finds the number of ranks in a name.
var worldSize = regexp.MustCompile(`(?i)(?:world[-_]?size|[-_]of)[-_]?(\d{1,9})`)

// ofWorld is what comes after the number of a rank that is said to be one of so many.
var ofWorld = regexp.MustCompile(`(?i)^[-_]of[-_]?\d`)

// digits finds the numbers in a name.
var digits = regexp.MustCompile(`\d+`)

// listGroups returns the groups of files in a directory. Of several numbers in a name that of the rank is
// the one after the word "rank" or before "of" and the number of ranks, or else the one in which most other names differ.
func listGroups(source fs.FS, dir string) ([]*group, error) {
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return nil, err
	}
	type key struct{ prefix, suffix string }
	var names []string
	count := map[key]int{}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		names = append(names, e.Name())
		for _, at := range digits.FindAllStringIndex(e.Name(), -1) {
			count[key{e.Name()[:at[0]], e.Name()[at[1]:]}]++
		}
	}
	var groups []*group
	byKey := map[key]*group{}
	for _, name := range names {
		var best key
		most := 0
		for _, at := range digits.FindAllStringIndex(name, -1) {
			k := key{name[:at[0]], name[at[1]:]}
			n := count[k]
			if saysRank(k.prefix) || ofWorld.MatchString(k.suffix) {
				n += len(names)
			}
			if n >= most && at[1]-at[0] < 10 {
				best, most = k, n
			}
		}
		if most == 0 {
			continue
		}
		g := byKey[best]
		if g == nil {
			g = &group{dir: dir, prefix: best.prefix, suffix: best.suffix, digits: map[int64]string{}}
			byKey[best] = g
			groups = append(groups, g)
		}
		g.add(name)
	}
	for _, g := range groups {
		slices.Sort(g.ranks)
	}
	return groups, nil
}

// add adds a file.
func (g *group) add(name string) {
	number := name[len(g.prefix) : len(name)-len(g.suffix)]
	rank, _ := strconv.ParseInt(number, 10, 64)
	if _, twice := g.digits[rank]; twice {
		g.twice = name
		return
	}
	g.digits[rank] = number
	g.ranks = append(g.ranks, rank)
}

// groupOf returns the group of a file.
func groupOf(source fs.FS, name string) (*group, error) {
	groups, err := listGroups(source, path.Dir(name))
	for _, g := range groups {
		for _, rank := range g.ranks {
			if g.name(rank) == path.Base(name) {
				return g, nil
			}
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
	groups = slices.DeleteFunc(groups, func(g *group) bool { return len(g.ranks) < 2 && !saysRank(g.prefix) && !ofWorld.MatchString(g.suffix) })
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
	if err != nil && saysRank(g.prefix) {
		return false, tensor.Annotate(err, tensor.Location{File: storage.Path(source, name)})
	}
	return sharded, nil
}

// saysRank reports whether the part of a name before a number ends in the word "rank".
func saysRank(prefix string) bool {
	return strings.HasSuffix(strings.TrimRight(strings.ToLower(prefix), "-_."), "rank")
}

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
	f, err := savefile.Read(storage.Path(source, name), file, size)
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
