//go:build unix

package publish

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A system call that signals interrupt is made again until it gives a result.
func TestRetry(t *testing.T) {
	for _, last := range []error{nil, unix.ENOSPC} {
		calls := 0
		err := retry(func() error {
			if calls++; calls < 4 {
				return unix.EINTR
			}
			return last
		})
		if err != last || calls != 4 {
			t.Errorf("%v after %d calls, want %v", err, calls, last)
		}
	}
}
