package publish

import (
	"errors"

	"golang.org/x/sys/unix"
)

// renameNew renames without replacing. It returns fs.ErrExist if to exists.
func renameNew(from, to string) error {
	err := renaming(to, func() error { return unix.RenamexNp(from, to, unix.RENAME_EXCL) })
	if unsupported(err) {
		return renameChecked(from, to)
	}
	return linkError(from, to, err)
}

// exchange swaps two names in one step.
func exchange(a, b string) error {
	err := renaming(b, func() error { return unix.RenamexNp(a, b, unix.RENAME_SWAP) })
	if unsupported(err) {
		return errors.ErrUnsupported
	}
	return linkError(a, b, err)
}
