package storage

import (
	"io/fs"
	"os"
)

// renameChecked is renameNew where the system cannot rename without replacing: what comes to
// exist between the look and the rename is replaced if it is a file or an empty directory.
func renameChecked(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	}
	return os.Rename(from, to)
}
