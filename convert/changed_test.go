package convert

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// A source that changes while it is converted is refused before anything is published, even if its container has no
// checksums.
func TestConvertSourceChanges(t *testing.T) {
	content, err := os.ReadFile("../testdata/finetune/base/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("../testdata/finetune/base/config.json")
	if err != nil {
		t.Fatal(err)
	}
	changes := map[string]func(path string) error{
		"written to": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1}, int64(len(content)-1))
			return errors.Join(err, f.Close(), os.Chtimes(path, time.Time{}, time.Now().Add(time.Second)))
		},
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", content, 0o666), os.Rename(path+".new", path))
		},
		"extended": func(path string) error {
			return os.WriteFile(path, append(content[:len(content):len(content)], 0), 0o666)
		},
		"removed": os.Remove,
		"":        func(string) error { return nil },
	}
	for name, change := range changes {
		dir := t.TempDir()
		in, dst := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		weights := filepath.Join(in, "model.safetensors")
		if err := errors.Join(os.Mkdir(in, 0o777), os.WriteFile(weights, content, 0o666), os.WriteFile(filepath.Join(in, "config.json"), config, 0o666)); err != nil {
			t.Fatal(err)
		}
		src, err := formats.Open(in, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		done := false
		_, err = Convert(t.Context(), src, dst, Options{To: ToHF, Progress: func(int64, int64) {
			if !done {
				done = true
				if err := change(weights); err != nil {
					t.Error(err)
				}
			}
		}})
		src.Close()
		_, absent := os.Stat(dst)
		if name == "" {
			if err != nil || absent != nil {
				t.Errorf("unchanged: %v, %v", err, absent)
			}
		} else if !errors.As(err, new(*tensor.FormatError)) || absent == nil {
			t.Errorf("%s: %v, published %v", name, err, absent == nil)
		}
	}
}
