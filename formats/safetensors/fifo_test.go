//go:build unix

package safetensors

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Opening a pipe that nobody writes to would wait forever.
func TestPipeIsNotOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), SingleName)
	if err := syscall.Mkfifo(path, 0o666); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{path, filepath.Dir(path)} {
		if _, err := openPath(path); err == nil || !strings.Contains(err.Error(), "named pipe") {
			t.Errorf("%v", err)
		}
	}
}
