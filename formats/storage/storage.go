// Package storage reads the files of checkpoints from sources.
//
// A source is an fs.FS whose files implement io.ReaderAt: a directory of the local file system (Local, Locate),
// memory (testing/fstest.MapFS), or another implementation. All readers of package formats open files with Open,
// which refuses anything but regular files. A source may have a method Path(name string) string, which returns what
// users call a file. Large reads at any offset are efficient on every source; small reads may be slow.
//
// Package storage/publish writes.
package storage

import (
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// Within reports whether path is dir or is in dir, also through symbolic links, other mounts and relative paths. Both
// exist.
func Within(path, dir string) (bool, error) {
	target, err := system.Stat(dir)
	if err != nil {
		return false, err
	}
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return false, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return false, err
	}
	for {
		info, err := system.Stat(path)
		if err != nil {
			return false, err
		}
		if os.SameFile(info, target) {
			return true, nil
		}
		up := filepath.Dir(path)
		if up == path {
			return false, nil
		}
		path = up
	}
}
