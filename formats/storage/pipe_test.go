//go:build unix

package storage_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Opening a named pipe without a writer would block.
func TestPipeIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
		t.Skip(err)
	}
	for name, want := range map[string]string{"pipe": "is a named pipe"} {
		if _, _, err := storage.Open(storage.Local(dir), name); !errors.As(err, new(*tensor.FormatError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := storage.Open(storage.Local("/dev"), "null"); err == nil || !strings.Contains(err.Error(), "is a device") {
		t.Errorf("a device: %v", err)
	}
}
