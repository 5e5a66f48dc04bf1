package transfer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/internal/movestest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// testLimits make panels, buffers and bands so small that everything is split.
var testLimits = []limits{
	{panel: 12 << 10, spare: 1, buffers: 2 << 10, band: 512, step: 256, part: 100, load: 512, scratch: 512},
	{panel: 16 << 10, spare: 2, buffers: 20 << 10, band: 2 << 10, step: 4 << 10, part: 1 << 10, load: 512, scratch: 4 << 10},
	{panel: 128 << 10, spare: 3, buffers: 1 << 20, band: 64 << 10, step: 4 << 10, part: 1 << 10, load: 512, scratch: 64 << 10},
	newLimits(2, 0, false),
}

func TestExecuteMatchesDefinition(t *testing.T) {
	for round := range uint64(160) {
		rng := rand.New(rand.NewPCG(7, round))
		m := &movestest.Maker{T: t, Rand: rng}
		for range 1 + rng.IntN(6) {
			m.Add()
		}
		files := newMixedFiles(t, rng, m.List, int(round%4))
		var last int64
		o := Options{Progress: func(done int64) { last = done }, DigestSources: round%8 < 6, Digests: []digest.Algorithms{0, digest.BLAKE3, digest.SHA256, digest.BLAKE3 | digest.SHA256}[round/4%4]}
		algorithms := cmp.Or(o.Digests, digest.BLAKE3)
		r, err := execute(t.Context(), m.List, files, o, testLimits[round%uint64(len(testLimits))])
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		written := r.Written
		for _, s := range m.List.Sources() {
			want, err := tensor.Digest(t.Context(), s, algorithms)
			if err != nil {
				t.Fatal(err)
			}
			if sum, ok := r.Digests.Source(s); ok != o.DigestSources || ok && sum != want {
				t.Errorf("round %d: digest of %s is %x, want %x", round, s.Name, sum, want)
			}
		}
		var total int64
		for i, want := range m.Want {
			if got := files.content(t, i); !bytes.Equal(got, want) {
				t.Fatalf("round %d: %s from %+v: wrong bytes", round, m.List.Dests[i].Name, m.List.Moves)
			}
			told := m.Lost[i]
			told.Digest, told.CRC32 = r.Digests.Ref(i), crc32.ChecksumIEEE(want)
			if r.Digests.Dest(i) != digest.Of(algorithms, want) {
				t.Errorf("round %d: %s: wrong digest", round, m.List.Dests[i].Name)
			}
			if written[i] != told || files.finished[i] != told {
				t.Errorf("round %d: %s: told %+v, want %+v", round, m.List.Dests[i].Name, written[i], told)
			}
			total += int64(len(want))
		}
		if last != total {
			t.Errorf("round %d: progress ended at %d of %d bytes", round, last, total)
		}
	}
}

// chunked is data of chunks that are decoded each by itself. It counts the streams.
type chunked struct {
	content []byte
	chunk   int64
	streams atomic.Int32
}

func (c *chunked) NextPart(off int64) int64 {
	return min((off/c.chunk+1)*c.chunk, int64(len(c.content)))
}

func (c *chunked) Stream(off int64) (io.ReadCloser, error) {
	c.streams.Add(1)
	return io.NopCloser(bytes.NewReader(c.content[off:])), nil
}

// A large tensor of many chunks is decoded by several workers, where nothing needs its bytes in order.
func TestExecuteDividesChunkedTensors(t *testing.T) {
	content := make([]byte, 100_000)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	for _, tt := range []struct {
		to      tensor.DType
		o       Options
		mixed   bool // the destination needs no CRC-32
		streams int32
	}{
		{tensor.BF16, Options{}, true, 34},
		{tensor.BF16, Options{DigestSources: true}, true, 34},
		{tensor.F32, Options{DigestSources: true}, true, 34},
		{tensor.BF16, Options{}, false, 1},
		{tensor.BF16, Options{Digests: digest.SHA256}, true, 1},
	} {
		data := &chunked{content: content, chunk: 1000}
		source := &tensor.Tensor{Name: "w", DType: tensor.BF16, Shape: []int64{500, 100}, Data: data}
		l := moves.List{Dests: []moves.Dest{{Name: "w", DType: tt.to, Shape: source.Shape}}, Moves: []moves.Move{{Source: source, View: tensor.RowMajor(500, 100)}}}
		var dst Destination = newFiles(t, rng, l)
		if tt.mixed {
			dst = withoutCRC{dst.(*files)}
		}
		limits := newLimits(2, 0, false)
		limits.part = 2500
		r, err := execute(t.Context(), l, dst, tt.o, limits)
		if err != nil {
			t.Fatal(err)
		}
		if n := data.streams.Load(); n != tt.streams {
			t.Errorf("%+v: %d streams", tt, n)
		}
		want := content
		if tt.to == tensor.F32 {
			want = make([]byte, 2*len(content))
			cast, err := tensor.NewCast(tensor.BF16, tensor.F32)
			if err != nil {
				t.Fatal(err)
			}
			cast(want, content)
		}
		algorithm := cmp.Or(tt.o.Digests, digest.BLAKE3)
		f, offset, length := dst.At(0)
		got := make([]byte, length)
		if _, err := f.ReadAt(got, offset); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: wrong bytes, %v", tt, err)
		}
		if r.Digests.Dest(0) != digest.Of(algorithm, want) {
			t.Errorf("%+v: wrong digest", tt)
		}
		if sum, _ := r.Digests.Source(source); tt.o.DigestSources && sum != digest.Of(algorithm, content) {
			t.Errorf("%+v: wrong digest of the source", tt)
		}
	}
}

// withoutCRC is files that need no CRC-32.
type withoutCRC struct{ *files }

func (withoutCRC) NeedsCRC32() bool { return false }

// A sink is never closed if its tensor is not complete.
func TestExecuteSinkFails(t *testing.T) {
	for _, atEnd := range []bool{false, true} {
		m := movestest.New(t, 1, 1)
		m.Add()
		files := newMixedFiles(t, m.Rand, m.List, 1)
		sink := files.sinks[0]
		if atEnd {
			source := m.List.Moves[0].Source
			source.Data = tensortest.Broken{Content: make([]byte, source.Bytes()-1), Err: tensor.Bad("broken")}
		} else {
			sink.err = os.ErrPermission
		}
		_, err := execute(t.Context(), m.List, files, Options{}, testLimits[0])
		if err == nil || sink.closed.Load() != 0 || files.finished != nil {
			t.Errorf("%v, closed %d times, finished %v", err, sink.closed.Load(), files.finished != nil)
		}
	}
}

// A sink that cannot store a tensor without elements fails the execution.
func TestExecuteEmptySinkFails(t *testing.T) {
	empty := &tensor.Tensor{Name: "e", DType: tensor.U8, Shape: []int64{0}, Data: &tensortest.Stream{}}
	for _, moved := range [][]moves.Move{nil, {{Source: empty, View: tensor.RowMajor(0)}}} {
		l := moves.List{Dests: []moves.Dest{{Name: "e", DType: tensor.U8, Shape: []int64{0}}}, Moves: moved}
		files := newMixedFiles(t, rand.New(rand.NewPCG(1, 1)), l, 1)
		files.sinks[0].closeErr = os.ErrPermission
		if _, err := execute(t.Context(), l, files, Options{}, testLimits[0]); !errors.Is(err, os.ErrPermission) || files.finished != nil {
			t.Errorf("%d moves: %v, finished %v", len(moved), err, files.finished != nil)
		}
	}
}

// The memory of an execution stays below 256 MiB, and two workers have room for two matrices of the 9B
// model's largest kind at once.
func TestLimits(t *testing.T) {
	const matrix9B = 4096 * 12288 * 2
	for workers := 1; workers <= mostWorkers; workers++ {
		for _, matrix := range []int64{0, 2560 * 7680 * 2, matrix9B, 1 << 40} {
			l := newLimits(workers, matrix, false)
			lent := l.buffers + int64(workers+l.spare)*l.panel + int64(workers)*l.scratch
			if s := newLimits(workers, matrix, true); s.spare != 1 || s.buffers < 100<<20 || s.buffers+int64(workers)*(s.panel+s.scratch+2<<20) > 240<<20 {
				t.Errorf("%d workers into sinks, matrix of %d: %+v", workers, matrix, s)
			}
			if lent > 240<<20 || l.spare < 3 || l.buffers < 100<<20 || l.band > l.scratch || l.step > l.scratch {
				t.Errorf("%d workers, matrix of %d: %+v lends %d", workers, matrix, l, lent)
			}
		}
	}
	for _, sinks := range []bool{false, true} {
		if l := newLimits(2, matrix9B, sinks); l.buffers < 2*matrix9B {
			t.Errorf("%+v has no room for two matrices", l)
		}
	}
}

// buffered is a source whose streams need memory.
type buffered struct{ tensor.Data }

func (buffered) StreamMemory() int64 { return 5 << 20 }

// Memory for the streams of sources is taken from that for matrices.
func TestLimitsOfBufferedSources(t *testing.T) {
	m := movestest.New(t, 1, 1)
	stream := &tensor.Tensor{Name: "s", DType: tensor.U8, Shape: []int64{4}, Data: &tensortest.Stream{}}
	merged := &tensor.Tensor{Name: "m", DType: tensor.U8, Shape: []int64{4}, Data: buffered{}}
	list := func(t *tensor.Tensor) moves.List {
		return moves.List{Dests: []moves.Dest{{Name: "w", DType: tensor.U8, Shape: []int64{4}}}, Moves: []moves.Move{{Source: t, View: tensor.RowMajor(4)}}}
	}
	files := newFiles(t, m.Rand, list(stream))
	plain, less := limitsOf(list(stream), files, 0), limitsOf(list(merged), files, 0)
	if got := plain.buffers - less.buffers; got != int64(maxWorkers())*5<<20 {
		t.Errorf("%d bytes less for matrices, with %d workers", got, maxWorkers())
	}
	if got := plain.buffers - limitsOf(list(stream), files, 9<<20).buffers; got != 9<<20 {
		t.Errorf("%d bytes less for matrices, with 9 MiB for the files of the sources", got)
	}
	if got := plain.buffers - limitsOf(list(stream), withMemory{files}, 9<<20).buffers; got != 12<<20 {
		t.Errorf("%d bytes less for matrices, with 3 MiB more for the destination", got)
	}
}

// withMemory is files that take memory.
type withMemory struct{ *files }

func (withMemory) Memory() int64 { return 3 << 20 }

func TestExecuteDecodesAStreamOnce(t *testing.T) {
	m := movestest.New(t, 1, 1)
	shape := []int64{2, 30, 50}
	data := &tensortest.Stream{Content: m.Bytes(2 * 30 * 50 * 2)}
	source := &tensor.Tensor{Name: "ffw_up.w", DType: tensor.BF16, Shape: shape, Data: data}
	for _, i := range []int64{1, 0} {
		m.Dest(tensor.BF16, []*tensor.Tensor{source}, [][]byte{data.Content}, []tensor.View{tensor.RowMajor(shape...).Index(0, i).Permute(1, 0)})
	}
	for _, l := range testLimits {
		data.Opened.Store(0)
		data.Checked.Store(0)
		if _, err := execute(t.Context(), m.List, newFiles(t, m.Rand, m.List), Options{}, l); err != nil {
			t.Fatal(err)
		}
		if n := data.Opened.Load(); n != 1 {
			t.Errorf("%+v: the stream was opened %d times", l, n)
		}
		if n := data.Checked.Load(); n != 1 {
			t.Errorf("%+v: the checksum was asked for %d times", l, n)
		}
	}
}

// TestExecuteChecksOnItsWay reads a storage of 2 x 30 x 50 elements with a right or a wrong checksum,
// whole or in part, in order or not. The checksum is computed from what is read if that is possible,
// and checked in any case.
func TestExecuteChecksOnItsWay(t *testing.T) {
	shape := []int64{2, 30, 50}
	half := func(i int64) tensor.View { return tensor.RowMajor(shape...).Index(0, i).Permute(1, 0) }
	whole := tensor.RowMajor(shape...)
	for _, tt := range []struct {
		name  string
		views []tensor.View
		onWay bool
	}{
		{"copy", []tensor.View{whole}, true},
		{"two transposes", []tensor.View{half(1), half(0)}, true},
		{"one half", []tensor.View{half(0)}, false},
		{"the other half", []tensor.View{half(1)}, false},
		{"all but a column", []tensor.View{whole.Narrow(2, 1, 49).Permute(2, 1, 0)}, false},
	} {
		for i, l := range testLimits {
			for _, wrong := range []bool{false, true} {
				m := movestest.New(t, uint64(i), 1)
				store := m.Bytes(7 + 2*30*50*2 + 5)
				content := store[7:][:2*30*50*2]
				data := tensortest.NewSummed(tensor.BF16, whole, store, 7, int64(len(content)), wrong)
				source := &tensor.Tensor{Name: "w", DType: tensor.BF16, Shape: shape, Data: data}
				for _, v := range tt.views {
					m.Dest(tensor.BF16, []*tensor.Tensor{source}, [][]byte{content}, []tensor.View{v})
				}
				_, err := execute(t.Context(), m.List, newFiles(t, m.Rand, m.List), Options{}, l)
				var bad *tensor.FormatError
				if errors.As(err, &bad) != wrong {
					t.Errorf("%s, wrong %v: %v", tt.name, wrong, err)
				}
				onWay := tt.onWay && (tt.name == "copy" || l.buffers > 3000) // whole matrices are read in order
				if passed := data.Passes.Load() == 1; passed != (onWay && !wrong) || !wrong && data.Checked.Load() > 0 && passed {
					t.Errorf("%s, wrong %v, %+v: passed %v, checked %d times", tt.name, wrong, l, passed, data.Checked.Load())
				}
			}
		}
	}
}

func TestExecuteReports(t *testing.T) {
	broken := tensor.Bad("bad chunk")
	plan := func(data tensor.Data, dtype tensor.DType, n int64) moves.List {
		return moves.List{
			Dests: []moves.Dest{{Name: "w", DType: dtype, Shape: []int64{n}}},
			Moves: []moves.Move{{Source: &tensor.Tensor{Name: "s", DType: tensor.F32, Shape: []int64{10}, Data: data}, View: tensor.RowMajor(10)}},
		}
	}
	whole := make([]byte, 40)
	twice := plan(&tensortest.Stream{Content: whole}, tensor.F32, 10)
	twice.Moves = append(twice.Moves, twice.Moves[0])
	twice.Moves[0].View, twice.Moves[1].View, twice.Moves[1].Offset = tensor.RowMajor(5), tensor.RowMajor(5), 4
	for _, tt := range []struct {
		name  string
		list  moves.List
		input bool // the error is a *tensor.FormatError
		want  string
	}{
		{"broken stream", plan(tensortest.Broken{Content: whole[:8], Err: broken}, tensor.F32, 10), true, `tensor "s": bad chunk`},
		{"broken end", plan(tensortest.Broken{Content: whole, Err: broken}, tensor.F32, 10), true, `tensor "s": bad chunk`},
		{"short stream", plan(&tensortest.Stream{Content: whole[:36]}, tensor.F32, 10), true, `tensor "s": the elements end early`},
		{"long stream", plan(&tensortest.Stream{Content: make([]byte, 44)}, tensor.F32, 10), false, "more than the 40 bytes"},
		{"checksum", plan(&tensortest.Stream{Content: whole, Bad: broken}, tensor.F32, 10), true, `tensor "s": bad chunk`},
		{"short file", plan(&tensor.Strided{Store: bytes.NewReader(whole[:20]), Length: 10, DType: tensor.F32, View: tensor.RowMajor(10)}, tensor.F32, 10), true, `tensor "s"`},
		{"no such cast", plan(&tensortest.Stream{Content: whole}, tensor.I32, 10), true, "cannot be converted"},
		{"unfilled", plan(&tensortest.Stream{Content: whole}, tensor.F32, 11), false, "plan fills 10 of the 11 elements of w"},
		{"filled twice", twice, false, "plan fills elements 4 to 5 of w not just once"},
		{"I/O", plan(tensortest.Broken{Content: whole[:8], Err: os.ErrPermission}, tensor.F32, 10), false, "permission denied"},
	} {
		_, err := Execute(t.Context(), tt.list, newFiles(t, rand.New(rand.NewPCG(1, 1)), tt.list), Options{})
		var bad *tensor.FormatError
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &bad) != tt.input {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestExecuteStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := movestest.New(t, 1, 1)
	for range 20 {
		m.Add()
	}
	files := newFiles(t, m.Rand, m.List)
	_, err := execute(ctx, m.List, files, Options{Progress: func(int64) { cancel() }}, testLimits[0])
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled, and Execute says %v", err)
	}
}
