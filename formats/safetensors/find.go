package safetensors

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The names that transformers gives to the files of a model.
const (
	SingleName = "model.safetensors"
	IndexName  = "model.safetensors.index.json"
)

// Found says which files of a directory are its checkpoint.
type Found struct {
	Index string   // the shard index, or "" if the files are to be read without one
	Files []string // otherwise, in order
	Notes []string // what else lies there
}

// Find looks through a directory for a safetensors checkpoint, as transformers does:
// model.safetensors, then model.safetensors.index.json. Where it has neither, the directory may
// hold another index, a full set of numbered shards, or any files that together are one
// checkpoint. Find returns nil if the directory has no such file.
func Find(dir string) (*Found, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files, indexes []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || !isFile(dir, e) {
			continue
		}
		if strings.HasSuffix(name, ".safetensors") {
			files = append(files, name)
		} else if strings.HasSuffix(name, ".safetensors.index.json") {
			indexes = append(indexes, name)
		}
	}
	found, err := choose(files, indexes)
	if found == nil || err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: dir})
	}
	found.noteOthers(dir, files, indexes)
	return found, nil
}

// isFile reports whether e is no directory, following links. A link that leads nowhere counts as a
// file, for then the checkpoint is broken.
func isFile(dir string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return !e.IsDir()
	}
	info, err := os.Stat(filepath.Join(dir, e.Name()))
	return err != nil || !info.IsDir()
}

func choose(files, indexes []string) (*Found, error) {
	switch {
	case slices.Contains(files, SingleName):
		return &Found{Files: []string{SingleName}}, nil
	case slices.Contains(indexes, IndexName):
		return &Found{Index: IndexName}, nil
	case len(indexes) == 1:
		return &Found{Index: indexes[0]}, nil
	case len(indexes) > 1:
		return nil, tensor.Bad("directory holds %d shard indexes: %s", len(indexes), strings.Join(indexes, ", ")).
			Advise("give the index that is meant by its own path")
	case len(files) == 0:
		return nil, nil
	}
	return chooseShards(files)
}

var shardPattern = regexp.MustCompile(`^(.*)-(\d{5,})-of-(\d{5,})\.safetensors$`)

// chooseShards chooses among files without an index: the one set of numbered shards (that of
// "model" if there are several), which must be complete, or all files where none is numbered.
func chooseShards(files []string) (*Found, error) {
	sets := map[string][]string{} // "model of 00004" -> files
	var order []string
	for _, name := range files {
		set := ""
		if m := shardPattern.FindStringSubmatch(name); m != nil {
			set = m[1] + " of " + m[3]
		}
		if sets[set] == nil {
			order = append(order, set)
		}
		sets[set] = append(sets[set], name)
	}
	numbered := slices.DeleteFunc(slices.Clone(order), func(set string) bool { return set == "" })
	if len(numbered) == 0 {
		return &Found{Files: naturalOrder(files)}, nil
	}
	if len(numbered) > 1 {
		numbered = slices.DeleteFunc(numbered, func(set string) bool { return !strings.HasPrefix(set, "model of ") })
	}
	if len(numbered) != 1 {
		return nil, tensor.Bad("directory holds several sets of shards and no index").Advise("move all but one of them elsewhere")
	}
	return completeSet(sets[numbered[0]])
}

// completeSet checks that shards of one set are numbered from 1 to their total.
func completeSet(shards []string) (*Found, error) {
	shards = naturalOrder(shards)
	total, _ := strconv.Atoi(shardPattern.FindStringSubmatch(shards[0])[3])
	for i, name := range shards {
		if n, _ := strconv.Atoi(shardPattern.FindStringSubmatch(name)[2]); n != i+1 {
			return nil, tensor.Bad("shard %d of %d is missing", i+1, total).Advise("the checkpoint is incomplete: download or copy the missing files too")
		}
	}
	if len(shards) != total {
		return nil, tensor.Bad("directory holds %d of %d shards", len(shards), total).
			Advise("the checkpoint is incomplete: download or copy the missing files too")
	}
	return &Found{Files: shards}, nil
}

// noteOthers notes the weights in the directory that are no part of the checkpoint. What an index
// refers to is known only to the index.
func (f *Found) noteOthers(dir string, files, indexes []string) {
	used := f.Files
	if f.Index != "" {
		var err error
		if used, err = IndexFiles(filepath.Join(dir, f.Index)); err != nil {
			return // opening it will say so
		}
	}
	isUsed := map[string]bool{f.Index: true}
	for _, name := range used {
		isUsed[name] = true
	}
	others := slices.DeleteFunc(slices.Concat(files, indexes), func(name string) bool { return isUsed[name] })
	if n := len(others); n > 0 {
		f.Notes = append(f.Notes, fmt.Sprintf("not read, as no part of the checkpoint: %s", tensor.JoinNames(others)))
	}
}

// naturalOrder sorts names so that numbers in them count as such: part.2 comes before part.10.
func naturalOrder(names []string) []string {
	names = slices.Clone(names)
	slices.SortFunc(names, compareNatural)
	return names
}

func compareNatural(a, b string) int {
	whole := strings.Compare(a, b)
	for a != "" && b != "" {
		m, restA := leadingNumber(a)
		n, restB := leadingNumber(b)
		switch {
		case m == "" || n == "":
			if a[0] != b[0] {
				return strings.Compare(a, b)
			}
			a, b = a[1:], b[1:]
		case m != n && len(m) != len(n):
			return len(m) - len(n)
		case m != n:
			return strings.Compare(m, n)
		default:
			a, b = restA, restB
		}
	}
	if a == b {
		return whole
	}
	return strings.Compare(a, b)
}

// leadingNumber returns the digits that s begins with, without leading zeros, and the rest. A
// number of value 0 is "0"; "" stands for no digits.
func leadingNumber(s string) (number, rest string) {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	if i == 0 {
		return "", s
	}
	number = strings.TrimLeft(s[:i], "0")
	if number == "" {
		number = "0"
	}
	return number, s[i:]
}
