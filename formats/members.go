package formats

import (
	"cmp"
	"io/fs"
	"path"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// member is an entry of a directory that is a checkpoint of its own.
type member struct {
	name  string
	isDir bool
	loose bool // only loose files make it a checkpoint
}

func memberNames(members []member) (names []string) {
	for _, m := range members {
		names = append(names, m.name)
	}
	return names
}

// membersOf returns the checkpoints in a directory. It opens the first entries only, of numbered ones the newest, and none over a network. In a directory
// that is itself an entry of one that is being listed it follows no link to a directory: links to one above would multiply with each level.
func membersOf(source fs.FS, dir string, isEntry bool) (found []member) {
	const mostEntries = 100
	entries, err := fs.ReadDir(source, dir)
	if _, local := storage.LocalPath(source, dir); !local || err != nil {
		return nil
	}
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int { return compareNewestFirst(a.Name(), b.Name()) })
	for _, e := range entries[:min(len(entries), mostEntries)] {
		name := path.Join(dir, e.Name())
		info, err := fs.Stat(source, name)
		if err != nil || isEntry && info.IsDir() && !e.IsDir() {
			continue
		}
		if is, loose := isCheckpoint(source, name, info); is {
			found = append(found, member{e.Name(), info.IsDir(), loose})
		}
	}
	return found
}

// membersFurtherBelow returns the checkpoints in the first directories among the entries of a directory that are not members of it, with the names of
// these. If there are members, files alone, such as fixtures, are left out.
func membersFurtherBelow(source fs.FS, dir string, entries []fs.DirEntry, members []string) (all []string) {
	const mostDirectories = 20
	n := 0
	for _, e := range entries {
		if !e.IsDir() || slices.Contains(members, e.Name()) {
			continue
		}
		if n++; n > mostDirectories {
			break
		}
		below := membersOf(source, path.Join(dir, e.Name()), true)
		if members != nil && !slices.ContainsFunc(below, func(m member) bool { return !m.loose }) {
			continue
		}
		for _, m := range below {
			all = append(all, path.Join(e.Name(), m.name))
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
		ckpt, err := found[0].openAlone(source, name, true) // there may be several
		if err != nil {
			return false, false
		}
		ckpt.Close()
		return true, found[0].apart == nil
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

// severalError returns the error for a directory that is no checkpoint itself but holds several. names are those of the checkpoints, relative to dir.
// The error lists their paths, so that one can be chosen.
func severalError(source fs.FS, dir string, names []string) error {
	bad := tensor.Bad("is no checkpoint itself").In(storage.Path(source, dir)).Because(tensor.SeveralFiles)
	order, compare := "", tensor.CompareNames
	if areSteps(names) {
		bad.Because(ReasonSteps)
		compare = compareNewestFirst
		if len(names) > 1 {
			order = ", newest first"
		}
	}
	const mostPaths = 8
	var list string
	for i, name := range slices.SortedFunc(slices.Values(names), compare) {
		if i == mostPaths { // the names need not be all there are
			list += " and others"
			break
		}
		if i > 0 {
			list += ", "
		}
		list += storage.Path(source, path.Join(dir, name))
	}
	return bad.Advise("give one of those in it%s: %s", order, list)
}

// areSteps reports whether two of the names in a directory, or the only one, are those of steps of a training run.
func areSteps(names []string) bool {
	if len(names) == 1 {
		return path.Base(names[0]) == names[0] && stepOfName(names[0]) >= 0
	}
	return slices.ContainsFunc(names, func(a string) bool {
		return slices.ContainsFunc(names, func(b string) bool {
			return path.Dir(a) == "." && isOtherStep(Step{Name: a}.Base(), Step{Name: b}.Base())
		})
	})
}

// compareNewestFirst orders the names of steps by their numbers, the highest first, before all other names.
func compareNewestFirst(a, b string) int {
	return cmp.Or(cmp.Compare(stepOfName(b), stepOfName(a)), tensor.CompareNames(a, b))
}

// stepOfName returns the number in the name of a file or directory, -1 if it has none.
func stepOfName(name string) int64 { return numberOf(Step{Name: path.Base(name)}.Base()) }
