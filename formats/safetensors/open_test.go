package safetensors

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// one is a safetensors file of one tensor of that name with n bytes.
func one(name string, n int) string {
	l, err := NewLayout([]tensor.Spec{{Name: name, DType: tensor.U8, Shape: []int64{int64(n)}}}, 0, map[string]string{"format": "pt"})
	if err != nil {
		panic(err)
	}
	return string(l.Header(0)) + strings.Repeat("x", n)
}

const shard1, shard2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"

// Directories of every kind, and what opening them gives.
func TestOpenDirectory(t *testing.T) {
	a, b := one("a", 1), one("b", 2)
	index := func(body string) string { return `{"weight_map": {` + body + `}}` }
	sound := index(`"a": "` + shard1 + `", "b": "` + shard2 + `"`)
	for _, tt := range []struct {
		name    string
		files   map[string]string
		tensors string // names, joined
		note    string
		problem string
	}{
		{"single", map[string]string{SingleName: a, "config.json": "{}"}, "a", "", ""},
		{"single wins over index", map[string]string{SingleName: a, IndexName: "{}", shard1: b}, "a", IndexName, ""},
		{"index", map[string]string{IndexName: sound, shard1: a, shard2: b}, "ab", "", ""},
		{"index and an unreferenced shard", map[string]string{IndexName: sound, shard1: a, shard2: b, "model-00003-of-00003.safetensors": a}, "ab", "not read, as not part of the checkpoint: model-00003", ""},
		{"index with a right total", map[string]string{IndexName: `{"metadata":{"total_size":3},"weight_map":{"a":"` + shard1 + `","b":"` + shard2 + `"}}`, shard1: a, shard2: b}, "ab", "", ""},
		{"index with a wrong total", map[string]string{IndexName: `{"metadata":{"total_size":4},"weight_map":{"a":"` + shard1 + `"}}`, shard1: a}, "a", "total size of 4 bytes, the tensors have 1", ""},
		{"index with a float total", map[string]string{IndexName: `{"metadata":{"total_size":4.0},"weight_map":{"a":"` + shard1 + `"}}`, shard1: a}, "a", "", ""},
		{"index with odd metadata", map[string]string{IndexName: `{"metadata":null,"weight_map":{"a":"` + shard1 + `"}}`, shard1: a}, "a", "", ""},
		{"index, one shard lost", map[string]string{IndexName: sound, shard1: a}, "", "", shard2 + ": shard is missing"},
		{"index lacks a tensor", map[string]string{IndexName: index(`"a":"` + shard1 + `","c":"` + shard2 + `"`), shard1: a, shard2: b}, "", "", `tensor "b": tensor is not in the index`},
		{"shard lacks a tensor", map[string]string{IndexName: index(`"a":"` + shard1 + `","c":"` + shard1 + `"`), shard1: a}, "", "", `tensor "c": tensor is not in ` + shard1},
		{"index says another shard", map[string]string{IndexName: index(`"a":"` + shard2 + `","b":"` + shard1 + `"`), shard1: a, shard2: b}, "", "", "index says that the tensor is in " + shard2},
		{"one tensor in two shards", map[string]string{IndexName: sound, shard1: a, shard2: a}, "", "", "index says that the tensor is in " + shard1},
		{"index leads out", map[string]string{IndexName: index(`"a":"../` + shard1 + `"`), shard1: a}, "", "", "not a file name in the same directory"},
		{"index leads to the root", map[string]string{IndexName: index(`"a":"/etc/passwd"`), shard1: a}, "", "", "not a file name in the same directory"},
		{"index leads nowhere", map[string]string{IndexName: index(`"a":""`)}, "", "", "not a file name in the same directory"},
		{"index leads to the directory", map[string]string{IndexName: index(`"a":"."`)}, "", "", "not a file name in the same directory"},
		{"index twice of a name", map[string]string{IndexName: index(`"a":"` + shard1 + `","a":"` + shard1 + `"`), shard1: a}, "", "", `duplicate key "a"`},
		{"index without weights", map[string]string{IndexName: index(``)}, "", "", "names no file"},
		{"index of another kind", map[string]string{IndexName: `{}`}, "", "", "not a shard index"},
		{"index of a number", map[string]string{IndexName: index(`"a":1`)}, "", "", "a string is expected"},
		{"shard is an LFS pointer", map[string]string{SingleName: "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"}, "", "", "Git LFS pointer"},
		{"other index", map[string]string{"model.fp16.safetensors.index.json": sound, shard1: a, shard2: b}, "ab", "", ""},
		{"two indexes", map[string]string{"a.safetensors.index.json": sound, "b.safetensors.index.json": sound, shard1: a, shard2: b}, "", "", "holds 2 shard indexes"},
		{"shards without index", map[string]string{shard1: b, shard2: a}, "ba", "", ""},
		{"incomplete shards", map[string]string{shard2: a}, "", "", "shard 1 of 2 is missing"},
		{"incomplete at the end", map[string]string{shard1: a}, "", "", "holds 1 of 2 shards"},
		{"shards that repeat", map[string]string{shard1: a, shard2: a}, "", "", `tensor "a": tensor is in ` + shard1 + " too"},
		{"shards and another set", map[string]string{shard1: a, shard2: b, "ema-00001-of-00001.safetensors": a}, "ab", "ema-00001", ""},
		{"two strange sets", map[string]string{"x-00001-of-00001.safetensors": a, "y-00001-of-00001.safetensors": b}, "", "", "several sets of shards"},
		{"free names in natural order", map[string]string{"w.10.safetensors": a, "w.9.safetensors": b}, "ba", "", ""},
		{"adapter", map[string]string{"adapter_model.safetensors": a, "adapter_config.json": "{}"}, "a", "", ""},
		{"hidden files", map[string]string{"._model.safetensors": "x", "adapter_model.safetensors": a}, "a", "", ""},
		{"nothing", map[string]string{"config.json": "{}"}, "", "", "holds no safetensors file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const dir = "models/2b"
			source := fstest.MapFS{}
			for name, content := range tt.files {
				source[dir+"/"+name] = &fstest.MapFile{Data: []byte(content)}
			}
			c, err := Open(source, dir)
			if tt.problem != "" {
				var bad *tensor.FormatError
				if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.problem) || !strings.HasPrefix(bad.File, dir) {
					t.Errorf("got %v; want %q", err, tt.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			names := ""
			for _, x := range c.Tensors() {
				names += x.Name
			}
			if names != tt.tensors || c.Path != dir || c.Metadata["format"] != "pt" {
				t.Errorf("tensors %q, path %s, metadata %v", names, c.Path, c.Metadata)
			}
			if notes := strings.Join(c.Notes, "\n"); (notes == "") != (tt.note == "") || !strings.Contains(notes, tt.note) {
				t.Errorf("notes %q; want %q", notes, tt.note)
			}
		})
	}
}

// A snapshot in the Hub's cache holds links to files with meaningless names elsewhere.
func TestOpenHubSnapshot(t *testing.T) {
	root := t.TempDir()
	blobs, snapshot := filepath.Join(root, "blobs"), filepath.Join(root, "snapshots", "0123")
	if err := errors.Join(os.MkdirAll(blobs, 0o777), os.MkdirAll(snapshot, 0o777)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/hf_sharded/model*")
	if err != nil || len(files) != 5 {
		t.Fatal(files, err)
	}
	for i, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		blob := strings.Repeat("0", 39) + strconv.Itoa(i)
		if err := os.WriteFile(filepath.Join(blobs, blob), content, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..", "..", "blobs", blob), filepath.Join(snapshot, filepath.Base(name))); err != nil {
			t.Skip("no links here: ", err)
		}
	}
	for _, path := range []string{snapshot, filepath.Join(snapshot, IndexName)} {
		c, err := openPath(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Tensors()) != 57 || c.Tensor("model.final_norm.weight") == nil {
			t.Errorf("%s: %d tensors", path, len(c.Tensors()))
		}
		c.Close()
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "x"+SingleName), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, IndexName), []byte(`{"weight_map":{"a":"x`+SingleName+`"}}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := openPath(dir); err == nil || !strings.Contains(err.Error(), "is a directory, not a regular file") {
		t.Errorf("a directory for a shard: %v", err)
	}
	if _, err := openPath(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) || errors.As(err, new(*tensor.FormatError)) {
		t.Errorf("an absent file: %v", err)
	}
}

func TestNaturalOrder(t *testing.T) {
	want := []string{"", "a", "a01", "a1", "a1b", "a2", "a10", "a10b", "ab", "b"}
	if got := naturalOrder(slices.Concat(want[5:], want[:5])); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, x := range want {
		for _, y := range want {
			if c := tensor.CompareNames(x, y); c != -tensor.CompareNames(y, x) || (c == 0) != (x == y) {
				t.Errorf("%q and %q compare as %d", x, y, c)
			}
		}
	}
}

// openPath opens a checkpoint of the local file system.
func openPath(path string) (*tensor.Checkpoint, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return Open(source, name)
}
