package convert

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// streamOnly is Data that is compressed, as far as the engine can tell: it gives its bytes in
// order, in pieces of odd sizes.
type streamOnly struct {
	content []byte
	opened  atomic.Int32
	check   error
	checked atomic.Int32
}

func (s *streamOnly) Stream(off int64) (io.ReadCloser, error) {
	s.opened.Add(1)
	return io.NopCloser(iotest.HalfReader(bytes.NewReader(s.content[off:]))), nil
}

func (s *streamOnly) Check() error { s.checked.Add(1); return s.check }

// testFiles gives each Dest its place in one of several files, or in none.
type testFiles struct {
	files  []*os.File
	places []struct {
		file           int // -1 for a sink
		offset, length int64
	}
	sinks    []*testSink
	finished []Written
}

func (f *testFiles) At(i int) (*os.File, int64, int64) {
	p := f.places[i]
	if p.file < 0 {
		return nil, 0, 0
	}
	return f.files[p.file], p.offset, p.length
}

func (f *testFiles) Sink(i int) (io.WriteCloser, error) {
	f.sinks[i].opened.Add(1)
	return f.sinks[i], nil
}

func (f *testFiles) NeedsCRC32() bool { return true }

func (f *testFiles) Finish(w []Written) error { f.finished = w; return nil }

// content is what was written.
func (f *testFiles) content(t *testing.T, i int) []byte {
	t.Helper()
	if f.places[i].file < 0 {
		if s := f.sinks[i]; s.opened.Load() != 1 || s.closed.Load() != 1 {
			t.Errorf("sink %d was opened %d times and closed %d times", i, s.opened.Load(), s.closed.Load())
		}
		return f.sinks[i].Bytes()
	}
	file, offset, length := f.At(i)
	got := make([]byte, length)
	if _, err := file.ReadAt(got, offset); err != nil && length > 0 {
		t.Fatal(err)
	}
	return got
}

// testSink collects a tensor.
type testSink struct {
	bytes.Buffer
	err            error
	opened, closed atomic.Int32
}

func (s *testSink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(p)
}

func (s *testSink) Close() error { s.closed.Add(1); return nil }

func (f *testFiles) Close() error { return nil }

func newTestFiles(t *testing.T, rng *rand.Rand, p *Plan) *testFiles {
	return newTestPlaces(t, rng, p, 0)
}

// newTestPlaces makes one of so many tensors a sink, none for 0.
func newTestPlaces(t *testing.T, rng *rand.Rand, p *Plan, sinks int) *testFiles {
	f := &testFiles{}
	dir := t.TempDir()
	sizes := make([]int64, 1+rng.IntN(2))
	for range sizes {
		file, err := os.CreateTemp(dir, "out")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		f.files = append(f.files, file)
	}
	for i := range p.Dests {
		d := &tensor.Tensor{DType: p.Dests[i].DType, Shape: p.Dests[i].Shape}
		k := rng.IntN(len(sizes))
		f.sinks = append(f.sinks, &testSink{})
		if sinks > 0 && rng.IntN(sinks) == 0 {
			f.places = append(f.places, struct {
				file           int
				offset, length int64
			}{file: -1})
			continue
		}
		sizes[k] += int64(rng.IntN(20))
		f.places = append(f.places, struct {
			file           int
			offset, length int64
		}{k, sizes[k], d.Bytes()})
		sizes[k] += d.Bytes()
	}
	for k, file := range f.files {
		if err := file.Truncate(sizes[k]); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// planMaker makes random plans together with what they have to give, found element by element.
type planMaker struct {
	t    *testing.T
	rng  *rand.Rand
	plan Plan
	want [][]byte
	lost []Written // what else is to be told of each destination
}

func (m *planMaker) bytes(n int64) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(m.rng.Uint32())
	}
	return p
}

// source makes a tensor of that shape: a stream, or a view of a file or of memory that is as it
// may lie in a torch file. It returns the elements in row-major order.
func (m *planMaker) source(name string, d tensor.DType, shape []int64) (*tensor.Tensor, []byte) {
	t := &tensor.Tensor{Name: name, DType: d, Shape: shape}
	size := d.Size()
	kind := m.rng.IntN(4)
	if kind == 0 {
		content := m.bytes(t.Bytes())
		t.Data = &streamOnly{content: content}
		return t, content
	}
	axes := m.rng.Perm(len(shape)) // the order of the axes in the store
	if m.rng.IntN(2) == 0 {
		slices.Sort(axes)
	}
	v := tensor.View{Shape: shape, Strides: make([]int64, len(shape)), Offset: m.rng.Int64N(3)}
	step := int64(1)
	for i := len(axes) - 1; i >= 0; i-- {
		v.Strides[axes[i]] = step
		step *= shape[axes[i]] + m.rng.Int64N(3)*m.rng.Int64N(2)
	}
	_, end := v.Span()
	base := m.rng.Int64N(9)
	store := m.bytes(base + end*size)
	s := &tensor.Strided{Store: bytes.NewReader(store), Base: base, Length: end, DType: d, View: v, BigEndian: m.rng.IntN(3) == 0}
	if kind > 1 {
		path := filepath.Join(m.t.TempDir(), "store")
		if err := os.WriteFile(path, store, 0o666); err != nil {
			m.t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			m.t.Fatal(err)
		}
		m.t.Cleanup(func() { f.Close() })
		s.Store = f
	}
	t.Data = s
	var content []byte
	eachIndex(shape, func(index []int64) {
		at := v.Offset
		for k, i := range index {
			at += i * v.Strides[k]
		}
		e := bytes.Clone(store[base+at*size:][:size])
		if s.BigEndian {
			tensor.SwapBytes(e, d.SwapUnit())
		}
		content = append(content, e...)
	})
	return t, content
}

func eachIndex(shape []int64, do func(index []int64)) {
	index := make([]int64, len(shape))
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	for ; n > 0; n-- {
		do(index)
		for k := len(index) - 1; k >= 0; k-- {
			if index[k]++; index[k] < shape[k] {
				break
			}
			index[k] = 0
		}
	}
}

// dest adds a destination that the moves fill one after the other.
func (m *planMaker) dest(d tensor.DType, sources []*tensor.Tensor, contents [][]byte, views []tensor.View) {
	dest := Dest{Name: fmt.Sprintf("dest.%d", len(m.plan.Dests)), DType: d}
	var want []byte
	var total int64
	var lost Written
	divide := 0.0
	if _, ok := binaryFormats[sources[0].DType]; ok && d != tensor.F64 && m.rng != nil && m.rng.IntN(5) == 0 {
		divide = []float64{64, 50.5}[m.rng.IntN(2)]
	}
	for i, v := range views {
		size := sources[i].DType.Size()
		m.plan.Moves = append(m.plan.Moves, Move{Source: sources[i], View: v, Dest: len(m.plan.Dests), Offset: total, Divide: divide})
		total += v.Elements()
		change := changeOf(m.t, sources[i].DType, d, divide)
		eachIndex(v.Shape, func(index []int64) {
			at := v.Offset
			for k, i := range index {
				at += i * v.Strides[k]
			}
			e := contents[i][at*size:][:size]
			if change != nil {
				out := make([]byte, d.Size())
				over, inexact := change(out, e)
				lost.Overflowed, lost.Inexact = lost.Overflowed+over, lost.Inexact+inexact
				e = out
			}
			want = append(want, e...)
		})
	}
	dest.Shape = []int64{total}
	m.plan.Dests = append(m.plan.Dests, dest)
	m.want = append(m.want, want)
	m.lost = append(m.lost, lost)
}

// changeOf returns what is done to single elements, nil for nothing.
func changeOf(t *testing.T, from, to tensor.DType, by float64) tensor.Divide {
	t.Helper()
	if by != 0 {
		divide, err := tensor.NewDivide(from, to, by)
		if err != nil {
			t.Fatal(err)
		}
		return divide
	}
	if from == to {
		return nil
	}
	cast, err := tensor.NewCast(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return func(dst, src []byte) (int64, int64) { return cast(dst, src), 0 }
}

func randomMove(rng *rand.Rand, shape []int64) tensor.View {
	v := tensor.RowMajor(shape...)
	for range rng.IntN(4) {
		if len(v.Shape) == 0 {
			break
		}
		axis := rng.IntN(len(v.Shape))
		switch rng.IntN(6) {
		case 0, 1:
			v = v.Permute(rng.Perm(len(v.Shape))...)
		case 2:
			if v.Shape[axis] > 0 {
				v = v.Index(axis, rng.Int64N(v.Shape[axis]))
			}
		case 3:
			v = v.Unsqueeze(axis)
		case 4:
			if n := v.Shape[axis]; n > 0 {
				from := rng.Int64N(n)
				v = v.Narrow(axis, from, rng.Int64N(n-from+1))
			}
		case 5:
			v.Shape[axis] = (v.Shape[axis] + 1) / 2
			v.Strides[axis] *= 2
		}
	}
	return v
}

func (m *planMaker) add() {
	rng := m.rng
	types := [][2]tensor.DType{{tensor.BF16, tensor.BF16}, {tensor.F32, tensor.F32}, {tensor.F32, tensor.BF16}, {tensor.BF16, tensor.F32}, {tensor.F64, tensor.F16},
		{tensor.F8E4M3, tensor.F16}, {tensor.U8, tensor.U8}, {tensor.C128, tensor.C128}, {tensor.F64, tensor.F64}}[rng.IntN(9)]
	name := fmt.Sprintf("source.%d", len(m.plan.Moves))
	switch rng.IntN(6) {
	case 5: // the same elements twice
		shape := []int64{1 + rng.Int64N(60), 1 + rng.Int64N(90)}
		s, content := m.source(name, types[0], shape)
		v := tensor.RowMajor(shape...)
		m.dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{v})
		m.dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{v.Permute(1, 0)})
	case 0: // any view
		shape := make([]int64, rng.IntN(5))
		for i := range shape {
			shape[i] = 1 + rng.Int64N(7)
		}
		s, content := m.source(name, types[0], shape)
		m.dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{randomMove(rng, shape)})
	case 1: // a matrix that is to be transposed
		shape := []int64{1 + rng.Int64N(150), 1 + rng.Int64N(150)}
		s, content := m.source(name, types[0], shape)
		m.dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{tensor.RowMajor(shape...).Permute(1, 0)})
	case 2: // a stack of two that goes to two destinations
		shape := []int64{2, 1 + rng.Int64N(60), 1 + rng.Int64N(90)}
		s, content := m.source(name, types[0], shape)
		for i := range int64(2) {
			m.dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{tensor.RowMajor(shape...).Index(0, i).Permute(1, 0)})
		}
	case 3: // two into one
		shape := []int64{1 + rng.Int64N(60), 1 + rng.Int64N(90)}
		a, contentA := m.source(name, types[0], shape)
		b, contentB := m.source(name+".b", types[0], shape)
		v := tensor.RowMajor(shape...).Permute(1, 0)
		m.dest(types[1], []*tensor.Tensor{a, b}, [][]byte{contentA, contentB}, []tensor.View{v, v})
	case 4: // a plain copy
		shape := []int64{1 + rng.Int64N(5000)}
		s, content := m.source(name, types[0], shape)
		m.dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{tensor.RowMajor(shape...)})
	}
}
