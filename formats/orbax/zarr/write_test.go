package zarr

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// joinedStore is a Store whose values lie one behind another.
type joinedStore struct {
	text   bytes.Buffer
	ranges map[string][2]int64
	reader *bytes.Reader
	apart  string // a key whose value is in another file, at the same cell
}

func (s *joinedStore) put(key string, write func(io.Writer)) {
	at := int64(s.text.Len())
	write(&s.text)
	s.ranges[key] = [2]int64{at, int64(s.text.Len()) - at}
	s.reader = nil
}

func (s *joinedStore) Section(key string) (*io.SectionReader, bool, error) {
	if s.reader == nil {
		s.reader = bytes.NewReader(s.text.Bytes())
	}
	r, ok := s.ranges[key]
	if key == s.apart {
		return io.NewSectionReader(bytes.NewReader(s.text.Bytes()), r[0], r[1]), ok, nil
	}
	return io.NewSectionReader(s.reader, r[0], r[1]), ok, nil
}

// encodeAll stores the elements in a's way, in steps of random sizes.
func encodeAll(t *testing.T, rng *rand.Rand, p *Plan, elements []byte) *joinedStore {
	t.Helper()
	s := &joinedStore{ranges: map[string][2]int64{}}
	key, text := p.Document()
	s.put("a/"+key, func(w io.Writer) { io.WriteString(w, text) })
	e, err := p.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	for chunk := range p.Chunks() {
		s.put("a/"+p.Key(chunk), func(w io.Writer) {
			before := s.text.Len()
			e.Begin(w, chunk)
			for e.Left() > 0 {
				n, err := e.Write(elements[:1+rng.Int64N(e.Left())])
				if err != nil {
					t.Fatal(err)
				}
				elements = elements[n:]
			}
			length, err := e.End()
			if err != nil || length != int64(s.text.Len()-before) {
				t.Fatalf("%d bytes stored, %d told: %v", s.text.Len()-before, length, err)
			}
		})
	}
	if len(elements) > 0 {
		t.Errorf("%d bytes are in no chunk", len(elements))
	}
	return s
}

func TestPlansAreReadBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	types := []tensor.DType{tensor.BF16, tensor.F32, tensor.I8, tensor.C128, tensor.Bool}
	for i := range 600 {
		storage := Storage{Version: 2 + i%2, Compress: i%4 < 2, MaxChunk: 16 << rng.IntN(8)}
		d := types[rng.IntN(len(types))]
		shape := make([]int64, rng.IntN(5))
		for k := range shape {
			shape[k] = rng.Int64N(13)
			if rng.IntN(4) > 0 {
				shape[k]++
			}
			if len(shape) < 3 && rng.IntN(4) == 0 {
				shape[k] = rng.Int64N(99)
			}
		}
		p, err := NewPlan(storage, d, shape)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%+v %s %v in %v", storage, d, shape, p.Chunk)
		elements := make([]byte, p.Bytes)
		for j := range elements {
			if elements[j] = byte(j / 32); d == tensor.Bool {
				elements[j] &= 1
			}
		}
		s := encodeAll(t, rng, p, elements)
		a, err := Open(s, "a", Options{Version: storage.Version, EveryChunk: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := a.Stream(0)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(got, elements) {
			t.Errorf("%s: %v, or other bytes", name, err)
		}
		checkLies(t, name, a, p, elements)
	}
}

// checkLies checks that uncompressed chunks make one range, and the sizes of all.
func checkLies(t *testing.T, name string, a *Array, p *Plan, elements []byte) {
	t.Helper()
	_, chunk, _ := tensor.SizeOf(p.DType, p.Chunk)
	if p.Compress && p.Bytes > 0 && chunk > p.MaxChunk {
		t.Errorf("%s: a chunk takes %d bytes", name, chunk)
	}
	s, err := a.Strided()
	if err != nil {
		t.Fatal(err)
	}
	if p.Compress || p.Chunks() == 0 {
		if s != nil {
			t.Errorf("%s lies in one piece", name)
		}
		return
	}
	if s == nil {
		t.Errorf("%s does not lie in one piece", name)
		return
	}
	offset, length, ok := s.Contiguous()
	got := make([]byte, length)
	_, err = s.Store.ReadAt(got, offset)
	if !ok || err != nil || !bytes.Equal(got, elements) {
		t.Errorf("%s: in one piece, but not the elements: %v", name, err)
	}
}

func TestChunksThatAreNotJoinedAreNotStrided(t *testing.T) {
	p, _ := NewPlan(Storage{Version: 2, MaxChunk: 16}, tensor.I8, []int64{64})
	for _, change := range []struct {
		name string
		do   func(s *joinedStore)
	}{
		{"a gap", func(s *joinedStore) { s.ranges["a/2"] = [2]int64{s.ranges["a/2"][0] + 1, 16} }},
		{"exchanged", func(s *joinedStore) { s.ranges["a/1"], s.ranges["a/2"] = s.ranges["a/2"], s.ranges["a/1"] }},
		{"short", func(s *joinedStore) { s.ranges["a/3"] = [2]int64{s.ranges["a/3"][0], 15} }},
		{"another file", func(s *joinedStore) { s.apart = "a/2" }},
		{"missing", func(s *joinedStore) { delete(s.ranges, "a/3") }},
	} {
		s := encodeAll(t, rand.New(rand.NewPCG(1, 1)), p, make([]byte, 64))
		s.put("pad", func(w io.Writer) { w.Write(make([]byte, 32)) })
		a, err := Open(s, "a", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if lies, err := a.Strided(); lies == nil || err != nil {
			t.Errorf("before %s: %v", change.name, err)
		}
		change.do(s)
		if lies, err := a.Strided(); lies != nil || err != nil {
			t.Errorf("%s: lies in one piece: %v", change.name, err)
		}
	}
}

// Chunks that lie one behind another, but whose elements do not.
func TestChunksThatAreNoRunsAreNotStrided(t *testing.T) {
	for _, tt := range []struct {
		shape, chunk string
		keys         []string
		want         bool
	}{
		{"[2,4]", "[1,2]", []string{"0.0", "0.1", "1.0", "1.1"}, true},
		{"[2,3]", "[1,2]", []string{"0.0", "0.1", "1.0", "1.1"}, false}, // padding in between
		{"[2,4]", "[2,2]", []string{"0.0", "0.1"}, false},               // rows are cut
		{"[3,2]", "[2,2]", []string{"0.0", "1.0"}, true},                // padding at the end
	} {
		s := &joinedStore{ranges: map[string][2]int64{}}
		s.put("a/.zarray", func(w io.Writer) {
			fmt.Fprintf(w, `{"chunks":%s,"compressor":null,"dtype":"|i1","fill_value":null,"filters":null,"order":"C","shape":%s,"zarr_format":2}`, tt.chunk, tt.shape)
		})
		size := map[string]int{"[1,2]": 2, "[2,2]": 4}[tt.chunk]
		for _, key := range tt.keys {
			s.put("a/"+key, func(w io.Writer) { w.Write(make([]byte, size)) })
		}
		a, err := Open(s, "a", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.Strided(); err != nil || (got != nil) != tt.want {
			t.Errorf("%s in %s: strided %t, %v", tt.shape, tt.chunk, got != nil, err)
		}
	}
}

func TestChunkShapes(t *testing.T) {
	for _, tt := range []struct {
		d        tensor.DType
		shape    []int64
		compress []int64
		plain    []int64
	}{
		{tensor.BF16, []int64{256000, 2560}, []int64{1600, 2560}, []int64{1600, 2560}}, // 2B
		{tensor.BF16, []int64{2, 2560, 7680}, []int64{1, 512, 7680}, []int64{1, 512, 7680}},
		{tensor.BF16, []int64{7680, 2560}, []int64{1536, 2560}, []int64{1536, 2560}},
		{tensor.BF16, []int64{10, 256, 256}, []int64{10, 256, 256}, []int64{10, 256, 256}},
		{tensor.F32, []int64{256000, 4096}, []int64{512, 4096}, []int64{512, 4096}}, // 9B
		{tensor.F32, []int64{7919, 4096}, []int64{495, 4096}, []int64{495, 4096}},   // padded at the end
		{tensor.F32, []int64{2, 7919, 4096}, []int64{1, 495, 4096}, []int64{1, 7919, 4096}},
		{tensor.I8, []int64{}, []int64{}, []int64{}},
		{tensor.I8, []int64{0, 5}, []int64{1, 5}, []int64{1, 5}},
		{tensor.I8, []int64{3, 1 << 30}, []int64{1, 8 << 20}, []int64{1, 8 << 20}},
	} {
		for _, compress := range []bool{true, false} {
			p, err := NewPlan(Storage{Version: 2, Compress: compress}, tt.d, tt.shape)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.plain
			if compress {
				want = tt.compress
			}
			if fmt.Sprint(p.Chunk) != fmt.Sprint(want) {
				t.Errorf("%v, compressed %t: chunks of %v, not %v", tt.shape, compress, p.Chunk, want)
			}
		}
	}
}

// The documents are, byte for byte, what Orbax 0.12.8 writes of such arrays, but for the last,
// which has no shards.
func TestDocuments(t *testing.T) {
	const v3 = `{"chunk_grid":{"configuration":{"chunk_shape":[36,36]},"name":"regular"},"chunk_key_encoding":{"name":"default"},"codecs":[`
	for _, tt := range []struct {
		storage Storage
		d       tensor.DType
		shape   []int64
		want    string
	}{
		{Storage{Version: 2, Compress: true}, tensor.BF16, []int64{2, 1, 1, 96},
			`{"chunks":[2,1,1,96],"compressor":{"id":"zstd","level":1},"dimension_separator":".","dtype":"bfloat16","fill_value":null,"filters":null,"order":"C","shape":[2,1,1,96],"zarr_format":2}`},
		{Storage{Version: 2}, tensor.F32, nil,
			`{"chunks":[],"compressor":null,"dimension_separator":".","dtype":"<f4","fill_value":null,"filters":null,"order":"C","shape":[],"zarr_format":2}`},
		{Storage{Version: 3, Compress: true}, tensor.F32, []int64{36, 36}, v3 +
			`{"configuration":{"chunk_shape":[36,36],"codecs":[{"configuration":{"endian":"little"},"name":"bytes"},{"configuration":{"checksum":false,"level":3},"name":"zstd"}],"index_codecs":[{"configuration":{"endian":"little"},"name":"bytes"},{"name":"crc32c"}]},"name":"sharding_indexed"}],"data_type":"float32","fill_value":0.0,"node_type":"array","shape":[36,36],"zarr_format":3}`},
		{Storage{Version: 3}, tensor.Bool, []int64{36, 36}, v3 + `{"name":"bytes"}],"data_type":"bool","fill_value":false,"node_type":"array","shape":[36,36],"zarr_format":3}`},
	} {
		p, err := NewPlan(tt.storage, tt.d, tt.shape)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := p.Document(); got != tt.want {
			t.Errorf("%+v %s %v:\n%s, not\n%s", tt.storage, tt.d, tt.shape, got, tt.want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, tt := range []struct {
		d     tensor.DType
		shape []int64
	}{
		{tensor.F4, []int64{2}}, {tensor.C32, []int64{2}}, {tensor.Invalid, nil}, {tensor.F8E8M0, []int64{2}},
		{tensor.F32, []int64{-1}}, {tensor.F32, []int64{1 << 40, 1 << 40}}, {tensor.F32, make([]int64, 33)},
	} {
		if _, err := NewPlan(Storage{Version: 2}, tt.d, tt.shape); err == nil {
			t.Errorf("%s %v was accepted", tt.d, tt.shape)
		}
	}
}

// What an encoder had before does not show in what it makes.
func TestEncodersAreReused(t *testing.T) {
	p, err := NewPlan(Storage{Version: 3, Compress: true}, tensor.I8, []int64{300000})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	elements := make([]byte, p.Bytes)
	for i := range elements {
		elements[i] = byte(rng.NormFloat64() * 10)
	}
	first := encodeAll(t, rng, p, elements).text.Bytes()
	for range 5 {
		if !bytes.Equal(encodeAll(t, rng, p, elements).text.Bytes(), first) {
			t.Error("the same elements are encoded otherwise")
		}
	}
}
