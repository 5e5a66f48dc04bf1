package dcp_test

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
	"github.com/griffin-ckpt/griffin/formats/torch/dcp"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/torchtest"
)

func open(dir string) (*tensor.Checkpoint, error) {
	return dcp.Open(storage.Local(dir), ".", dcp.Options{})
}

// TestSamples reads what torch wrote: see testdata/interop/sharded.py.
func TestSamples(t *testing.T) {
	for dir, details := range map[string]string{
		"testdata/fsdp2":           "version 1.0.0; files 3; checksums CRC-32; model under model; left out optimizer (21 tensors), step (1 tensor), lr_scheduler, loss",
		"testdata/tensor-parallel": "version 1.0.0; files 4; checksums CRC-32; model under model; left out optimizer (21 tensors), step (1 tensor), lr_scheduler, loss",
		"testdata/titan/step-7":    "version 1.0.0; files 3; checksums CRC-32; left out optimizer (21 tensors), train_state (1 tensor)",
		"testdata/hf":              "files 3; checksums none",
	} {
		t.Run(dir, func(t *testing.T) {
			if !dcp.Detect(storage.Local(dir), ".") {
				t.Error("not detected")
			}
			c, err := open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			torchtest.Check(t, c, strings.TrimSuffix(dir, "/step-7")+".json")
			var got []string
			for _, d := range c.Details {
				got = append(got, d.Key+" "+d.Value)
			}
			if text := strings.Join(got, "; "); sorted(text) != sorted(details) {
				t.Errorf("details %s, want %s", text, details)
			}
			if metadata := dir != "testdata/hf"; metadata == (len(c.Notes) > 0) {
				t.Errorf("notes %q", c.Notes)
			}
		})
	}
}

// sorted returns the words of a text in order: torch lists what it saved in no particular order.
func sorted(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == ';' })
	slices.Sort(words)
	return strings.Join(words, " ")
}

// Files beside those of the ranks are not read.
func TestFilesBeside(t *testing.T) {
	source := directory(t, "testdata/hf")
	for _, name := range []string{"README.md", "a.json", ".hidden.safetensors"} {
		source[name] = &fstest.MapFile{Data: []byte("x")}
	}
	c, err := dcp.Open(source, ".", dcp.Options{})
	if err != nil || !dcp.Detect(source, ".") {
		t.Fatal(err)
	}
	defer c.Close()
	torchtest.Check(t, c, "testdata/hf.json")
}

func TestDetect(t *testing.T) {
	for name, source := range map[string]fs.FS{
		"nothing":           fstest.MapFS{},
		"other safetensors": os.DirFS("../../safetensors/testdata"),
		"broken file":       fstest.MapFS{"a.safetensors": {Data: []byte("x")}},
		"no directory":      os.DirFS("nowhere"),
	} {
		if dcp.Detect(source, ".") {
			t.Errorf("%s is detected", name)
		}
	}
}

func TestHostile(t *testing.T) {
	torchtest.Hostile(t, open, map[string]string{
		"calls-eval":                   `.metadata: offset 29: pickle refers to "builtins.eval"`,
		"calls-system":                 `pickle refers to "posix.system"`,
		"chunk-calls-system":           `__2_0.distcp: data.pkl: offset 2: tensor "v": pickle refers to "posix.system"`,
		"chunk-changed":                `__1_0.distcp: data/0: tensor "w": checksum is 178171d5`,
		"chunk-is-a-dict":              `tensor "v": chunk at offset 0 is not a tensor`,
		"chunk-of-other-rank":          `chunk of 2 offsets and 1 sizes`,
		"chunk-of-other-shape":         `tensor "w": chunk is float32[3, 4] where float32[2, 6] belongs`,
		"chunk-of-other-type":          `tensor "w": chunk is float32[3, 4] where int32[3, 4] belongs`,
		"chunk-outside":                `tensor "w": chunk [3:6, 0:4] is not within the shape [5, 4]`,
		"chunk-without-a-place":        `tensor "w": no chunk has the elements [3:6, 0:4] of the shape [6, 4]`,
		"chunk-without-state":          `tensor of 2 axes has a chunk that is not of as many`,
		"chunks-not-a-list":            `tensor without its properties, size and chunks`,
		"chunks-of-numbers":            `tensor of 2 axes has a chunk that is not of as many`,
		"chunks-that-hold-themselves":  `tensor of 2 axes has a chunk that is not of as many`,
		"index-without-state":          `no chunk has the elements [3:6, 0:4] of the shape [6, 4]`,
		"layout-sparse":                `tensor "w": has the layout torch.sparse_coo`,
		"length-negative":              `tensor "v": a chunk has -5 bytes`,
		"length-not-an-integer":        `chunk without a path, an offset and a length`,
		"length-of-three-bytes":        `tensor "v": neither a zip file nor a legacy file`,
		"length-overflows":             `a chunk has 9223372036854775807 bytes at offset 1577`,
		"length-zero":                  `a chunk has 0 bytes at offset 1577`,
		"metadata-empty":               `pickle is truncated`,
		"metadata-in-a-zip":            `pickle opcode PERSID`,
		"metadata-marks":               `pickle is truncated`,
		"metadata-nested-deeply":       `pickle would take more than 96 MiB to read`,
		"metadata-of-an-unknown-class": `is not the metadata of a distributed checkpoint`,
		"metadata-truncated":           `pickle is truncated`,
		"missing-file":                 `__1_0.distcp: tensor "v": file of a rank is missing`,
		"no-tensors":                   `holds no tensor`,
		"not-metadata":                 `is not the metadata of a distributed checkpoint`,
		"offset-negative":              `a chunk has 1577 bytes at offset -1`,
		"offset-of-another-chunk":      `tensor "v": chunk is float32[3, 4] where float32[4] belongs`,
		"overlapping-chunks":           `tensor "w": chunk [2:5, 0:4] overlaps the chunk [0:3, 0:4] in`,
		"path-above":                   `a chunk is stored in "../sound/__1_0.distcp", which is not a path within the directory`,
		"path-absolute":                `a chunk is stored in "/etc/passwd"`,
		"path-backslash":               `a chunk is stored in "..\\x"`,
		"path-empty":                   `a chunk is stored in ""`,
		"path-not-text":                `chunk without a path, an offset and a length`,
		"path-of-a-directory":          `a chunk is stored in "."`,
		"place-without-state":          `tensor "v": a chunk has 0 bytes at offset 0`,
		"properties-without-state":     `tensor without an element type`,
		"safetensors-bad-json":         `DCP_SHARDING_INFO: unexpected end of JSON input`,
		"safetensors-gap":              `no chunk has the elements [3:4, 0:4] of the shape [7, 4]`,
		"safetensors-huge-offset":      `offsets [9223372036854775806, 0] are not within a tensor`,
		"safetensors-negative-offset":  `offsets [-3, 0] are not within a tensor`,
		"safetensors-no-info":          `does not say which parts of the tensors it holds`,
		"safetensors-other-type":       `is float16 of 2 axes here, and float32 of 2 axes in`,
		"safetensors-overlap":          `chunk [2:5, 0:4] overlaps the chunk [0:3, 0:4] in`,
		"safetensors-replicas-differ":  `replicas of the elements [0:3, 0:4] differ from those in`,
		"safetensors-without-offsets":  `DCP_SHARDING_INFO has 0 offsets for a tensor of 2 axes`,
		"short-file":                   `__1_0.distcp: tensor "v": file of a rank has 3054 bytes, where a chunk ends at 3154`,
		"size-of-65-axes":              `tensor of 65 axes; torch has at most 64`,
		"size-of-text":                 `tensor without its properties, size and chunks`,
		"size-overflows":               `tensor "w": shape [4611686018427387904, 4] overflows`,
		"sizes-negative":               `chunk of 2 offsets and 0 sizes`,
		"tensor-without-state":         `tensor "w": tensor without its properties, size and chunks`,
		"transformed":                  `a chunk is stored through the transformation "stream.zstd/1"`,
		"type-quantized":               `tensor "w": has elements of torch.qint8`,
		"uncovered-region":             `no chunk has the elements [3:6, 0:4] of the shape [6, 4]`,
	})
}

// TestSkipUnreadable leaves out what it is asked to leave out, and says so.
func TestSkipUnreadable(t *testing.T) {
	for _, name := range []string{"layout-sparse", "type-quantized"} {
		c, err := dcp.Open(storage.Local("testdata/hostile/"+name), ".", dcp.Options{SkipUnreadable: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Tensors()) != 1 || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "left out (1): w") {
			t.Errorf("%s: %d tensors, notes %q", name, len(c.Tensors()), c.Notes)
		}
		c.Close()
	}
}

// directory returns a sample as a source in memory.
func directory(t testing.TB, dir string) fstest.MapFS {
	t.Helper()
	source := fstest.MapFS{}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range append(files, filepath.Join(dir, ".metadata")) {
		data, err := os.ReadFile(file)
		if err != nil && filepath.Base(file) != ".metadata" {
			t.Fatal(err)
		}
		if err == nil {
			source[filepath.Base(file)] = &fstest.MapFile{Data: data}
		}
	}
	return source
}

// FuzzMetadata reads any bytes as .metadata, beside the files of a sound checkpoint.
func FuzzMetadata(f *testing.F) {
	source := directory(f, "testdata/hostile/sound")
	samples, _ := filepath.Glob("testdata/hostile/*/.metadata")
	for _, sample := range samples {
		if data, err := os.ReadFile(sample); err == nil && len(data) < 8<<10 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		files := fstest.MapFS{".metadata": {Data: data}}
		for name, file := range source {
			if name != ".metadata" {
				files[name] = file
			}
		}
		c, err := dcp.Open(files, ".", dcp.Options{})
		if err == nil {
			_, err = torchtest.Digests(c)
		}
		if err != nil && !torchtest.IsFormatError(err) {
			t.Fatalf("%v is not a format error", err)
		}
	})
}

// FuzzSharding reads any text as the places of the tensors of a safetensors file.
func FuzzSharding(f *testing.F) {
	const name = "shard-00002-model-00001-of-00001.safetensors"
	source := directory(f, "testdata/hostile/safetensors-sound")
	sound := string(source[name].Data)
	f.Add(`{\"w\": {\"saved_offsets\": [3, 0]}}`)
	f.Add(`{\"w\": {\"saved_offsets\": [3, -1]}}`)
	f.Add(`{\"w\": null}`)
	f.Fuzz(func(t *testing.T, info string) {
		const old = `{\"w\": {\"saved_offsets\": [3, 0]}}`
		header := strings.Replace(sound, old, info, 1)
		length := int(sound[0]) + int(sound[1])<<8 + len(info) - len(old)
		header = string([]byte{byte(length), byte(length >> 8), byte(length >> 16)}) + header[3:]
		files := fstest.MapFS{name: {Data: []byte(header)}}
		for other, file := range source {
			if other != name {
				files[other] = file
			}
		}
		c, err := dcp.Open(files, ".", dcp.Options{})
		if err == nil {
			_, err = torchtest.Digests(c)
		}
		if err != nil && !torchtest.IsFormatError(err) {
			t.Fatalf("%v is not a format error", err)
		}
	})
}
