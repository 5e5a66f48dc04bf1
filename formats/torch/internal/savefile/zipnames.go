package savefile

import (
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// nameList takes the names of all members of a zip file, which are only looked up and never used as file names. The folder
// that holds all members is removed from them, and those that remain lie one after the other in memory.
type nameList struct {
	root    string           // the folder
	first   string           // the whole name of the first member
	outside string           // the first member in no folder or another one
	second  string           // another folder that holds a data.pkl
	pickled bool             // the folder holds a data.pkl
	block   *strings.Builder // of names, with room for more
	left    int64            // bytes that the names still to come take at most
}

// add returns the name of a member in the folder.
func (l *nameList) add(whole string) (string, error) {
	if err := checkMemberName(whole); err != nil {
		return "", err
	}
	folder, name, ok := strings.Cut(whole, "/")
	if l.first == "" {
		l.first, l.root = whole, folder
	}
	switch {
	case !ok || folder != l.root:
		if l.outside == "" {
			l.outside = whole
		}
		if name == "data.pkl" {
			l.second = folder
		}
	case name == "data.pkl":
		l.pickled = true
	}
	return l.keep(name), nil
}

// keep copies a name.
func (l *nameList) keep(name string) string {
	const block = 64 << 10
	if l.block == nil || l.block.Cap()-l.block.Len() < len(name) {
		l.block = &strings.Builder{}
		l.block.Grow(max(int(min(block, l.left)), len(name)))
	}
	l.left -= int64(len(name))
	at := l.block.Len()
	l.block.WriteString(name)
	return l.block.String()[at:]
}

// problem returns what is wrong with the folders.
func (l *nameList) problem() error {
	switch {
	case !l.pickled && l.second == "":
		return tensor.Bad("zip file holds no data.pkl in a folder, so torch.save did not write it").
			Advise("unpack it and give the file or directory that was in it")
	case l.pickled && l.second != "":
		return tensor.Bad("zip file holds two checkpoints, %q and %q", l.root, l.second)
	case !l.pickled:
		return tensor.Bad("zip member %q is outside the folder %q", l.first, l.second)
	case l.outside != "":
		return tensor.Bad("zip member %q is outside the folder %q", l.outside, l.root)
	}
	return nil
}

// checkMemberName refuses names that would lead out of the folder as file names.
func checkMemberName(name string) error {
	if strings.ContainsAny(name, "\\\x00") || strings.HasPrefix(name, "/") {
		return tensor.Bad("zip member has the unsafe name %q", name)
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return tensor.Bad("zip member has the unsafe name %q", name)
		}
	}
	return nil
}
