package ceiling_test

import (
	"flag"
	"os"
	"runtime"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/reference/internal/ceiling"
)

var path = flag.String("file", "", "the file that BenchmarkRead maps and reads")

// All bytes are counted, on any number of threads.
func TestRead(t *testing.T) {
	p := make([]byte, 4096)
	for _, threads := range []int{1, 3} {
		if n := ceiling.Read(threads, p); n != 0 && n != float64(4096/256/threads*256*threads) {
			t.Errorf("%d threads read %v bytes", threads, n)
		}
	}
}

// BenchmarkRead reads a mapped file, of which all pages are in the page cache after the first time.
func BenchmarkRead(b *testing.B) {
	if *path == "" {
		b.Skip("no -file")
	}
	f, err := os.Open(*path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	m, err := storage.Map(f)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	threads := runtime.GOMAXPROCS(0)
	ceiling.Read(threads, m.Bytes)
	b.SetBytes(int64(len(m.Bytes)))
	for b.Loop() {
		ceiling.Read(threads, m.Bytes)
	}
}
