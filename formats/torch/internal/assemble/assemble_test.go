package assemble_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
)

// part is a chunk in memory.
type part struct {
	box  assemble.Box
	data tensor.Data
}

// parts are chunks of int32 elements.
type parts struct {
	list   []part
	opened int
	dtype  tensor.DType
	shape  []int64 // of opened chunks, that of their boxes if nil
}

func (p *parts) Len() int               { return len(p.list) }
func (p *parts) Box(i int) assemble.Box { return p.list[i].box }
func (p *parts) Path(i int) string      { return fmt.Sprintf("chunk %d", i) }

func (p *parts) Open(i int) (*tensor.Tensor, error) {
	p.opened++
	t := &tensor.Tensor{DType: tensor.I32, Shape: p.list[i].box.Sizes, Data: p.list[i].data}
	if p.dtype != tensor.Invalid {
		t.DType = p.dtype
	}
	if p.shape != nil {
		t.Shape = p.shape
	}
	return t, nil
}

func box(ranges ...int64) assemble.Box { // from, to along each axis
	var b assemble.Box
	for i := 0; i < len(ranges); i += 2 {
		b.Offsets = append(b.Offsets, ranges[i])
		b.Sizes = append(b.Sizes, ranges[i+1]-ranges[i])
	}
	return b
}

// content returns the elements of a box of a tensor whose element i is i.
func content(shape []int64, b assemble.Box) []byte {
	var out []byte
	n := int64(1)
	for _, s := range b.Sizes {
		n *= s
	}
	steps := tensor.RowMajor(shape...).Strides
	for i := range n {
		value := int64(0)
		for k, index := range tensor.Unravel(i, b.Sizes) {
			value += (b.Offsets[k] + index) * steps[k]
		}
		out = append(out, byte(value), byte(value>>8), byte(value>>16), byte(value>>24))
	}
	return out
}

type layout = tensor.Strided

// summed is data in memory with a checksum.
type summed struct {
	*layout
	crc     uint32
	length  int64
	checked int
	passed  int
}

func (s *summed) Checksum() (int64, int64, uint32) { return s.Base, s.length, s.crc }
func (s *summed) Passed()                          { s.passed++ }
func (s *summed) Check() error {
	s.checked++
	got := make([]byte, s.length)
	s.Store.ReadAt(got, s.Base)
	if crc32.ChecksumIEEE(got) != s.crc {
		return tensor.Bad("wrong checksum")
	}
	return nil
}

// stored returns the elements of a box in one of the ways in which a chunk can be stored.
func stored(way int, shape []int64, b assemble.Box) tensor.Data {
	data := content(shape, b)
	view := tensor.RowMajor(b.Sizes...)
	inMemory := &tensor.Strided{Store: bytes.NewReader(append([]byte("head"), data...)), Base: 4,
		Length: view.Elements(), DType: tensor.I32, View: view}
	switch way % 4 {
	case 1:
		return &summed{layout: inMemory, crc: crc32.ChecksumIEEE(data), length: int64(len(data))}
	case 2:
		return &tensortest.Stream{Content: data}
	case 3: // the axes in reverse order, big-endian
		axes := make([]int, len(b.Sizes))
		for k := range axes {
			axes[k] = len(axes) - 1 - k
		}
		reversed := tensor.RowMajor(view.Permute(axes...).Shape...).Permute(axes...)
		moved := make([]byte, len(data))
		for i := range view.Elements() {
			at := int64(0)
			for k, index := range tensor.Unravel(i, b.Sizes) {
				at += index * reversed.Strides[k]
			}
			copy(moved[4*at:], data[4*i:4*i+4])
		}
		tensor.SwapBytes(moved, 4)
		return &tensor.Strided{Store: bytes.NewReader(moved), Length: view.Elements(), DType: tensor.I32, View: reversed, BigEndian: true}
	}
	return inMemory
}

// cut splits a box at random.
func cut(rng *rand.Rand, b assemble.Box, times int) []assemble.Box {
	if times == 0 || len(b.Sizes) == 0 {
		return []assemble.Box{b}
	}
	k := rng.IntN(len(b.Sizes))
	n := rng.Int64N(b.Sizes[k] + 1) // of an empty part as well
	first, second := assemble.Box{slices.Clone(b.Offsets), slices.Clone(b.Sizes)}, assemble.Box{slices.Clone(b.Offsets), slices.Clone(b.Sizes)}
	first.Sizes[k] = n
	second.Offsets[k] += n
	second.Sizes[k] -= n
	return append(cut(rng, first, times-1), cut(rng, second, times-1)...)
}

func TestRandomTilings(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for trial := range 300 {
		shape := make([]int64, rng.IntN(4))
		for k := range shape {
			shape[k] = 1 + rng.Int64N(12)
		}
		if trial%100 == 7 {
			shape = []int64{700, 1100} // several panels
		}
		all := assemble.Box{make([]int64, len(shape)), shape}
		p := &parts{}
		for i, b := range cut(rng, all, rng.IntN(6)) {
			copies := 1
			if rng.IntN(4) == 0 {
				copies = 3
			}
			for range copies {
				p.list = append(p.list, part{b, stored(rng.IntN(4)+i, shape, b)})
			}
		}
		rng.Shuffle(len(p.list), func(i, j int) { p.list[i], p.list[j] = p.list[j], p.list[i] })
		data, err := assemble.New(tensor.I32, shape, p)
		if err != nil {
			t.Fatalf("%v: %v", shape, err)
		}
		if p.opened > 0 {
			t.Fatal("a chunk was opened before anything was read")
		}
		want := content(shape, all)
		for _, off := range []int64{0, rng.Int64N(int64(len(want)) + 1), 0, int64(len(want))} {
			got, err := read(data, off)
			if err != nil || !bytes.Equal(got, want[off:]) {
				t.Fatalf("trial %d: %v from %d: %v, %d bytes", trial, shape, off, err, len(got))
			}
		}
	}
}

func read(data tensor.Data, off int64) ([]byte, error) {
	r, err := data.Stream(off)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestRefuses(t *testing.T) {
	huge := int64(1) << 62
	for name, c := range map[string]struct {
		shape  []int64
		boxes  []assemble.Box
		want   string
		reason tensor.Reason
	}{
		"nothing":            {[]int64{4, 2}, nil, "no chunk has the elements [0:4, 0:2]", assemble.Uncovered},
		"nothing of one":     {nil, nil, "no chunk has the elements []", assemble.Uncovered},
		"hole":               {[]int64{9}, []assemble.Box{box(0, 4), box(5, 9)}, "no chunk has the elements [4:5]", assemble.Uncovered},
		"missing end":        {[]int64{9, 3}, []assemble.Box{box(0, 9, 0, 2)}, "no chunk has the elements [0:9, 2:3]", assemble.Uncovered},
		"missing corner":     {[]int64{4, 4}, []assemble.Box{box(0, 4, 0, 2), box(0, 2, 2, 4)}, "no chunk has the elements [2:4, 2:4]", assemble.Uncovered},
		"overlap":            {[]int64{9}, []assemble.Box{box(0, 5), box(4, 9)}, "chunk 1: chunk [4:9] overlaps the chunk [0:5] in chunk 0", ""},
		"one in another":     {[]int64{4, 4}, []assemble.Box{box(0, 4, 0, 4), box(1, 2, 1, 2)}, "overlap", ""},
		"outside":            {[]int64{4}, []assemble.Box{box(0, 5)}, "chunk [0:5] is not within the shape [4]", ""},
		"before":             {[]int64{4}, []assemble.Box{box(-1, 3)}, "not within the shape", ""},
		"negative":           {[]int64{4}, []assemble.Box{{[]int64{3}, []int64{-1}}}, "not within the shape", ""},
		"overflow":           {[]int64{4}, []assemble.Box{{[]int64{3}, []int64{1<<63 - 1}}}, "not within the shape", ""},
		"other axes":         {[]int64{4}, []assemble.Box{box(0, 4, 0, 1)}, "chunk of 2 and 2 axes in a tensor of 1", ""},
		"shape overflows":    {[]int64{huge, 4}, nil, "overflows", ""},
		"a large hole":       {[]int64{huge / 32}, []assemble.Box{box(0, 7)}, "no chunk has the elements [7:144115188075855872]", assemble.Uncovered},
		"cut in a bad order": {[]int64{2001, 2000}, staircase(2000), "cut in so many ways", ""},
	} {
		p := &parts{}
		for _, b := range c.boxes {
			p.list = append(p.list, part{box: b})
		}
		_, err := assemble.New(tensor.I32, c.shape, p)
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || bad.Reason != c.reason {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// staircase returns chunks of one column each that are cut at different rows, so that sweeping over the
// rows has to look at all of them each time.
func staircase(n int64) (boxes []assemble.Box) {
	for i := range n {
		boxes = append(boxes, box(0, i+1, i, i+1), box(i+1, n+1, i, i+1))
	}
	return boxes
}

func TestReadingRefuses(t *testing.T) {
	shape := []int64{6, 4}
	whole := box(0, 6, 0, 4)
	changed := content(shape, box(3, 6, 0, 4))
	changed[20]++
	dense := func(data []byte, b assemble.Box) *tensor.Strided {
		view := tensor.RowMajor(b.Sizes...)
		return &tensor.Strided{Store: bytes.NewReader(data), Length: view.Elements(), DType: tensor.I32, View: view}
	}
	top, bottom := part{box(0, 3, 0, 4), stored(0, shape, box(0, 3, 0, 4))}, part{box(3, 6, 0, 4), stored(0, shape, box(3, 6, 0, 4))}
	for name, c := range map[string]struct {
		parts *parts
		want  string
	}{
		"unequal replicas": {&parts{list: []part{top, bottom, {bottom.box, dense(changed, bottom.box)}}}, "chunk 2: replicas of the elements [3:6, 0:4] differ from those in chunk 1"},
		"wrong checksum":   {&parts{list: []part{{whole, &summed{layout: dense(content(shape, whole), whole), crc: 1, length: 96}}}}, "chunk 0: wrong checksum"},
		"ends early":       {&parts{list: []part{{whole, dense(content(shape, whole)[:50], whole)}}}, "chunk 0: offset 50: data ends 46 bytes early"},
		"stream too long":  {&parts{list: []part{{whole, &tensortest.Stream{Content: make([]byte, 97)}}}}, "reader gives more"},
		"bad stream":       {&parts{list: []part{{whole, &tensortest.Stream{Bad: tensor.Bad("broken")}}}}, "chunk 0: broken"},
		"other type":       {&parts{list: []part{top, bottom}, dtype: tensor.F32}, "chunk is float32[3, 4] where int32[3, 4] belongs"},
		"other shape":      {&parts{list: []part{top, bottom}, shape: []int64{4, 3}}, "chunk is int32[4, 3] where int32[3, 4] belongs"},
	} {
		data, err := assemble.New(tensor.I32, shape, c.parts)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read(data, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestChecksums counts how often chunks are read for their checksums alone.
func TestChecksums(t *testing.T) {
	for _, c := range []struct {
		columns int64
		want    [2][]int // of each chunk how often its checksum passed and was checked
	}{
		// The last chunk is read from its beginning, the others are not. Then all are known.
		{3000, [2][]int{{0, 1, 0, 1, 1, 0}, {0, 1, 0, 1, 1, 0}}},
		// Small chunks are checked again on the way.
		{100, [2][]int{{0, 1, 0, 1, 1, 0}, {1, 1, 1, 1, 2, 0}}},
	} {
		shape := []int64{8, 3 * c.columns}
		var all []*summed
		p := &parts{}
		for i := range int64(3) {
			b := box(0, 8, c.columns*i, c.columns*(i+1))
			all = append(all, stored(1, shape, b).(*summed))
			p.list = append(p.list, part{b, all[i]})
		}
		data, err := assemble.New(tensor.I32, shape, p)
		if err != nil {
			t.Fatal(err)
		}
		for i, off := range []int64{4 * (c.columns + c.columns/2), 0} {
			if _, err := read(data, off); err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, s := range all {
				got = append(got, s.passed, s.checked)
			}
			if !slices.Equal(got, c.want[i]) {
				t.Errorf("%d columns from %d: %v, want %v", c.columns, off, got, c.want[i])
			}
		}
	}
}

// TestArrangement: tensors that are cut alike share an arrangement, and each has its own elements.
func TestArrangement(t *testing.T) {
	shape := []int64{4, 3}
	tops, bottoms := box(0, 2, 0, 3), box(2, 4, 0, 3)
	chunks := func(way int) *parts {
		return &parts{list: []part{{bottoms, stored(way, shape, bottoms)}, {tops, stored(way, shape, tops)}}}
	}
	first := chunks(0)
	a, err := assemble.Arrange(shape, first)
	if err != nil {
		t.Fatal(err)
	}
	broken := &parts{list: []part{{bottoms, &tensortest.Stream{Bad: tensor.Bad("broken")}}, {tops, stored(0, shape, tops)}}}
	for _, c := range []struct {
		parts *parts
		good  bool
	}{{first, true}, {broken, false}, {chunks(2), true}} {
		data, err := a.Data(tensor.I32, c.parts)
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(data, 0)
		if good := err == nil && bytes.Equal(got, content(shape, box(0, 4, 0, 3))); good != c.good {
			t.Errorf("%v, %v", got, err)
		}
	}
	if _, err := a.Data(tensor.F4, first); err == nil {
		t.Error("elements of four bits are accepted")
	}
	if _, err := assemble.Arrange(shape, &parts{list: first.list[:1]}); tensor.ReasonOf(err) != assemble.Uncovered {
		t.Errorf("a part that is missing: %v", err)
	}
}

func TestWithoutElements(t *testing.T) {
	data, err := assemble.New(tensor.I32, []int64{3, 0}, &parts{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(data, 0); err != nil || len(got) != 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := assemble.New(tensor.F4, []int64{2}, &parts{}); err == nil {
		t.Error("elements of four bits are accepted")
	}
}
