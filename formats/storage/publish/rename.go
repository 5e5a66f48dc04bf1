package publish

import (
	"io/fs"
	"os"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// renameChecked is renameNew for systems that cannot rename without replacing. It replaces a file or an empty directory
// that is created between its check and the rename.
func renameChecked(from, to string) error {
	if _, err := system.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	}
	return system.Rename(from, to)
}
