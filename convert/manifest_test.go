package convert

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
)

// TestManifestBesideAFile reads the conversion.json of a file by the file's name and by a link to it. A
// conversion to a link writes both files beside the target of the link.
func TestManifestBesideAFile(t *testing.T) {
	const original = "../testdata/tiny-griffin/original/torch.pt"
	dir := t.TempDir()
	file, link := filepath.Join(dir, "there", "model.pt"), filepath.Join(dir, "link.pt")
	convertFile(t, original, file, Options{To: ToTorch})
	if err := os.Symlink(filepath.Join("there", "model.pt"), link); err != nil {
		t.Skip(err)
	}
	check := func() {
		t.Helper()
		for _, path := range []string{file, link} {
			if m, at, err := readManifest(path); err != nil || m == nil || filepath.Base(at) != "model.pt.conversion.json" {
				t.Errorf("%s: %v at %q, %v", path, m, at, err)
			}
		}
	}
	check()
	if err := os.Remove(file + "." + manifest.Name); err != nil {
		t.Fatal(err)
	}
	convertFile(t, original, link, Options{To: ToTorch, Overwrite: true})
	check()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}
