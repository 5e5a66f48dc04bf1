//go:build linux || darwin || freebsd

package reference

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/griffin-ckpt/griffin/reference/internal/ceiling"
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

// inFile gives weights of the shapes of a configuration that lie one after the other in a mapped file.
type inFile struct {
	sized
	file    []byte
	used    int
	offsets map[place]int
}

func (w *inFile) Parameter(block int, name string) (*Parameter, error) {
	p, err := w.sized.Parameter(block, name)
	if err != nil {
		return nil, err
	}
	size := int(p.DType.Size())
	for _, d := range p.Shape {
		size *= int(d)
	}
	at, ok := w.offsets[place{block, name}]
	if !ok {
		at = w.used
		w.offsets[place{block, name}], w.used = at, at+size
	}
	if w.used > len(w.file) {
		return nil, fmt.Errorf("%d bytes are not enough", len(w.file))
	}
	p.Data = Bytes(w.file[at:][:size])
	return p, nil
}

// BenchmarkDecode decodes a token, and one of each of four rows, with a model of a third of the blocks and an eighth of the
// vocabulary of 2B in a mapped file, and reports the share of the rate at which all its weights can be read there.
func BenchmarkDecode(b *testing.B) {
	c := Config{VocabSize: 32000, Width: 2560, MLPExpandedWidth: 7680, NumHeads: 10, LRUWidth: 2560, AttentionWindow: 2048,
		BlockTypes: []BlockType{Recurrent, Recurrent, Attention, Recurrent, Recurrent, Attention, Recurrent, Recurrent, Attention}}
	const size = 1600 << 20
	f, err := os.Create(filepath.Join(b.TempDir(), "weights"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		b.Fatal(err)
	}
	file, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Munmap(file)
	w := &inFile{sized: sized{Config: c}, file: file, offsets: map[place]int{}}
	m := &Model{Config: c, Weights: w}
	for _, batch := range []int{1, 4} {
		b.Run(fmt.Sprintf("rows=%d", batch), func(b *testing.B) {
			state := m.NewState(batch)
			decode := func() float64 {
				if err := m.Run(context.Background(), Pass{Tokens: make([]int32, batch), Batch: batch, State: state}); err != nil {
					b.Fatal(err)
				}
				return float64(w.used)
			}
			decode()
			for range b.N {
			}
			rate, most := ceiling.Compare(decode, func() float64 { return ceiling.Read(runtime.GOMAXPROCS(0), file[:w.used/256*256]) })
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate/float64(w.used)*float64(batch), "tokens/s")
			b.ReportMetric(rate/1e9, "GB/s")
			b.ReportMetric(rate/most, "of-ceiling")
		})
	}
}
