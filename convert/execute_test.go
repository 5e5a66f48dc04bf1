package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// testLimits make panels, blocks and bands so small that everything is split.
var testLimits = []limits{
	{panel: 12 << 10, spare: 1, blocks: 2 << 10, band: 512, step: 256, scratch: 512},
	{panel: 16 << 10, spare: 2, blocks: 20 << 10, band: 2 << 10, step: 4 << 10, scratch: 4 << 10},
	{panel: 128 << 10, spare: 3, blocks: 1 << 20, band: 64 << 10, step: 4 << 10, scratch: 64 << 10},
	newLimits(2, 0, false),
}

func TestExecuteMatchesDefinition(t *testing.T) {
	for round := range uint64(160) {
		rng := rand.New(rand.NewPCG(7, round))
		m := &planMaker{t: t, rng: rng}
		for range 1 + rng.IntN(6) {
			m.add()
		}
		files := newTestPlaces(t, rng, &m.plan, int(round%4))
		sums := &runningSums{sources: map[*tensor.Tensor]*runningSum{}}
		for _, move := range m.plan.Moves {
			sums.sources[move.Source] = newRunningSum(move.Source)
		}
		var last int64
		written, err := execute(t.Context(), &m.plan, files, func(done int64) { last = done }, testLimits[round%uint64(len(testLimits))], sums)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		digests, err := sums.finish(t.Context(), 0)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		digests.Outputs = make([][sha256.Size]byte, len(written))
		for i, w := range written {
			digests.Outputs[i] = w.SHA256
		}
		checkDigests(t, m, digests, m.want)
		copied := m.plan.copied()
		for _, move := range m.plan.Moves {
			if dest, ok := copied[move.Source]; ok && digests.Sources[move.Source] != written[dest].SHA256 {
				t.Errorf("round %d: %s is not copied whole to %s", round, move.Source.Name, m.plan.Dests[dest].Name)
			}
		}
		var total int64
		for i, want := range m.want {
			if got := files.content(t, i); !bytes.Equal(got, want) {
				t.Fatalf("round %d: %s from %+v: wrong bytes", round, m.plan.Dests[i].Name, m.plan.Moves)
			}
			told := m.lost[i]
			told.SHA256, told.CRC32 = sha256.Sum256(want), crc32.ChecksumIEEE(want)
			if written[i] != told || files.finished[i] != told {
				t.Errorf("round %d: %s: told %+v, want %+v", round, m.plan.Dests[i].Name, written[i], told)
			}
			total += int64(len(want))
		}
		if last != total {
			t.Errorf("round %d: progress ended at %d of %d bytes", round, last, total)
		}
	}
}

// A sink is opened once and never closed where its tensor is not complete.
func TestExecuteSinkFails(t *testing.T) {
	for _, atEnd := range []bool{false, true} {
		m := &planMaker{t: t, rng: rand.New(rand.NewPCG(1, 1))}
		m.add()
		files := newTestPlaces(t, m.rng, &m.plan, 1)
		sink := files.sinks[0]
		if atEnd {
			source := m.plan.Moves[0].Source
			source.Data = failing{make([]byte, source.Bytes()-1), tensor.Bad("broken")}
		} else {
			sink.err = os.ErrPermission
		}
		_, err := execute(t.Context(), &m.plan, files, nil, testLimits[0], nil)
		if err == nil || sink.closed.Load() != 0 || files.finished != nil {
			t.Errorf("%v, closed %d times, finished %v", err, sink.closed.Load(), files.finished != nil)
		}
	}
}

// TestLimits keeps the sum of what is lent below 256 MiB, and has room for two matrices of the 9B
// model's largest kind at once on two processors.
func TestLimits(t *testing.T) {
	const matrix9B = 4096 * 12288 * 2
	for workers := 1; workers <= maxWorkers; workers++ {
		for _, matrix := range []int64{0, 2560 * 7680 * 2, matrix9B, 1 << 40} {
			l := newLimits(workers, matrix, false)
			lent := l.blocks + int64(workers+l.spare)*l.panel + int64(workers)*l.scratch
			if s := newLimits(workers, matrix, true); s.spare != 1 || s.blocks < 100<<20 || s.blocks+int64(workers)*(s.panel+s.scratch+2<<20) > 240<<20 {
				t.Errorf("%d workers into sinks, matrix of %d: %+v", workers, matrix, s)
			}
			if lent > 240<<20 || l.spare < 3 || l.blocks < 100<<20 || l.band > l.scratch || l.step > l.scratch {
				t.Errorf("%d workers, matrix of %d: %+v lends %d", workers, matrix, l, lent)
			}
		}
	}
	for _, sinks := range []bool{false, true} {
		if l := newLimits(2, matrix9B, sinks); l.blocks < 2*matrix9B {
			t.Errorf("%+v has no room for two matrices", l)
		}
	}
}

func TestExecuteDecodesAStreamOnce(t *testing.T) {
	m := &planMaker{t: t, rng: rand.New(rand.NewPCG(1, 1))}
	shape := []int64{2, 30, 50}
	data := &streamOnly{content: m.bytes(2 * 30 * 50 * 2)}
	source := &tensor.Tensor{Name: "ffw_up.w", DType: tensor.BF16, Shape: shape, Data: data}
	for _, i := range []int64{1, 0} {
		m.dest(tensor.BF16, []*tensor.Tensor{source}, [][]byte{data.content}, []tensor.View{tensor.RowMajor(shape...).Index(0, i).Permute(1, 0)})
	}
	for _, l := range testLimits {
		data.opened.Store(0)
		data.checked.Store(0)
		if _, err := execute(t.Context(), &m.plan, newTestFiles(t, m.rng, &m.plan), nil, l, nil); err != nil {
			t.Fatal(err)
		}
		if n := data.opened.Load(); n != 1 {
			t.Errorf("%+v: the stream was opened %d times", l, n)
		}
		if n := data.checked.Load(); n != 1 {
			t.Errorf("%+v: the checksum was asked for %d times", l, n)
		}
	}
}

// layout is embedded under another name than that of its method.
type layout = tensor.Strided

// summed is a file with a checksum, whatever the engine reads of it.
type summed struct {
	*layout
	first, length int64
	crc           uint32
	store         []byte
	checks        atomic.Int32
	passes        atomic.Int32
}

func (s *summed) Check() error {
	s.checks.Add(1)
	if got := crc32.ChecksumIEEE(s.store[s.first:][:s.length]); got != s.crc {
		return tensor.Bad("checksum is %08x", got)
	}
	return nil
}

func (s *summed) Checksum() (int64, int64, uint32) { return s.first, s.length, s.crc }
func (s *summed) Passed()                          { s.passes.Add(1) }

// TestExecuteChecksOnItsWay reads a storage of 2 x 30 x 50 elements, whole or in part, in order or
// not, right or wrong: its checksum is computed on the way where that is possible, and looked at in
// any case.
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
				m := &planMaker{t: t, rng: rand.New(rand.NewPCG(uint64(i), 1))}
				store := m.bytes(7 + 2*30*50*2 + 5)
				content := store[7:][:2*30*50*2]
				data := &summed{first: 7, length: int64(len(content)), crc: crc32.ChecksumIEEE(content), store: store,
					layout: &tensor.Strided{Store: bytes.NewReader(store), Base: 7, Length: 3000, DType: tensor.BF16, View: whole}}
				if wrong {
					data.crc ^= 1
				}
				source := &tensor.Tensor{Name: "w", DType: tensor.BF16, Shape: shape, Data: data}
				for _, v := range tt.views {
					m.dest(tensor.BF16, []*tensor.Tensor{source}, [][]byte{content}, []tensor.View{v})
				}
				_, err := execute(t.Context(), &m.plan, newTestFiles(t, m.rng, &m.plan), nil, l, nil)
				var bad *tensor.FormatError
				if errors.As(err, &bad) != wrong {
					t.Errorf("%s, wrong %v: %v", tt.name, wrong, err)
				}
				onWay := tt.onWay && (tt.name == "copy" || l.blocks > 3000) // whole matrices are read in order
				if passed := data.passes.Load() == 1; passed != (onWay && !wrong) || !wrong && data.checks.Load() > 0 && passed {
					t.Errorf("%s, wrong %v, %+v: passed %v, checked %d times", tt.name, wrong, l, passed, data.checks.Load())
				}
			}
		}
	}
}

// failing is a stream that breaks.
type failing struct {
	content []byte
	err     error
}

func (s failing) Stream(off int64) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(s.content[off:]), iotest.ErrReader(s.err))), nil
}

func TestExecuteReports(t *testing.T) {
	broken := tensor.Bad("bad chunk")
	plan := func(data tensor.Data, dtype tensor.DType, n int64) *Plan {
		return &Plan{
			Dests: []Dest{{Name: "w", DType: dtype, Shape: []int64{n}}},
			Moves: []Move{{Source: &tensor.Tensor{Name: "s", DType: tensor.F32, Shape: []int64{10}, Data: data}, View: tensor.RowMajor(10)}},
		}
	}
	whole := make([]byte, 40)
	twice := plan(&streamOnly{content: whole}, tensor.F32, 10)
	twice.Moves = append(twice.Moves, twice.Moves[0])
	twice.Moves[0].View, twice.Moves[1].View, twice.Moves[1].Offset = tensor.RowMajor(5), tensor.RowMajor(5), 4
	for _, tt := range []struct {
		name  string
		plan  *Plan
		input bool // whether the input is to blame
		want  string
	}{
		{"broken stream", plan(failing{whole[:8], broken}, tensor.F32, 10), true, `tensor "s": bad chunk`},
		{"broken end", plan(failing{whole, broken}, tensor.F32, 10), true, `tensor "s": bad chunk`},
		{"short stream", plan(&streamOnly{content: whole[:36]}, tensor.F32, 10), true, `tensor "s": the elements end early`},
		{"long stream", plan(&streamOnly{content: make([]byte, 44)}, tensor.F32, 10), false, "more than the 40 bytes"},
		{"checksum", plan(&streamOnly{content: whole, check: broken}, tensor.F32, 10), true, `tensor "s": bad chunk`},
		{"short file", plan(&tensor.Strided{Store: bytes.NewReader(whole[:20]), Length: 10, DType: tensor.F32, View: tensor.RowMajor(10)}, tensor.F32, 10), true, `tensor "s"`},
		{"no such cast", plan(&streamOnly{content: whole}, tensor.I32, 10), true, "cannot be converted"},
		{"unfilled", plan(&streamOnly{content: whole}, tensor.F32, 11), false, "plan fills 10 elements of w"},
		{"filled twice", twice, false, "plan fills elements 4 to 5 of w not just once"},
		{"I/O", plan(failing{whole[:8], os.ErrPermission}, tensor.F32, 10), false, "permission denied"},
	} {
		_, err := Execute(t.Context(), tt.plan, newTestFiles(t, rand.New(rand.NewPCG(1, 1)), tt.plan), nil)
		var bad *tensor.FormatError
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &bad) != tt.input {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestExecuteStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &planMaker{t: t, rng: rand.New(rand.NewPCG(1, 1))}
	for range 20 {
		m.add()
	}
	files := newTestFiles(t, m.rng, &m.plan)
	_, err := execute(ctx, &m.plan, files, func(int64) { cancel() }, testLimits[0], nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled, and Execute says %v", err)
	}
}

func TestCompose(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	composed := 0
	for round := range 20000 {
		m := &planMaker{t: t, rng: rng}
		shape := make([]int64, rng.IntN(4))
		for i := range shape {
			shape[i] = 1 + rng.Int64N(4)
		}
		inner := randomMove(rng, shape)
		if inner.Elements() == 0 {
			continue
		}
		_ = m
		view := randomMove(rng, inner.Shape)
		got, ok := compose(view, &tensor.Strided{View: inner})
		if !ok {
			continue
		}
		composed++
		var elements []int64 // of the store, in inner's order
		eachIndex(inner.Shape, func(index []int64) { elements = append(elements, at(inner, index)) })
		eachIndex(view.Shape, func(index []int64) {
			if want := elements[at(view, index)]; at(got, index) != want {
				t.Fatalf("round %d: %+v of %+v: %+v shows %d at %v, not %d", round, view, inner, got, at(got, index), index, want)
			}
		})
	}
	if composed < 15000 {
		t.Errorf("only %d of 20000 views could be composed", composed)
	}
}

func at(v tensor.View, index []int64) int64 {
	e := v.Offset
	for k, i := range index {
		e += i * v.Strides[k]
	}
	return e
}
