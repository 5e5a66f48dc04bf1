package resident

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// residentFile returns the resident kilobytes of mapped files.
func residentFile(t *testing.T) (n int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "RssFile: %d kB", &n); err == nil {
			return n
		}
	}
	t.Skip("the system does not say how much of mapped files is resident")
	return 0
}

func TestRelease(t *testing.T) {
	before := residentFile(t)
	Release()
	if after := residentFile(t); after >= before {
		t.Errorf("%d kB of mapped files are resident, %d before", after, before)
	}
}
