package formats_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
)

// A file of a distributed checkpoint is called that, and not what its bytes look like; a shard is noted as one.
func TestParts(t *testing.T) {
	for _, name := range []string{".metadata", "__0_0.distcp", "__1_0.distcp"} {
		_, err := formats.Open(filepath.Join("torch/dcp/testdata/fsdp2", name), formats.Options{})
		if err == nil || !strings.HasSuffix(err.Error(), name+": is one file of a distributed checkpoint of PyTorch") {
			t.Errorf("%s: %v", name, err)
		}
	}
	model, err := os.ReadFile("../testdata/tiny-griffin/hf/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for name, part := range map[string]bool{"model-00001-of-00003.safetensors": true, "model-00001-of-00001.safetensors": false, "model.safetensors": false} {
		at := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(at, model, 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := formats.Open(at, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if noted := slices.ContainsFunc(c.Notes, func(n string) bool { return strings.Contains(n, "one of several files") }); noted != part || formats.IsShard(name) != part {
			t.Errorf("%s: notes %q", name, c.Notes)
		}
		c.Close()
	}
}
