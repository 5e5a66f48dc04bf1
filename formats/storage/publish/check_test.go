package publish_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
)

// CheckStage refuses what NewStage and NewFileStage refuse, and nothing else, and writes nothing.
func TestCheckStage(t *testing.T) {
	dir := t.TempDir()
	file, full, link := filepath.Join(dir, "file"), filepath.Join(dir, "full"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(full, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(full, link); err != nil {
		t.Skip(err)
	}
	for _, dst := range []string{filepath.Join(dir, "new"), filepath.Join(dir, "a", "b", "new"), filepath.Join(file, "new"), filepath.Join(file, "a", "new"), file, full, link, ""} {
		for _, suffix := range []string{"", ".json"} {
			for _, replace := range []bool{false, true} {
				got := publish.CheckStage(dst, suffix, replace)
				if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("%q: something was created: %v", dst, err)
				}
				var want error
				if suffix == "" {
					s, err := publish.NewStage(dst, replace)
					if want = err; err == nil {
						want = s.Discard()
					}
				} else {
					s, err := publish.NewFileStage(dst, suffix, replace)
					if want = err; err == nil {
						want = s.Discard()
					}
				}
				if (got == nil) != (want == nil) || errors.Is(got, fs.ErrExist) != errors.Is(want, fs.ErrExist) {
					t.Errorf("%q, suffix %q, replace %t: %v, but the stage says %v", dst, suffix, replace, got, want)
				}
			}
		}
	}
}
