package formats

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// copyFile copies a sample under another name, so that the name tells nothing.
func copyFile(t *testing.T, dst, src string) {
	t.Helper()
	in, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(dst), 0o777); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(dst)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// A file's format is told by its content.
func TestDetectFile(t *testing.T) {
	for src, format := range map[string]string{
		"safetensors/testdata/all_dtypes.safetensors": "safetensors",
		"safetensors/testdata/names.safetensors":      "safetensors",
		"torch/testdata/sound/state_dict_zip.pt":      "torch-zip",
		"torch/testdata/sound/state_dict_legacy.pt":   "torch-legacy",
		"torch/testdata/sound/hand_minimal.pt":        "torch-zip",
		"flax/testdata/sound/state_plain.msgpack":     "flax-msgpack",
		"flax/testdata/sound/state_chunked.msgpack":   "flax-msgpack",
	} {
		for _, name := range []string{"checkpoint", "model.safetensors", "x.pt"} {
			path := filepath.Join(t.TempDir(), name)
			copyFile(t, path, src)
			c, err := Open(path, Options{})
			if err != nil {
				t.Errorf("%s as %s: %v", src, name, err)
				continue
			}
			if c.Format != format || len(c.Tensors()) == 0 || c.Path != path {
				t.Errorf("%s as %s: %s, %d tensors, %s", src, name, c.Format, len(c.Tensors()), c.Path)
			}
			c.Close()
		}
	}
}

func TestDetectDirectory(t *testing.T) {
	for path, format := range map[string]string{
		"safetensors/testdata/hf_sharded":                                                      "safetensors",
		"safetensors/testdata/hf_sharded/model.safetensors.index.json":                         "safetensors",
		"torch/testdata/sound/hf_bin":                                                          "torch-sharded",
		"torch/testdata/sound/hf_bin/pytorch_model.bin.index.json":                             "torch-sharded",
		"orbax/testdata/sound/kaggle_ocdbt_v0_5":                                               "orbax-ocdbt",
		"orbax/testdata/sound/kaggle_ocdbt_v0_5" + string(filepath.Separator):                  "orbax-ocdbt",
		"orbax/testdata/sound/manager_v0_12":                                                   "orbax-ocdbt",
		"orbax/testdata/sound/manager_v0_12/7":                                                 "orbax-ocdbt",
		"orbax/testdata/sound/manager_v0_12/7/default":                                         "orbax-ocdbt",
		"orbax/testdata/sound/v1_state_v0_12":                                                  "orbax-ocdbt",
		"orbax/testdata/sound/zarr2_dirs_v0_2":                                                 "orbax-zarr",
		"orbax/testdata/sound/zarr3_dirs_v0_12":                                                "orbax-zarr",
		filepath.Join("orbax", "testdata", "sound", "..", "sound", "ocdbt_no_metadata_v0_4_1"): "orbax-ocdbt",
	} {
		c, err := Open(path, Options{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if c.Format != format || len(c.Tensors()) == 0 {
			t.Errorf("%s: %s, %d tensors", path, c.Format, len(c.Tensors()))
		}
		c.Close()
	}
}

const (
	sampleSafetensors = "safetensors/testdata/names.safetensors"
	sampleTorch       = "torch/testdata/sound/state_dict_zip.pt"
	sampleFlax        = "flax/testdata/sound/state_plain.msgpack"
)

// Where a directory holds several checkpoints, one is taken and the others are named.
func TestPreference(t *testing.T) {
	seven, eight := int64(7), int64(8)
	for _, tt := range []struct {
		name   string
		files  map[string]string // name -> sample
		orbax  string            // sample that is copied over the directory
		step   *int64
		format string // "" for an error
		say    string // in the notes, or in the error
	}{
		{"safetensors and bin", map[string]string{"model.safetensors": sampleSafetensors, "pytorch_model.bin": sampleTorch}, "", nil, "safetensors", "also holds a PyTorch checkpoint, which is not read"},
		{"safetensors and bin in shards", map[string]string{"model.safetensors": sampleSafetensors, "pytorch_model.bin.index.json": "torch/testdata/sound/hf_bin/pytorch_model.bin.index.json"}, "", nil, "safetensors", "also holds a PyTorch checkpoint, which is not read"},
		{"safetensors and a trainer's files", map[string]string{"model.safetensors": sampleSafetensors, "optimizer.pt": sampleTorch}, "", nil, "safetensors", ""},
		{"safetensors and flax", map[string]string{"model.safetensors": sampleSafetensors, "flax_model.msgpack": sampleFlax}, "", nil, "safetensors", "also holds a Flax checkpoint"},
		{"safetensors and orbax", map[string]string{"model.safetensors": sampleSafetensors}, "manager_v0_12", nil, "safetensors", "also holds an Orbax checkpoint"},
		{"a step is asked for", map[string]string{"model.safetensors": sampleSafetensors}, "manager_v0_12", &seven, "orbax-ocdbt", "also holds a safetensors checkpoint"},
		{"another step is asked for", map[string]string{"model.safetensors": sampleSafetensors}, "manager_v0_12", &eight, "", "step 8"},
		{"a step of safetensors", map[string]string{"model.safetensors": sampleSafetensors}, "", &seven, "", "only directories of Orbax and of trainings have steps"},
		{"bin", map[string]string{"pytorch_model.bin": sampleTorch, "config.json": "safetensors/testdata/hf_sharded/config.json"}, "", nil, "torch-zip", ""},
		{"any file of torch", map[string]string{"2b.pt": sampleTorch, "config.json": "safetensors/testdata/hf_sharded/config.json"}, "", nil, "torch-zip", ""},
		{"orbax and torch", map[string]string{"2b.pt": sampleTorch}, "manager_v0_12", nil, "orbax-ocdbt", "also holds 2b.pt, not read"},
		{"two files of torch", map[string]string{"a.pt": sampleTorch, "b.pt": sampleTorch}, "", nil, "", "those in it: a.pt, b.pt"},
		{"steps of two formats", map[string]string{"step_100.pt": sampleTorch, "step_200.safetensors": sampleSafetensors}, "", nil, "", "those in it, newest first: step_200.safetensors, step_100.pt"},
		{"steps of flax and torch", map[string]string{"step_9.msgpack": sampleFlax, "step_10.pt": sampleTorch}, "", nil, "", "those in it, newest first: step_10.pt, step_9.msgpack"},
		{"a step in two formats", map[string]string{"step_100.pt": sampleTorch, "step_100.safetensors": sampleSafetensors}, "", nil, "safetensors", "the directory also holds step_100.pt, not read"},
		{"a step and its optimizer", map[string]string{"optimizer_100.pt": sampleTorch, "step_200.safetensors": sampleSafetensors}, "", nil, "safetensors", ""},
		{"other tensors in another format", map[string]string{"a.pt": sampleTorch, "b.safetensors": sampleSafetensors}, "", nil, "", "those in it: a.pt, b.safetensors"},
		{"names that begin alike", map[string]string{"2b-it.pt": sampleTorch, "2b.safetensors": sampleSafetensors}, "", nil, "", "those in it: 2b-it.pt, 2b.safetensors"},
		{"parts of a name", map[string]string{"consolidated.00.pth": sampleTorch, "consolidated.safetensors": sampleSafetensors}, "", nil, "safetensors", "also holds consolidated.00.pth, not read"},
		{"bin and a safetensors file of another name", map[string]string{"pytorch_model.bin": sampleTorch, "b.safetensors": sampleSafetensors}, "", nil, "torch-zip", "also holds b.safetensors, not read"},
		{"bin and what a training leaves", map[string]string{"pytorch_model.bin": sampleTorch, "optimizer.bin": sampleTorch, "training_args.bin": sampleTorch, "rng_state_0.pth": sampleTorch, "ema.pt": sampleTorch}, "", nil, "torch-zip", "also holds ema.pt, not read"},
		{"no other checkpoint", map[string]string{"training_args.bin": "safetensors/testdata/hf_sharded/config.json", "w.safetensors": sampleSafetensors}, "", nil, "safetensors", ""},
		{"a step beside transformers' name", map[string]string{"step_100.pt": sampleTorch, "model.safetensors": sampleSafetensors}, "", nil, "safetensors", "also holds step_100.pt, not read"},
		{"transformers' flax", map[string]string{"flax_model.msgpack": sampleFlax}, "", nil, "flax-msgpack", ""},
		{"legacy flax", map[string]string{"checkpoint": sampleFlax}, "", nil, "flax-msgpack", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, sample := range tt.files {
				copyFile(t, filepath.Join(dir, name), sample)
			}
			if tt.orbax != "" {
				if err := os.CopyFS(dir, os.DirFS(filepath.Join("orbax/testdata/sound", tt.orbax))); err != nil {
					t.Fatal(err)
				}
			}
			c, err := Open(dir, Options{Step: tt.step})
			if tt.format == "" {
				var bad *FormatError
				if !errors.As(err, &bad) || !strings.Contains(bad.Problem+"\n"+strings.ReplaceAll(bad.Hint, dir+"/", "")+"\n", tt.say) {
					t.Errorf("got %+v; want %q", err, tt.say)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			notes := strings.Join(c.Notes, "\n")
			if !strings.HasPrefix(c.Format, tt.format) || len(c.Tensors()) == 0 || !strings.Contains(notes, tt.say) {
				t.Errorf("%s, notes %q", c.Format, notes)
			}
			if tt.say == "" && strings.Contains(notes, "holds") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

// A directory that is no checkpoint itself, but holds several, of any formats, as files and as directories, is refused with all their paths; one alone is
// taken, and a note names what else looks like one.
func TestFolderOfCheckpoints(t *testing.T) {
	for _, tt := range []struct {
		name    string
		samples map[string]string
		reason  tensor.Reason // "" if one is taken
		say     string        // the hint, or the format and the notes
	}{
		{"Orbax and transformers", map[string]string{"2b": "orbax", "recurrentgemma-2b": "hf"}, tensor.SeveralFiles, "2b, recurrentgemma-2b"},
		{"two of Orbax and others", map[string]string{"2b": "orbax", "9b": "orbax", "2b.pt": "pt", "recurrentgemma-2b": "hf"}, tensor.SeveralFiles, "2b, 2b.pt, 9b, recurrentgemma-2b"},
		{"Orbax and PyTorch", map[string]string{"orbax": "orbax", "torch.pt": "pt"}, tensor.SeveralFiles, "orbax, torch.pt"},
		{"Orbax and safetensors", map[string]string{"2b": "orbax", "x.safetensors": "st"}, tensor.SeveralFiles, "2b, x.safetensors"},
		{"Orbax and DCP", map[string]string{"2b": "orbax", "checkpoint": "dcp"}, tensor.SeveralFiles, "2b, checkpoint"},
		{"files and transformers", map[string]string{"a.pt": "pt", "b.pt": "pt", "c": "hf"}, tensor.SeveralFiles, "a.pt, b.pt, c"},
		{"directories of Orbax", map[string]string{"a/2b": "orbax", "b/2b": "orbax"}, tensor.SeveralFiles, "a, b"},
		{"transformers", map[string]string{"a": "hf", "b": "hf"}, tensor.SeveralFiles, "a, b"},
		{"one directory", map[string]string{"a": "hf"}, tensor.SeveralFiles, "a"},
		{"further below", map[string]string{"x/a": "hf", "y/b.pt": "pt", "y/c": "hf"}, tensor.SeveralFiles, "x/a, y/b.pt, y/c"},
		{"some further below", map[string]string{"a": "hf", "x/2b": "orbax", "x/b.pt": "pt", "golden/1.pt": "pt", "golden/2.pt": "pt"}, tensor.SeveralFiles, "a, x/2b, x/b.pt"},
		{"steps of transformers", map[string]string{"checkpoint-9": "hf", "checkpoint-10": "hf", "final": "hf"}, ReasonSteps, "checkpoint-10, checkpoint-9, final"},
		{"many", map[string]string{"a": "hf", "b": "hf", "c": "hf", "d": "hf", "e": "hf", "f": "hf", "g": "hf", "h": "hf", "i": "hf"}, tensor.SeveralFiles, "a, b, c, d, e, f, g, h and others"},
		{"names that end in numbers", map[string]string{"2b-int8": "hf", "9b-int8": "hf", "x-bf16": "hf"}, tensor.SeveralFiles, "2b-int8, 9b-int8, x-bf16"},

		{"one of Orbax", map[string]string{"2b": "orbax", "logs": "empty", "optimizer.pt": "pt"}, "", "orbax-ocdbt"},
		{"the same name", map[string]string{"2b": "orbax", "2b.pt": "pt"}, "", "orbax-ocdbt the directory also holds 2b.pt, not read"},
		{"the same name as safetensors", map[string]string{"2b": "orbax", "2b.safetensors": "st"}, "", "safetensors the directory also holds 2b, not read"},
		{"the name of transformers", map[string]string{"2b": "orbax", "model.safetensors": "st"}, "", "safetensors the directory also holds an Orbax checkpoint, which is not read"},
		{"loose files in a directory", map[string]string{"2b.pt": "pt", "golden/x.safetensors": "st"}, "", "torch-zip the directory also holds golden, not read"},
		{"steps of Orbax", map[string]string{"7": "orbax", "9": "orbax", "2b": "hf"}, "", "orbax-ocdbt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			below := map[string]string{} // the name of a temporary directory is that of a step
			for name, sample := range tt.samples {
				below["models/"+name] = sample
			}
			dir := filepath.Join(makeRun(t, below), "models")
			c, err := Open(dir, Options{})
			if err == nil {
				defer c.Close()
				if got := strings.Join(append([]string{c.Format}, c.Notes...), " "); tt.reason != "" || got != tt.say {
					t.Errorf("got %s; want %s", got, tt.say)
				}
				return
			}
			var bad *FormatError
			if !errors.As(err, &bad) || bad.Reason != tt.reason || bad.Problem != "is no checkpoint itself" {
				t.Fatalf("got %+v", err)
			}
			_, list, _ := strings.Cut(strings.ReplaceAll(bad.Hint, dir+"/", ""), ": ")
			if list != tt.say {
				t.Errorf("got %q; want %q", bad.Hint, tt.say)
			}
		})
	}
}

// Links to the directory itself do not multiply: followed on each level, three of them would lead to it in more ways than can be tried.
func TestLinksInFolder(t *testing.T) {
	dir := filepath.Join(makeRun(t, map[string]string{"models/2b.pt": "pt"}), "models")
	for _, name := range []string{"x", "y", "z"} {
		if err := os.Symlink(".", filepath.Join(dir, name)); err != nil {
			t.Skip(err)
		}
	}
	c, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if notes := strings.Join(c.Notes, "; "); c.Format != "torch-zip" || notes != "the directory also holds x, y, z, not read" {
		t.Errorf("%s, notes %q", c.Format, notes)
	}
}

// Over a network too, files of two formats, and an Orbax directory beside a file, are refused, and their beginnings are enough for it.
func TestSeveralRemote(t *testing.T) {
	source := fstest.MapFS{"notes.bin": {Data: []byte("hello, world")}}
	for name, sample := range map[string]string{"a.pt": sampleTorch, "b.safetensors": sampleSafetensors} {
		data, err := os.ReadFile(sample)
		if err != nil {
			t.Fatal(err)
		}
		source[name] = &fstest.MapFile{Data: data}
	}
	_, err := OpenSource(source, ".", Options{})
	var bad *FormatError
	if !errors.As(err, &bad) || bad.Reason != tensor.SeveralFiles || bad.Hint != "give one of those in it: a.pt, b.safetensors" {
		t.Errorf("got %+v", err)
	}
	delete(source, "a.pt")
	c, err := OpenSource(source, ".", Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()

	dir := makeRun(t, map[string]string{"models/2b": "orbax", "models/x.pt": "pt"})
	_, err = OpenSource(os.DirFS(dir), "models", Options{})
	if !errors.As(err, &bad) || bad.Reason != tensor.SeveralFiles || bad.Hint != "give one of those in it: models/2b, models/x.pt" {
		t.Errorf("got %+v", err)
	}
}

// What cannot be read is refused with what it looks like, and what to do.
func TestUnknown(t *testing.T) {
	var zipped bytes.Buffer
	archive := zip.NewWriter(&zipped)
	if _, err := archive.Create("hf/config.json"); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	const npz = "PK\x03\x04\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00w.npy"
	for _, tt := range []struct {
		name, content   string // content "" for a directory of the names, joined with spaces
		problem, hinted string
	}{
		{"x", "", "is an empty file", "download"},
		{"x", strings.Repeat("\x00", 1000), "is a file that begins with zeros", "reserve the space"},
		{"x.safetensors", strings.Repeat("\x00", 1000), "is a file that begins with zeros", "reserve the space"},
		{"x", "GGUF\x03\x00\x00\x00\x00\x00\x00\x00", "is a GGUF file", "this was made from"},
		{"x", "\x89HDF\r\n\x1a\n\x00\x00\x00\x00", "is an HDF5 file", "export"},
		{"x", npz, "is a numpy .npz archive", "export"},
		{"x", zipped.String(), "holds no data.pkl", "unpack"},
		{"x", "PK\x03\x04 and no more", "is the beginning of a zip archive", ""},
		{"x", "\x08\x08\x12\x07pytorch", "is an ONNX model", "this was made from"},
		{"x", "version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer", "git lfs pull"},
		{"x", "\x1f\x8b\x08\x00\x00\x00", "is gzip-compressed data", "unpack"},
		{"x", "model_checkpoint_path: \"a\"", "TensorFlow", "export"},
		{"config.json", `{"model_type": "recurrent_gemma"}`, "is not a shard index", "directory"},
		{"x", "hello, world", "is not a checkpoint", "safetensors, PyTorch"},
		{"x.safetensors", "hello, world", "not a safetensors file", "safetensors, PyTorch"},
		{"x.pt", "hello, world", "torch.save", "safetensors, PyTorch"},
		{"x.msgpack", "\xdd\xff\xff\xff\xff", "items", "safetensors, PyTorch"},
		{"x.msgpack", "\x80", "is not a checkpoint", "safetensors, PyTorch"},
		{"dir", "", "is an empty directory", ""},
		{"dir config.json", "", "without its weights", "weights too"},
		{"dir saved_model.pb", "", "TensorFlow SavedModel", "export"},
		{"dir model.ckpt-1.index model.ckpt-1.data-00000-of-00001 checkpoint", "", "TensorFlow checkpoint", "export"},
		{"dir model.gguf README.md", "", "GGUF", "this was made from"},
		{"dir README.md", "", "is not a checkpoint", "safetensors, PyTorch"},
		{"dir snapshots/0123/x", "", "Hugging Face cache", "0123"},
	} {
		source, path := fstest.MapFS{}, tt.name
		if files, isDir := strings.CutPrefix(tt.name, "dir"); isDir {
			path = "."
			for _, name := range strings.Fields(files) {
				source[name] = &fstest.MapFile{Data: []byte("x")}
				if name == "checkpoint" {
					source[name].Data = []byte("model_checkpoint_path: \"model.ckpt-1\"")
				}
			}
		} else {
			source[path] = &fstest.MapFile{Data: []byte(tt.content)}
		}
		_, err := OpenSource(source, path, Options{})
		var bad *FormatError
		if !errors.As(err, &bad) || !strings.Contains(bad.Problem, tt.problem) || !strings.Contains(bad.Hint, tt.hinted) || bad.File != path {
			t.Errorf("%s %.20q: got %v (%+v)", tt.name, tt.content, err, bad)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	step := int64(1)
	if _, err := Open(sampleTorch, Options{Step: &step}); !errors.As(err, new(*FormatError)) || !strings.Contains(err.Error(), "step 1 is asked for") {
		t.Errorf("a step of a file: %v", err)
	}
}
