package publish

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// The names of directories that were made above a destination are durable once it is published: the directory that holds each of
// them is synced after the destination has its name.
func TestNewParentsAreSynced(t *testing.T) {
	dir := t.TempDir()
	for name, publish := range map[string]func(dst string) error{
		"directory": func(dst string) error {
			s, err := NewStage(dst, false)
			if err != nil {
				return err
			}
			return errors.Join(WriteFile(filepath.Join(s.Dir, "file"), nil), s.Publish(), s.Discard())
		},
		"file": func(dst string) error {
			s, err := NewFileStage(dst, ".json", false)
			if err != nil {
				return err
			}
			return errors.Join(WriteFile(s.File, nil), WriteFile(s.Sidecar, nil), s.Publish(), s.Discard())
		},
	} {
		var mu sync.Mutex
		var synced []string
		system.SetFault(func(op system.Op, path string, size int) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			switch op {
			case system.OpRename:
				synced = nil // what counts comes after
			case system.OpSync:
				synced = append(synced, path)
			}
			return size, nil
		})
		err := publish(filepath.Join(dir, name, "a", "b", "model"))
		system.SetFault(nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, parent := range []string{filepath.Join(dir, name, "a", "b"), filepath.Join(dir, name, "a"), filepath.Join(dir, name), dir} {
			if !slices.Contains(synced, parent) {
				t.Errorf("%s: %s is not synced; synced are %v", name, parent, synced)
			}
		}
	}
}
