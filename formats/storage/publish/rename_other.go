//go:build !linux && !darwin

package publish

import "errors"

func renameNew(from, to string) error { return renameChecked(from, to) }

func exchange(a, b string) error { return errors.ErrUnsupported }
