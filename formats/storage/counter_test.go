package storage_test

import (
	"errors"
	"io"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// full is a writer that takes three bytes of every write.
type full struct{}

var errFull = errors.New("full")

func (full) Write(p []byte) (int, error) { return 3, errFull }

// What was written is counted, also if a write fails.
func TestCounter(t *testing.T) {
	c := storage.Counter{To: io.Discard}
	for _, text := range []string{"ab", "", "cde"} {
		if n, err := io.WriteString(&c, text); n != len(text) || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	c.To = full{}
	if n, err := io.WriteString(&c, "fghi"); n != 3 || err != errFull || c.N != 8 {
		t.Errorf("%d, %v, %d in all", n, err, c.N)
	}
}
