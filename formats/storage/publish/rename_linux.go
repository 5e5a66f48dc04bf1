package publish

import (
	"errors"

	"golang.org/x/sys/unix"
)

// renameNew renames without replacing. It returns fs.ErrExist if to exists.
func renameNew(from, to string) error {
	err := renaming(to, func() error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	})
	if unsupported(err) {
		return renameChecked(from, to)
	}
	return linkError(from, to, err)
}

// exchange swaps two names in one step.
func exchange(a, b string) error {
	err := renaming(b, func() error { return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) })
	if unsupported(err) {
		return errors.ErrUnsupported
	}
	return linkError(a, b, err)
}
