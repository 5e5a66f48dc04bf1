package convert

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestToTorchIsWhatTorchSaves compares the file that every source gives with the one that torch saves of
// the original's model with these weights (testdata/interop/torch_write.py save).
func TestToTorchIsWhatTorchSaves(t *testing.T) {
	want, err := os.ReadFile("testdata/micro-griffin.pt")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("../testdata/micro-griffin/original/*")
	if err != nil || len(sources) < 5 {
		t.Fatal(sources, err)
	}
	for _, source := range append(sources, "../testdata/micro-griffin/hf") {
		dst := filepath.Join(t.TempDir(), "micro-griffin.pt")
		convertFile(t, source, dst, Options{To: ToTorch, Verify: true})
		if got, err := os.ReadFile(dst); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: not the same bytes, %v", source, err)
		}
	}
}
