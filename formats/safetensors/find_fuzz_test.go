package safetensors_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// FuzzDirectory opens a directory with files of any names, each a file with one tensor of that name, and an index of any
// text. What is found is there and named once, and errors are about the files.
func FuzzDirectory(f *testing.F) {
	const index = `{"metadata":{"total_size":0},"weight_map":{"model-00001-of-00002.safetensors":"model-00001-of-00002.safetensors","model-00002-of-00002.safetensors":"model-00002-of-00002.safetensors"}}`
	for _, names := range []string{
		"model-00001-of-00002.safetensors\nmodel-00002-of-00002.safetensors", "model.safetensors\nother.safetensors", "a.safetensors\nb.safetensors\n.c.safetensors",
		"part.2.safetensors\npart.10.safetensors", "model-00001-of-00003.safetensors\nmodel-00003-of-00003.safetensors", "x-00001-of-00001.safetensors\ny-00001-of-00001.safetensors",
		"a.safetensors.index.json\nb.safetensors.index.json", "model-99999999999999999999-of-99999999999999999999.safetensors",
	} {
		f.Add(names, "", false)
		f.Add(names, index, true)
	}
	f.Add("a.safetensors", `{"weight_map":{"a.safetensors":"../a.safetensors"}}`, true)
	f.Fuzz(func(t *testing.T, list, index string, indexed bool) {
		source := fstest.MapFS{"other": {}}
		for i, name := range strings.SplitN(list, "\n", 20) {
			if i < 19 && len(name) < 200 && fs.ValidPath("dir/"+name) && !strings.Contains(name, "/") && name != "." {
				source["dir/"+name] = &fstest.MapFile{Data: fileOf(1, func(int) string { return empty(strings.ToValidUTF8(name, "?"), "0") })}
			}
		}
		if indexed {
			source["dir/"+safetensors.IndexName] = &fstest.MapFile{Data: []byte(index)}
		}
		var bad *tensor.FormatError
		found, err := safetensors.Find(source, "dir")
		if err != nil && !errors.As(err, &bad) && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("Find: %v", err)
		}
		if found != nil {
			sorted := slices.Sorted(slices.Values(found.Files))
			if len(slices.Compact(slices.Clone(sorted))) != len(sorted) {
				t.Fatalf("files are named twice: %q", found.Files)
			}
			for _, name := range sorted {
				if source["dir/"+name] == nil {
					t.Fatalf("%q is not there", name)
				}
			}
		}
		c, err := safetensors.Open(source, "dir")
		if err != nil {
			if !errors.As(err, &bad) && !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("Open: %v", err)
			}
			return
		}
		defer c.Close()
		if found == nil || found.Index == "" && len(c.Tensors()) != len(found.Files) {
			t.Fatalf("%d tensors of %+v", len(c.Tensors()), found)
		}
	})
}
