package convert

import (
	"maps"
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

// The digest of a source that is copied as it is needs no further reading: it is recorded also without a proof.
func TestDigestsOfCopiedSources(t *testing.T) {
	const original = "../testdata/tiny-griffin/original/torch.pt"
	var parts [2]map[string]manifest.Part
	for i, verify := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "model.pt")
		convertFile(t, original, file, Options{To: ToTorch, Verify: verify})
		m, _, err := readManifest(file)
		if err != nil || m == nil {
			t.Fatal(m, err)
		}
		parts[i] = map[string]manifest.Part{}
		for _, x := range m.Tensors {
			if x.Rule == "copy" && len(x.From) == 1 {
				parts[i][x.Name] = x.From[0]
				if x.From[0].Sum != x.Sum {
					t.Errorf("%s is a copy of %+v", x.Name, x.From[0])
				}
			}
		}
	}
	if len(parts[0]) == 0 || !maps.EqualFunc(parts[0], parts[1], func(a, b manifest.Part) bool { return a.Sum == b.Sum }) {
		t.Errorf("%d copies, %d with a proof", len(parts[0]), len(parts[1]))
	}
}
