package run

import (
	"errors"
	"syscall"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// isFatal reports whether an error would come again with every further step.
func isFatal(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.As(err, new(*task.PanicError))
}
