//go:build linux || darwin || freebsd

package reference

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// mapped gives weights that lie in a mapped file, one after the other.
type mapped map[place]*Parameter

func (w mapped) Parameter(block int, name string) (*Parameter, error) {
	return w[place{block, name}], nil
}

// mapWeights writes the weights of a model to a file and maps it.
func mapWeights(t *testing.T, m *Model) (w mapped, path string) {
	t.Helper()
	asked := &tally{Weights: m.Weights, of: map[place]int{}}
	model := *m
	model.Weights = asked
	results(t, &model, Pass{Tokens: []int32{1}, Batch: 1})
	path = filepath.Join(t.TempDir(), "weights")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w = mapped{}
	var size int64
	offsets := map[place]int64{}
	for name := range asked.of {
		p, err := m.Weights.Parameter(name.block, name.name)
		if err != nil {
			t.Fatal(err)
		}
		copied := *p
		w[name], offsets[name] = &copied, size
		if _, err := f.WriteAt(p.Data.(Bytes), size); err != nil {
			t.Fatal(err)
		}
		size += int64(len(p.Data.(Bytes)))
	}
	all, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(all) })
	for name, p := range w {
		p.Data = Bytes(all[offsets[name]:][:len(p.Data.(Bytes))])
	}
	return w, path
}

// TestMappedFileIsTruncated: a file that becomes shorter while it is mapped is an error, whatever the
// parameter that it cuts, and not the end of the program.
func TestMappedFileIsTruncated(t *testing.T) {
	m, p := oddGriffin(t)
	want := results(t, m, p)
	w, path := mapWeights(t, m)
	m.Weights = w
	sameBits(t, want, results(t, m, p))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := info.Size() - 1; size > 0; size -= int64(os.Getpagesize()) {
		if err := os.Truncate(path, size/int64(os.Getpagesize())*int64(os.Getpagesize())); err != nil {
			t.Fatal(err)
		}
		for _, threads := range []int{1, 3} {
			m.Threads = threads
			for _, tokens := range [][]int32{{1}, p.Tokens} {
				if err := m.Run(context.Background(), Pass{Tokens: tokens, Batch: 1}); !errors.Is(err, ErrMapping) {
					t.Fatalf("%d of %d bytes, %d threads: got %v", size, info.Size(), threads, err)
				}
			}
		}
	}
}
