package safetensors

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
)

// The names that transformers gives to the files of a model.
const (
	SingleName = "model.safetensors"
	IndexName  = "model.safetensors.index.json"
)

// Found names the files of a directory that are its checkpoint.
type Found struct {
	Index string   // the shard index, "" if the checkpoint has none
	Files []string // the files of a checkpoint without an index, in order
	Loose bool     // Files have names of their own, which do not say that they are the checkpoint of the directory
	Notes []string // about other weights in the directory
}

// Find chooses the safetensors checkpoint of a directory. As transformers does, it takes
// model.safetensors before model.safetensors.index.json. Without either it takes another index, a
// complete set of numbered shards, or all the files. It returns nil if the directory has none of
// these.
func Find(source fs.FS, dir string) (*Found, error) {
	entries, err := fs.ReadDir(source, dir)
	if err != nil {
		return nil, err
	}
	var files, indexes []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || !isFile(source, dir, e) {
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
		return nil, tensor.Annotate(err, tensor.Location{File: storage.Path(source, dir)})
	}
	found.noteOthers(source, dir, files, indexes)
	return found, nil
}

// isFile reports whether an entry is not a directory, following links. A dangling link counts as a
// file, so that opening the checkpoint reports it.
func isFile(source fs.FS, dir string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return !e.IsDir()
	}
	info, err := fs.Stat(source, path.Join(dir, e.Name()))
	return err != nil || !info.IsDir()
}

// choose applies the order of preference of Find.
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
			Advise("give the path of one index")
	case len(files) == 0:
		return nil, nil
	}
	return chooseShards(files)
}

var shardPattern = regexp.MustCompile(`^(.*)-(\d{5,})-of-(\d{5,})\.safetensors$`)

// chooseShards chooses among files without an index: the only set of numbered shards, or that of
// "model" if there are several, which must be complete; all files if none is numbered.
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
		return &Found{Files: naturalOrder(files), Loose: true}, nil
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

// noteOthers notes the weights in the directory that are not part of the checkpoint.
func (f *Found) noteOthers(source fs.FS, dir string, files, indexes []string) {
	used := f.Files
	if f.Index != "" {
		var err error
		if used, err = IndexFiles(source, path.Join(dir, f.Index)); err != nil {
			return // Open reports it
		}
	}
	isUsed := map[string]bool{f.Index: true}
	for _, name := range used {
		isUsed[name] = true
	}
	others := slices.DeleteFunc(slices.Concat(files, indexes), func(name string) bool { return isUsed[name] })
	if n := len(others); n > 0 {
		f.Notes = append(f.Notes, fmt.Sprintf("not read, as not part of the checkpoint: %s", tensor.JoinNames(others)))
	}
}

// naturalOrder sorts names with the numbers in them by value: part.2 comes before part.10.
func naturalOrder(names []string) []string {
	names = slices.Clone(names)
	slices.SortFunc(names, tensor.CompareNames)
	return names
}
