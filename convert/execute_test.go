package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

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
		digests.Outputs = make([]tensor.Sum, len(written))
		for i, w := range written {
			digests.Outputs[i] = w.Digest
		}
		checkDigests(t, m, digests, m.want)
		copied := m.plan.copied()
		for _, move := range m.plan.Moves {
			if dest, ok := copied[move.Source]; ok && digests.Sources[move.Source] != written[dest].Digest {
				t.Errorf("round %d: %s is not copied whole to %s", round, move.Source.Name, m.plan.Dests[dest].Name)
			}
		}
		var total int64
		for i, want := range m.want {
			if got := files.content(t, i); !bytes.Equal(got, want) {
				t.Fatalf("round %d: %s from %+v: wrong bytes", round, m.plan.Dests[i].Name, m.plan.Moves)
			}
			told := m.lost[i]
			told.Digest, told.CRC32 = sha256.Sum256(want), crc32.ChecksumIEEE(want)
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
		return &Plan{List: moves.List{
			Dests: []Dest{{Name: "w", DType: dtype, Shape: []int64{n}}},
			Moves: []Move{{Source: &tensor.Tensor{Name: "s", DType: tensor.F32, Shape: []int64{10}, Data: data}, View: tensor.RowMajor(10)}},
		}}
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
