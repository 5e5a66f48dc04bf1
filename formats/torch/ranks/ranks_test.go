package ranks_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/torchtest"
	"github.com/griffin-ckpt/griffin/formats/torch/ranks"
)

func openDirectory(dir string) (*tensor.Checkpoint, error) {
	return ranks.OpenDirectory(storage.Local(dir), ".", ranks.Options{})
}

// TestSamples reads what torch wrote, of today and of 2024: see testdata/interop/sharded.py.
func TestSamples(t *testing.T) {
	samples, _ := filepath.Glob("testdata/*.json")
	if len(samples) < 5 {
		t.Fatalf("%d samples", len(samples))
	}
	for _, want := range samples {
		dir := strings.TrimSuffix(want, ".json")
		t.Run(dir, func(t *testing.T) {
			if !ranks.Detect(storage.Local(dir), ".") {
				t.Error("not detected")
			}
			c, err := openDirectory(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			torchtest.Check(t, c, want)
		})
	}
}

// TestAnyRank opens the checkpoint once by the file of each rank. Its path is that of the file that was opened.
func TestAnyRank(t *testing.T) {
	files, _ := filepath.Glob("testdata/tensor-parallel/model_*.pt")
	for _, file := range files {
		c, err := ranks.Open(storage.Local("testdata/tensor-parallel"), filepath.Base(file), ranks.Options{})
		if err != nil {
			t.Fatal(err)
		}
		torchtest.Check(t, c, "testdata/tensor-parallel.json")
		if filepath.Base(c.Path) != filepath.Base(file) {
			t.Errorf("%s is called %s", file, c.Path)
		}
		c.Close()
	}
	if len(files) != 4 {
		t.Errorf("%d files", len(files))
	}
}

func TestFacts(t *testing.T) {
	c, err := openDirectory("testdata/fsdp2")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !slices.Contains(c.Details, tensor.Detail{Key: "ranks", Value: "3"}) || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "optim_world_size_3_rank_*.pt") {
		t.Errorf("details %v, notes %v", c.Details, c.Notes)
	}
}

// TestDetect has directories that are not for this package.
func TestDetect(t *testing.T) {
	one, err := os.ReadFile("testdata/fsdp2/model_world_size_3_rank_0.pt")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  bool
	}{
		"nothing":           {fstest.MapFS{}, false},
		"texts":             {fstest.MapFS{"a1.txt": {Data: []byte("x")}, "a2.txt": {Data: []byte("y")}}, false},
		"one number":        {fstest.MapFS{"a1.pt": {Data: one}}, false},
		"one rank":          {fstest.MapFS{"rank1.pt": {Data: one}}, true},
		"two":               {fstest.MapFS{"a1.pt": {Data: one}, "a2.pt": {Data: one}}, true},
		"a broken rank":     {fstest.MapFS{"rank1.pt": {Data: one[:100]}, "rank2.pt": {Data: one}}, true},
		"a broken number":   {fstest.MapFS{"a1.pt": {Data: one[:100]}, "a2.pt": {Data: one}}, false},
		"number of a size":  {fstest.MapFS{"s-0-of-2.pt": {Data: one}, "s-1-of-2.pt": {Data: one}}, true},
		"a directory":       {fstest.MapFS{"rank1.pt/x": {Data: one}}, false},
		"two of a rank":     {fstest.MapFS{"rank1.pt": {Data: one}, "rank01.pt": {Data: one}}, true},
		"number too large":  {fstest.MapFS{"rank99999999999.pt": {Data: one}}, false},
		"directory missing": {nil, false},
	} {
		dir := "."
		if c.files == nil {
			dir = "missing"
		}
		if got := ranks.Detect(c.files, dir); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestHostile(t *testing.T) {
	torchtest.Hostile(t, openDirectory, map[string]string{
		"axis-outside":               `rank_1.pt: tensor "w": DTensor of 2 axes is cut along the axis 2`,
		"calls-system":               `pickle refers to "posix.system"`,
		"coordinate-negative":        `tensor "w": rank is at [-1] of a mesh of the shape [2]`,
		"coordinate-of-two-axes":     `rank has coordinates that are not those of a mesh of 1 dimensions`,
		"coordinate-outside":         `rank is at [2] of a mesh of the shape [2]`,
		"local-too-long":             `the rank has [4, 4] of the shape [6, 4], where its placements give it [3, 4]`,
		"local-too-short":            `the rank has [2, 4] of the shape [6, 4], where its placements give it [3, 4]`,
		"mesh-of-a-million-million":  `mesh is int32[1099511627776]`,
		"mesh-of-nothing":            `mesh of the shape [0]`,
		"mesh-of-text":               `DTensor has a mesh that griffin does not know`,
		"missing-first-rank":         `files of ranks are missing, of 2: 0`,
		"missing-rank":               `files of ranks are missing, of 2: 1`,
		"partial":                    `tensor "w": is Partial on dimension 0 of the mesh`,
		"placement-unknown":          `DTensor has a placement that is none`,
		"rank-not-in-the-mesh":       `files of ranks are missing, of 8: 2, 3, 4, 5, 6, 7`,
		"replica-of-other-shape":     `tensor "v": is float32[6] here, and float32[4] in model_world_size_2_rank_0.pt`,
		"replica-of-other-type":      `tensor "v": is float64[4] here, and float32[4] in model_world_size_2_rank_0.pt`,
		"same-rows-twice":            `tensor "w": no chunk has the elements [3:6, 0:4] of the shape [6, 4]`,
		"shape-negative":             `negative size in shape [-6 4]`,
		"shape-overflows":            `shape [4611686018427387904, 4] overflows`,
		"split-a-billion-times":      `axis 0 is split 1000000000 times`,
		"two-placements-on-one-axis": `DTensor has 2 placements on a mesh of 1 dimensions`,
		"unequal-replicas":           `tensor "v": replicas of the elements [0:4] differ from those in`,
	})
}

// FuzzRank reads any pickle in the file of one of two ranks.
// TestOneFileLeft: the name of the only file that is left says how many there were.
func TestOneFileLeft(t *testing.T) {
	for _, tt := range []struct{ from, name, missing string }{
		{"0", "shard-00-of-2.ckpt", "1"},
		{"1", "model_1_of_2.pt", "0"},
		{"0", "consolidated-0-of-3.pt", "1, 2"},
	} {
		data, err := os.ReadFile("testdata/hostile/sound/model_world_size_2_rank_" + tt.from + ".pt")
		if err != nil {
			t.Fatal(err)
		}
		_, err = ranks.OpenDirectory(fstest.MapFS{tt.name: {Data: data}}, ".", ranks.Options{})
		if err == nil || !torchtest.IsFormatError(err) || !strings.Contains(err.Error(), "files of ranks are missing, of "+tt.name[strings.Index(tt.name, "of")+3:][:1]+": "+tt.missing) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzRank(f *testing.F) {
	dir := os.DirFS("testdata/hostile/sound")
	const first, second = "model_world_size_2_rank_0.pt", "model_world_size_2_rank_1.pt"
	files := map[string][]byte{}
	for _, name := range []string{first, second} {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			f.Fatal(err)
		}
		files[name] = data
	}
	samples, _ := filepath.Glob("testdata/hostile/*/" + second)
	for _, sample := range samples {
		data, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(torchtest.Pickle(f, data))
	}
	f.Fuzz(func(t *testing.T, pickle []byte) {
		source := fstest.MapFS{first: {Data: files[first]}, second: {Data: torchtest.WithPickle(t, files[second], pickle)}}
		c, err := ranks.OpenDirectory(source, ".", ranks.Options{})
		if err == nil {
			_, err = torchtest.Digests(c)
		}
		if err != nil && !torchtest.IsFormatError(err) {
			t.Fatalf("%v is not a format error", err)
		}
	})
}
