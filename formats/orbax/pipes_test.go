//go:build unix

package orbax

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Opening a pipe waits for a writer; there is none.
func TestPipes(t *testing.T) {
	for _, name := range []string{"_METADATA", "manifest.ocdbt", "checkpoint", "params.final_norm.scale/.zarray", "params.final_norm.scale/0"} {
		from := sample
		if strings.HasPrefix(name, "params") {
			from = "sound/hand_zarr2_dirs_min"
		}
		path := build(t, map[string]string{".": from})
		if name == "checkpoint" {
			if err := os.Remove(filepath.Join(path, "_METADATA")); err != nil {
				t.Fatal(err)
			}
		}
		os.Remove(filepath.Join(path, name))
		if err := syscall.Mkfifo(filepath.Join(path, name), 0o666); err != nil {
			t.Skip(err)
		}
		c, err := openPath(path, Newest)
		if err == nil {
			c.Close()
		}
		// Where there is no tree but a pipe, the arrays are read by their own names.
		if accepted := name == "checkpoint"; accepted != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
