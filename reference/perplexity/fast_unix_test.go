//go:build unix

package perplexity_test

import (
	"syscall"
	"time"
)

func init() {
	cpuSeconds = func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return 0
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	}
}
