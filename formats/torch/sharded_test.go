package torch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

const hfBin = "testdata/sound/hf_bin"

// TestSharded reads the shards that transformers wrote, by index and by directory. The digests
// are those of the same weights in safetensors files.
func TestSharded(t *testing.T) {
	var digests map[string]struct {
		DType  string
		Shape  []int64
		SHA256 string
	}
	readJSON(t, filepath.Join(hfBin, "digests.json"), &digests)
	for _, path := range []string{hfBin, filepath.Join(hfBin, IndexName)} {
		c, err := openPath(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.Format != "torch-sharded" || c.Details[0].Value != "4" || len(c.Notes) > 0 || len(c.Tensors()) != len(digests) {
			t.Errorf("%s: %s, %v, %v, %d tensors", path, c.Format, c.Details, c.Notes, len(c.Tensors()))
		}
		for _, got := range c.Tensors() {
			want := digests[got.Name]
			r, err := got.Data.Stream(0)
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			io.Copy(h, r)
			if sum := hex.EncodeToString(h.Sum(nil)); sum != want.SHA256 || got.DType.String() != want.DType || !slices.Equal(got.Shape, want.Shape) {
				t.Errorf("%s is %s %v %s, want %v", got.Name, got.DType, got.Shape, sum, want)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Tensors()[0].ReadAt(make([]byte, 1), 0); err == nil {
			t.Error("a closed checkpoint can still be read")
		}
	}
}

// TestBrokenIndex changes the index, or what lies beside it.
func TestBrokenIndex(t *testing.T) {
	const shard = "pytorch_model-00004-of-00004.bin"
	type index struct {
		Metadata map[string]any    `json:"metadata"`
		Weights  map[string]string `json:"weight_map"`
	}
	for name, c := range map[string]struct {
		change func(dir string, x *index)
		want   string // of the error
		note   string // of the checkpoint
	}{
		"sound":               {func(string, *index) {}, "", ""},
		"total with ties":     {func(_ string, x *index) { x.Metadata["total_size"] = 56960 + 64*32*2 }, "", ""},
		"total a float":       {func(_ string, x *index) { x.Metadata["total_size"] = 1.5 }, "", ""},
		"total wrong":         {func(_ string, x *index) { x.Metadata["total_size"] = 7 }, "", "total size of 7 bytes"},
		"no metadata":         {func(_ string, x *index) { x.Metadata = nil }, "", ""},
		"shard unknown":       {func(dir string, _ *index) { copyFile(t, dir, shard, "pytorch_model-9.bin") }, "", "pytorch_model-9.bin is in the directory"},
		"shard missing":       {func(dir string, _ *index) { os.Remove(filepath.Join(dir, shard)) }, "names " + shard + ", which does not exist", ""},
		"shard broken":        {func(dir string, _ *index) { os.Truncate(filepath.Join(dir, shard), 1000) }, "no directory at its end", ""},
		"shard is an index":   {func(dir string, x *index) { x.Weights["a"] = IndexName }, "neither a zip file", ""},
		"no weights":          {func(_ string, x *index) { x.Weights = nil }, "an object is expected", ""},
		"path in a name":      {func(_ string, x *index) { x.Weights["a"] = "../" + shard }, "not a file name in the same directory", ""},
		"tensor lost":         {func(_ string, x *index) { x.Weights["a"] = shard }, "(one of 1 such tensors)", ""},
		"tensor in no index":  {func(_ string, x *index) { delete(x.Weights, "model.final_norm.weight") }, "not in the index", ""},
		"tensor in two files": {func(dir string, x *index) { copyFile(t, dir, shard, "b.bin"); x.Weights["a"] = "b.bin" }, "index says that the tensor is in", ""},
		"tensor elsewhere":    {func(_ string, x *index) { x.Weights["lm_head.weight"] = shard }, "index says that the tensor is in " + shard, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(hfBin)); err != nil {
				t.Fatal(err)
			}
			var x index
			readJSON(t, filepath.Join(hfBin, IndexName), &x)
			c.change(dir, &x)
			text, _ := json.Marshal(x)
			if err := os.WriteFile(filepath.Join(dir, IndexName), text, 0o666); err != nil {
				t.Fatal(err)
			}
			ckpt, err := openPath(dir)
			checkError(t, err, c.want)
			if err != nil {
				return
			}
			defer ckpt.Close()
			if notes := strings.Join(ckpt.Notes, "; "); !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
				t.Errorf("notes %q, want %q", notes, c.note)
			}
		})
	}
}

func copyFile(t *testing.T, dir, from, to string) {
	data, err := os.ReadFile(filepath.Join(dir, from))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, to), data, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDirectory opens a directory as somebody has downloaded it.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	put := func(from, to string) {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), data, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("testdata/sound/values.json", "tokenizer.json")
	_, err := openPath(dir)
	checkError(t, err, "no file of torch.save")
	put("testdata/sound/hand_aligned.pt", "2b.pt")
	if err := openAndClose(dir); err != nil {
		t.Error(err)
	}
	put("testdata/sound/deflated.pt", "other.pt")
	_, err = openPath(dir)
	checkError(t, err, "2 files of torch.save and no index")
	shard := filepath.Join(dir, "pytorch_model-00001-of-00002.bin")
	put("testdata/sound/deflated.pt", filepath.Base(shard))
	_, err = openPath(dir)
	checkError(t, err, "shards of a checkpoint and no index")
	if tensor.ReasonOf(err) != "" { // there is nothing to choose
		t.Errorf("got %+v", err)
	}
	if err := os.Remove(shard); err != nil {
		t.Fatal(err)
	}
	put("testdata/sound/deflated.pt", "__0_0.distcp") // of a directory that lacks its hidden file
	_, err = openPath(dir)
	checkError(t, err, "no .metadata")
	put("testdata/sound/state_dict_legacy.pt", WeightsName)
	c, err := openPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Format != "torch-legacy" {
		t.Errorf("opened a file of format %s, want %s", c.Format, WeightsName)
	}
}

func TestDetect(t *testing.T) {
	for head, want := range map[string]bool{
		"":                                    false,
		"PK\x03\x04":                          true,
		"PK\x05\x06":                          false,
		"\x80\x02}q\x00.":                     true,
		"\x80\x02\x00\x00\x00\x00\x00\x00{\"": false, // safetensors with a header of 640 bytes
		"\x80\x02X\x00\x00\x00\x00\x00{\"":    false, // and of 5767808
		"\x80\x09}q\x00.":                     false,
		"L119547037146038801333356L\n.":       true,
		"{\"weight_map\": {}}":                false,
	} {
		if got := Detect([]byte(head)); got != want {
			t.Errorf("Detect(%q) is %v", head, got)
		}
	}
}
