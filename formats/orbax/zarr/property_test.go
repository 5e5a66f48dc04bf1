package zarr

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// memory is a Store in memory.
type memory map[string][]byte

func (m memory) Section(key string) (*io.SectionReader, bool, error) {
	v, ok := m[key]
	return io.NewSectionReader(bytes.NewReader(v), 0, int64(len(v))), ok, nil
}

// maker writes arrays for tests in the plainest way: each chunk is gathered element by element.
type maker struct {
	rng   *rand.Rand
	shape []int64
	size  int64
	data  []byte // row-major, little-endian
	fill  []byte
	big   bool
}

// gather returns the box at start of that shape, its axes in the order of axes, padded with random
// bytes where it leaves the array.
func (m *maker) gather(start, shape []int64, axes []int) []byte {
	var out []byte
	index := make([]int64, len(shape)) // in the order of axes
	counts := make([]int64, len(shape))
	for j, a := range axes {
		counts[j] = shape[a]
	}
	for {
		at, inside := int64(0), true
		for k := range m.shape {
			i := start[k] + index[slices.Index(axes, k)]
			inside = inside && i < m.shape[k]
			at = at*m.shape[k] + i
		}
		element := make([]byte, m.size)
		if inside {
			copy(element, m.data[at*m.size:])
		} else {
			for i := range element {
				element[i] = byte(m.rng.Uint32())
			}
		}
		if m.big {
			slices.Reverse(element)
		}
		out = append(out, element...)
		if !next(index, counts) {
			return out
		}
	}
}

// isFill reports whether all of a box that is inside the array is the fill value.
func (m *maker) isFill(start, shape []int64) bool {
	index := make([]int64, len(shape))
	for {
		at, inside := int64(0), true
		for k := range m.shape {
			i := start[k] + index[k]
			inside = inside && i < m.shape[k]
			at = at*m.shape[k] + i
		}
		if inside && !bytes.Equal(m.data[at*m.size:][:m.size], m.fill) {
			return false
		}
		if !next(index, shape) {
			return true
		}
	}
}

// zstdWriters differ in what their frames say of themselves.
var zstdWriters = func() (all []*zstd.Encoder) {
	for i := range 4 {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(i&1 == 0), zstd.WithSingleSegment(i&2 == 0), zstd.WithWindowSize(1<<10), zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		all = append(all, w)
	}
	return all
}()

var bytesCodecs = map[string]func([]byte, *rand.Rand) []byte{
	"zstd": func(p []byte, rng *rand.Rand) []byte {
		var b bytes.Buffer
		w := zstdWriters[rng.IntN(4)]
		if rng.IntN(2) == 0 {
			return w.EncodeAll(p, nil)
		}
		w.Reset(&b)
		w.Write(p) // no content size if there is much
		w.Flush()
		w.Close()
		return b.Bytes()
	},
	"gzip": func(p []byte, _ *rand.Rand) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(p)
		w.Close()
		return b.Bytes()
	},
	"zlib": func(p []byte, _ *rand.Rand) []byte {
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		w.Write(p)
		w.Close()
		return b.Bytes()
	},
	"crc32c": func(p []byte, _ *rand.Rand) []byte {
		return binary.LittleEndian.AppendUint32(bytes.Clone(p), crc32.Checksum(p, castagnoli))
	},
}

func ints[T any](v []T) string { return strings.ReplaceAll(fmt.Sprint(v), " ", ",") }

// makeV2 writes the array as version 2 in random chunks.
func (m *maker) makeV2(d tensor.DType) (memory, string) {
	rng := m.rng
	chunk := m.randomChunk()
	axes, order := identity(len(chunk)), "C"
	if rng.IntN(3) == 0 {
		order = "F"
		slices.Reverse(axes)
	}
	name, compressor := []string{"", "zstd", "gzip", "zlib"}[rng.IntN(4)], "null"
	if name != "" {
		compressor = fmt.Sprintf(`{"id":%q}`, name)
	}
	sep := []string{".", "/"}[rng.IntN(2)]
	endian := "<"
	if m.big {
		endian = ">"
	}
	doc := fmt.Sprintf(`{"zarr_format":2,"shape":%s,"chunks":%s,"dtype":"%s%s%d","order":%q,"compressor":%s,"filters":null,"fill_value":%d,"dimension_separator":%q}`,
		ints(m.shape), ints(chunk), endian, coded[d], d.Size(), order, compressor, m.fill[0], sep)
	store := memory{".zarray": []byte(doc)}
	m.eachChunk(m.shape, chunk, func(cell, start []int64) {
		if m.isFill(start, chunk) {
			return
		}
		data := m.gather(start, chunk, axes)
		if name != "" {
			data = bytesCodecs[name](data, rng)
		}
		key := strings.ReplaceAll(strings.Trim(ints(cell), "[]"), ",", sep)
		if len(cell) == 0 {
			key = "0"
		}
		store[key] = data
	})
	return store, doc
}

// makeV3 writes the array as version 3, with up to two levels of shards.
func (m *maker) makeV3(d tensor.DType) (memory, string) {
	chunk := m.randomChunk()
	encode, codecs := m.encoder(chunk, m.rng.IntN(3))
	doc := fmt.Sprintf(`{"zarr_format":3,"node_type":"array","shape":%s,"chunk_grid":{"name":"regular","configuration":{"chunk_shape":%s}},`+
		`"chunk_key_encoding":{"name":"default"},"data_type":%q,"fill_value":%d,"codecs":%s}`, ints(m.shape), ints(chunk), d, m.fill[0], codecs)
	store := memory{"zarr.json": []byte(doc)}
	m.eachChunk(m.shape, chunk, func(cell, start []int64) {
		if m.isFill(start, chunk) {
			return
		}
		key := "c"
		for _, i := range cell {
			key += fmt.Sprint("/", i)
		}
		store[key] = encode(start, identity(len(chunk)))
	})
	return store, doc
}

// encoder returns a function that encodes the chunk at a cell of the array, and its codecs as
// JSON. The chunk's axis j is axis axes[j] of the array; shape is in the chunk's own order.
func (m *maker) encoder(shape []int64, shards int) (func(start []int64, axes []int) []byte, string) {
	rng := m.rng
	var codecs []string
	order := identity(len(shape))
	if rng.IntN(2) == 0 {
		order = rng.Perm(len(shape))
		codecs = append(codecs, fmt.Sprintf(`{"name":"transpose","configuration":{"order":%s}}`, ints(order)))
	}
	stored := make([]int64, len(shape))
	for j, o := range order {
		stored[j] = shape[o]
	}
	combine := func(axes []int) []int {
		combined := make([]int, len(axes))
		for j, o := range order {
			combined[j] = axes[o]
		}
		return combined
	}
	if shards == 0 {
		endian := map[bool]string{false: "little", true: "big"}[m.big]
		codecs = append(codecs, fmt.Sprintf(`{"name":"bytes","configuration":{"endian":%q}}`, endian))
		var chain []func([]byte, *rand.Rand) []byte
		for range rng.IntN(3) {
			name := []string{"zstd", "gzip", "crc32c"}[rng.IntN(3)]
			chain = append(chain, bytesCodecs[name])
			codecs = append(codecs, fmt.Sprintf(`{"name":%q}`, name))
		}
		return func(start []int64, axes []int) []byte {
			full := make([]int64, len(shape)) // in the array's order
			for j, a := range axes {
				full[a] = shape[j]
			}
			data := m.gather(start, full, combine(axes))
			for _, encode := range chain {
				data = encode(data, rng)
			}
			return data
		}, "[" + strings.Join(codecs, ",") + "]"
	}
	inner := make([]int64, len(stored))
	for k, n := range stored {
		for inner[k] = 1 + rng.Int64N(n); n%inner[k] != 0; inner[k]-- {
		}
	}
	encode, innerCodecs := m.encoder(inner, shards-1)
	sum, first := rng.IntN(2) == 0, rng.IntN(2) == 0
	index := `{"name":"bytes","configuration":{"endian":"little"}}`
	if sum {
		index += `,{"name":"crc32c"}`
	}
	codecs = append(codecs, fmt.Sprintf(`{"name":"sharding_indexed","configuration":{"chunk_shape":%s,"codecs":%s,"index_codecs":[%s],"index_location":%q}}`,
		ints(inner), innerCodecs, index, map[bool]string{true: "start", false: "end"}[first]))
	return func(start []int64, axes []int) []byte {
		axes = combine(axes)
		var body, offsets []byte
		count := int64(1)
		for k := range inner {
			count *= stored[k] / inner[k]
		}
		base := int64(0)
		if first {
			if base = 16 * count; sum {
				base += 4
			}
		}
		m.eachChunk(stored, inner, func(_, from []int64) {
			at, full := slices.Clone(start), make([]int64, len(inner))
			for j, a := range axes {
				at[a] += from[j]
				full[a] = inner[j]
			}
			offset, length := int64(-1), int64(-1)
			if !m.isFill(at, full) {
				body = append(body, make([]byte, rng.IntN(3))...) // a gap
				data := encode(at, axes)
				offset, length = base+int64(len(body)), int64(len(data))
				body = append(body, data...)
			}
			offsets = binary.LittleEndian.AppendUint64(offsets, uint64(offset))
			offsets = binary.LittleEndian.AppendUint64(offsets, uint64(length))
		})
		if sum {
			offsets = bytesCodecs["crc32c"](offsets, rng)
		}
		if first {
			return append(offsets, body...)
		}
		return append(body, offsets...)
	}, "[" + strings.Join(codecs, ",") + "]"
}

func identity(n int) []int {
	axes := make([]int, n)
	for i := range axes {
		axes[i] = i
	}
	return axes
}

func (m *maker) randomChunk() []int64 {
	chunk := make([]int64, len(m.shape))
	for k, n := range m.shape {
		switch m.rng.IntN(4) {
		case 0:
			chunk[k] = 1
		case 1:
			chunk[k] = max(n, 1)
		default:
			chunk[k] = 1 + m.rng.Int64N(n+3)
		}
	}
	return chunk
}

// eachChunk calls f with the cell in the grid and the first element of each chunk.
func (m *maker) eachChunk(shape, chunk []int64, f func(cell, start []int64)) {
	grid, _ := countChunks(shape, chunk)
	if slices.Contains(grid, 0) {
		return
	}
	cell := make([]int64, len(shape))
	for {
		start := make([]int64, len(shape))
		for k := range start {
			start[k] = cell[k] * chunk[k]
		}
		f(cell, start)
		if !next(cell, grid) {
			return
		}
	}
}

func newMaker(rng *rand.Rand, d tensor.DType) *maker {
	m := &maker{rng: rng, size: d.Size(), big: rng.IntN(3) == 0}
	m.shape = make([]int64, rng.IntN(5))
	for k := range m.shape {
		if m.shape[k] = 1 + rng.Int64N(7); rng.IntN(40) == 0 {
			m.shape[k] = 0
		}
	}
	n, _ := tensor.Product(m.shape)
	m.data = make([]byte, n*m.size)
	m.fill = make([]byte, m.size)
	m.fill[0] = byte(rng.IntN(3))
	for i := range m.data {
		m.data[i] = byte(rng.Uint32())
	}
	for i := int64(0); i < n && rng.IntN(2) == 0; i += 1 + rng.Int64N(3) { // stretches of fill, to leave chunks out
		copy(m.data[i*m.size:], m.fill)
	}
	return m
}

func TestRandomArrays(t *testing.T) {
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		d := []tensor.DType{tensor.U8, tensor.I16, tensor.U32, tensor.I64}[rng.IntN(4)]
		m := newMaker(rng, d)
		var store memory
		var doc string
		if rng.IntN(2) == 0 {
			store, doc = m.makeV2(d)
		} else {
			store, doc = m.makeV3(d)
		}
		a, err := Open(store, "", Options{})
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, doc)
		}
		if rng.IntN(2) == 0 { // as if the array were large
			a.limits = limits{decoders: rng.Int64N(8 << 20), together: rng.Int64N(8), panel: 1 + rng.Int64N(64)}
		}
		if err := checkReads(a, m.data, rng); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, doc)
		}
		checkStrided(t, a, m.data)
	}
}

// checkReads reads an array from several places with several buffers.
func checkReads(a *Array, want []byte, rng *rand.Rand) error {
	if err := checkParts(a, want); err != nil {
		return err
	}
	for round := range 4 {
		off := rng.Int64N(int64(len(want)) + 1)
		if round == 0 {
			off = 0
		}
		r, err := a.Stream(off)
		if err != nil {
			return err
		}
		var got []byte
		if rng.IntN(2) == 0 {
			var b bytes.Buffer
			head := make([]byte, rng.IntN(20))
			n, err := io.ReadFull(r, head)
			if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
				_, err = r.(io.WriterTo).WriteTo(&b)
			}
			if err != nil {
				return err
			}
			got = append(head[:n], b.Bytes()...)
		} else {
			buf := make([]byte, 1+rng.IntN(50))
			for err == nil {
				var n int
				n, err = r.Read(buf)
				got = append(got, buf[:n]...)
			}
			if err != io.EOF {
				return err
			}
		}
		r.Close()
		if !bytes.Equal(got, want[off:]) {
			return fmt.Errorf("from %d: %x, want %x", off, got, want[off:])
		}
	}
	return nil
}

// checkParts reads each part of an array by a stream of its own.
func checkParts(a *Array, want []byte) error {
	for from := int64(0); from < a.size; {
		to := a.NextPart(from)
		if to <= from || to > a.size {
			return fmt.Errorf("the part after byte %d of %d begins at %d", from, a.size, to)
		}
		r, err := a.Stream(from)
		if err != nil {
			return err
		}
		got := make([]byte, to-from)
		_, err = io.ReadFull(r, got)
		r.Close()
		if err != nil || !bytes.Equal(got, want[from:to]) {
			return fmt.Errorf("another part from byte %d to %d (%v)", from, to, err)
		}
		from = to
	}
	return nil
}

// A part does not read the chunks of other parts.
func TestPartsAreIndependent(t *testing.T) {
	for i := range uint64(200) {
		rng := rand.New(rand.NewPCG(17, i))
		m := newMaker(rng, tensor.U16)
		store, _ := m.makeV2(tensor.U16)
		a, err := Open(store, "", Options{})
		if err != nil {
			t.Fatal(err)
		}
		for from := int64(0); from < a.size; from = a.NextPart(from) {
			if from == 0 || a.NextPart(0) == a.size {
				continue
			}
			first := newLocator(a)
			at, err := first.find(make([]int64, len(a.grid)))
			if err != nil || at.section == nil {
				continue
			}
			kept := store[at.key]
			store[at.key] = []byte("broken")
			r, err := a.Stream(from)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, a.NextPart(from)-from)); err != nil {
				t.Errorf("round %d: the part at byte %d needs the first chunk: %v", i, from, err)
			}
			r.Close()
			store[at.key] = kept
		}
	}
}
