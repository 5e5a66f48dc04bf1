package zarr

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// runs are 4096 times each byte.
var runs = func() (all [256][]byte) {
	for i := range all {
		all[i] = bytes.Repeat([]byte{byte(i)}, 4096)
	}
	return all
}()

// pattern gives bytes that compress well: 4096 of each.
type pattern struct{ at int64 }

func (p *pattern) Read(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		run := rest[:min(int64(len(rest)), 4096-p.at%4096)]
		copy(run, runs[byte(p.at>>12)])
		rest = rest[len(run):]
		p.at += int64(len(run))
	}
	return len(b), nil
}

// largeChunk returns a store of one array whose one chunk, of that many MiB, is one zstd frame.
func largeChunk(t testing.TB, mib int64, order string) memory {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, &pattern{}, mib<<20); err != nil {
		t.Fatal(err)
	}
	w.Close()
	doc := fmt.Sprintf(`{"zarr_format":2,"shape":[%d,1048576],"chunks":[%d,1048576],"dtype":"|u1","order":%q,"compressor":{"id":"zstd"},"filters":null,"fill_value":null}`, mib, mib, order)
	return memory{".zarray": []byte(doc), "0.0": b.Bytes()}
}

// A chunk is never wholly in memory, however large.
func TestLargeChunkIsStreamed(t *testing.T) {
	for _, tt := range []struct {
		order string
		most  uint64 // bytes that may be allocated in all
	}{{"C", 16 << 20}, {"F", 64 << 20}} {
		store := largeChunk(t, 40, tt.order)
		a, err := Open(store, "", Options{})
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := a.Stream(0)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil || n != 40<<20 {
			t.Errorf("%d bytes, %v", n, err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > tt.most {
			t.Errorf("order %s: %d bytes allocated, more than %d", tt.order, got, tt.most)
		}
	}
}

func TestStreamFromTheMiddle(t *testing.T) {
	a, err := Open(largeChunk(t, 8, "C"), "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 1, 5<<20 + 3, 8<<20 - 1, 8 << 20, 9 << 20} {
		r, err := a.Stream(off)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, max(8<<20-off, 0))
		(&pattern{at: off}).Read(want)
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("from %d: %d bytes, %v", off, len(got), err)
		}
		r.Close()
		if _, err := r.Read(make([]byte, 1)); err == nil {
			t.Error("reads after Close")
		}
	}
}

func TestStreamsAtOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	m := newMaker(rng, tensor.I16)
	store, _ := m.makeV3(tensor.I16)
	a, err := Open(store, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for seed := range uint64(8) {
		group.Go(func() {
			if err := checkReads(a, m.data, rand.New(rand.NewPCG(seed, 2))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestMissingChunks(t *testing.T) {
	store := memory{".zarray": []byte(`{"zarr_format":2,"shape":[6],"chunks":[2],"dtype":"|u1","order":"C","compressor":null,"filters":null,"fill_value":7}`), "1": []byte{1, 2}}
	a, err := Open(store, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readFrom(a, 1); err != nil || !bytes.Equal(got, []byte{7, 1, 2, 7, 7}) {
		t.Errorf("%v, %v", got, err)
	}
	if missing, err := a.MissingChunks(1); err != nil || len(missing) != 1 || missing[0] != "0" {
		t.Errorf("%q, %v", missing, err)
	}
	if missing, err := a.MissingChunks(9); err != nil || len(missing) != 2 || missing[1] != "2" {
		t.Errorf("%q, %v", missing, err)
	}
	a, err = Open(store, "", Options{EveryChunk: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readFrom(a, 0); err == nil || !strings.Contains(err.Error(), "0: chunk is missing") {
		t.Errorf("got %v", err)
	}
	if got, err := readFrom(a, 6); err != nil || len(got) != 0 {
		t.Errorf("at the end: %v, %v", got, err)
	}
}

// The library joins bzip2 streams, and an empty one adds nothing that could be counted.
func TestSecondBzip2Stream(t *testing.T) {
	doc, err := os.ReadFile("testdata/sound/v2_bz2/.zarray")
	if err != nil {
		t.Fatal(err)
	}
	chunk, err := os.ReadFile("testdata/sound/v2_bz2/0.0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(everywhere{memory{".zarray": doc}, append(chunk, "BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00"...)}, "", Options{Version: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readFrom(a, 0); err == nil || !strings.Contains(err.Error(), "bytes follow the bz2 stream") {
		t.Errorf("got %v", err)
	}
}

// The end of a chunk is checked in each way of reading, also behind padding.
func TestBytesAfterAPaddedChunk(t *testing.T) {
	w, _ := zstd.NewWriter(nil)
	frame := w.EncodeAll(make([]byte, 12), nil)
	for _, shape := range []string{"[2,3]", "[3,4]", "[1,4]", "[1,1]"} {
		for _, order := range []string{"C", "F"} {
			doc := fmt.Sprintf(`{"zarr_format":2,"shape":%s,"chunks":[3,4],"dtype":"|u1","order":%q,"compressor":{"id":"zstd"},"filters":null,"fill_value":null}`, shape, order)
			for tail, ok := range map[string]bool{"": true, "x": false, string(frame): false} {
				a, err := Open(memory{".zarray": []byte(doc), "0.0": append(bytes.Clone(frame), tail...)}, "", Options{})
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					checkExactReads(t, a)
				} else if _, err := readFrom(a, 0); err != nil {
					t.Errorf("%s %s: %v", shape, order, err)
				}
			}
		}
	}
}

func TestTooManyChunks(t *testing.T) {
	for doc, ok := range map[string]bool{
		`"shape":[4096,4096],"chunks":[1,1]`:                    true,
		`"shape":[4096,4097],"chunks":[1,1]`:                    false,
		`"shape":[9223372036854775807],"chunks":[1]`:            false,
		`"shape":[1125899906842624],"chunks":[562949953421312]`: true,
		`"shape":[0,9223372036854775807],"chunks":[1,1]`:        false,
	} {
		doc := `{"zarr_format":2,` + doc + `,"dtype":"|u1","order":"C","compressor":null,"filters":null,"fill_value":0}`
		if _, err := Open(memory{".zarray": []byte(doc)}, "", Options{}); (err == nil) != ok {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func TestInnerChunkWithinTheIndexIsRefused(t *testing.T) {
	const doc = `{"zarr_format":3,"node_type":"array","shape":[16],"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[16]}},` +
		`"chunk_key_encoding":{"name":"default"},"data_type":"uint8","fill_value":0,"codecs":[{"name":"sharding_indexed","configuration":{` +
		`"chunk_shape":[16],"codecs":[{"name":"bytes"}],"index_codecs":[{"name":"bytes","configuration":{"endian":"little"}}],"index_location":"start"}}]}`
	for offset, ok := range map[byte]bool{0: false, 15: false, 16: true, 17: false} {
		shard := make([]byte, 32)
		shard[0], shard[8] = offset, 16
		a, err := Open(memory{"zarr.json": []byte(doc), "c/0": shard}, "", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readFrom(a, 0); (err == nil) != ok {
			t.Errorf("offset %d: %v", offset, err)
		}
	}
}

// Chunks that need too much memory together are read one after another.
func TestDecodersAreBounded(t *testing.T) {
	var b bytes.Buffer
	w, _ := zstd.NewWriter(&b, zstd.WithWindowSize(4<<20))
	io.CopyN(w, &pattern{}, 4<<20)
	w.Close()
	for across, want := range map[int64]string{4: "*zarr.together", 20: "*zarr.panel"} {
		doc := fmt.Sprintf(`{"zarr_format":2,"shape":[2,%d],"chunks":[2,2097152],"dtype":"|u1","order":"C","compressor":{"id":"zstd"},"filters":null,"fill_value":null}`, across<<21)
		a, err := Open(everywhere{memory{".zarray": []byte(doc)}, b.Bytes()}, "", Options{Version: 2})
		if err != nil {
			t.Fatal(err)
		}
		r, err := a.Stream(0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%T", r.(*stream).part); got != want {
			t.Errorf("%d chunks across are read as %s, want %s", across, got, want)
		}
		r.Close()
	}
}

func TestVersions(t *testing.T) {
	v2 := []byte(`{"zarr_format":2,"shape":[],"chunks":[],"dtype":"|u1","order":"C","compressor":null,"filters":null,"fill_value":7}`)
	v3 := []byte(`{"zarr_format":3,"node_type":"array","shape":[],"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[]}},` +
		`"chunk_key_encoding":{"name":"default"},"data_type":"uint8","fill_value":8,"codecs":[{"name":"bytes"}]}`)
	for _, tt := range []struct {
		store   memory
		version int
		want    byte
		err     string
	}{
		{memory{"w/.zarray": v2}, 0, 7, ""},
		{memory{"w/zarr.json": v3}, 0, 8, ""},
		{memory{"w/.zarray": v2, "w/zarr.json": v3}, 2, 7, ""},
		{memory{"w/.zarray": v2, "w/zarr.json": v3}, 3, 8, ""},
		{memory{"w/.zarray": v2, "w/zarr.json": v3}, 0, 0, "both .zarray and zarr.json exist"},
		{memory{"w/.zarray": v2}, 3, 0, "no metadata document"},
		{memory{}, 0, 0, "no metadata document"},
	} {
		a, err := Open(tt.store, "w", Options{Version: tt.version})
		if err != nil {
			if tt.err == "" || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("version %d: %v, want %q", tt.version, err, tt.err)
			}
			continue
		}
		if got, err := readFrom(a, 0); err != nil || len(got) != 1 || got[0] != tt.want {
			t.Errorf("version %d: %v, %v", tt.version, got, err)
		}
	}
}

func TestStridedIsOverTheFile(t *testing.T) {
	dir := t.TempDir()
	doc := `{"zarr_format":2,"shape":[2,3],"chunks":[3,4],"dtype":">i2","order":"F","compressor":null,"filters":null,"fill_value":null}`
	os.WriteFile(filepath.Join(dir, ".zarray"), []byte(doc), 0o666)
	os.WriteFile(filepath.Join(dir, "0.0"), make([]byte, 24), 0o666)
	a, err := openDir(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	s, ok, err := tensor.Layout(&tensor.Tensor{DType: a.DType, Shape: a.Shape, Data: a})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok := s.Store.(*os.File); !ok {
		t.Errorf("store is a %T", s.Store)
	}
	if s.Length != 12 || !s.BigEndian || fmt.Sprint(s.View) != "{[2 3] [1 3] 0}" {
		t.Errorf("%+v", s)
	}
}

func TestDirStoreStaysInside(t *testing.T) {
	store := DirStore(os.DirFS("testdata"), "sound")
	defer store.Close()
	for _, key := range []string{"../hostile/expect.json", "/etc/hostname", "v2_null/../values.json", "", "."} {
		if _, ok, err := store.Section(key); err == nil {
			t.Errorf("%q: %v", key, ok)
		}
	}
	if _, ok, err := store.Section("absent/0"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if _, _, err := store.Section("v2_null"); err == nil {
		t.Error("a directory is read as a file")
	}
}

func TestFillValues(t *testing.T) {
	for _, tt := range []struct {
		dtype tensor.DType
		json  string
		want  string // hexadecimal, "" for refused
	}{
		{tensor.F32, "1.5", "0000c03f"}, {tensor.F32, `"NaN"`, "0000c07f"}, {tensor.F32, `"-Infinity"`, "000080ff"},
		{tensor.F32, `"0x7fc00001"`, "0100c07f"}, {tensor.F32, `"0x7fc0"`, ""}, {tensor.F32, "1e39", ""}, {tensor.F32, "true", ""},
		{tensor.F64, "-0.0", "0000000000000080"}, {tensor.BF16, "1", "803f"}, {tensor.BF16, "-2", "00c0"}, {tensor.BF16, "1.00390625", "803f"},
		{tensor.BF16, "1.01171875", "823f"}, {tensor.F16, "65504", "ff7b"}, {tensor.F16, "65536", ""}, {tensor.F16, "6e-8", "0100"},
		{tensor.F8E4M3, "448", "7e"}, {tensor.F8E4M3, `"NaN"`, "7f"}, {tensor.F8E4M3, `"Infinity"`, ""}, {tensor.F8E5M2, `"Infinity"`, "7c"},
		{tensor.F8E4M3FNUZ, "-0.0", "00"}, {tensor.F8E4M3FNUZ, "-1", "c0"}, {tensor.F4Byte, "-6", "0f"}, {tensor.F4Byte, `"NaN"`, ""},
		{tensor.I8, "-128", "80"}, {tensor.I8, "128", ""}, {tensor.I8, "1.5", ""}, {tensor.I16, "3.0", "0300"}, {tensor.U64, "18446744073709551615", "ffffffffffffffff"},
		{tensor.U8, "-1", ""}, {tensor.I4, "7", "07"}, {tensor.I4, "8", ""}, {tensor.I2, "-2", "fe"},
		{tensor.Bool, "true", "01"}, {tensor.Bool, "false", "00"}, {tensor.Bool, "1", ""}, {tensor.C64, "[1.0, 0]", "0000803f00000000"}, {tensor.C64, "1", ""}, {tensor.F32, "[1, 2]", ""},
	} {
		o, err := parseObject([]byte(`{"v": ` + tt.json + `}`))
		if err != nil {
			t.Fatal(err)
		}
		v, _ := o.Get("v")
		got, err := fillBytes(tt.dtype, v)
		if (err != nil) != (tt.want == "") || err == nil && fmt.Sprintf("%x", got) != tt.want {
			t.Errorf("%s %s: %x, %v; want %q", tt.dtype, tt.json, got, err, tt.want)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	var data bytes.Buffer
	w, _ := zstd.NewWriter(&data, zstd.WithEncoderLevel(zstd.SpeedFastest))
	rng := rand.New(rand.NewPCG(1, 1))
	for range 16 << 20 { // as bfloat16 weights are: random fractions, alike exponents
		v := uint16(rng.NormFloat64()*10) ^ 0x3c00
		w.Write([]byte{byte(rng.Uint32()), byte(v >> 8)})
	}
	w.Close()
	store := memory{".zarray": []byte(`{"zarr_format":2,"shape":[16777216],"chunks":[16777216],"dtype":"bfloat16","order":"C","compressor":{"id":"zstd"},"filters":null,"fill_value":null}`), "0": data.Bytes()}
	a, err := Open(store, "", Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(a.size)
	for b.Loop() {
		r, err := a.Stream(0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}

// A chunk that is longer than its elements is not decoded to its end before it is refused.
func TestLongerChunkStops(t *testing.T) {
	store := largeChunk(t, 64, "C")
	store[".zarray"] = []byte(strings.ReplaceAll(string(store[".zarray"]), "[64,1048576]", "[1,1048576]"))
	a, err := Open(store, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Stream(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	seen := int64(0)
	s := &prefixWriter{w: io.Discard, left: 10, most: 100}
	for err == nil && seen < 1000 {
		_, err = s.Write(make([]byte, 50))
		seen += 50
	}
	if err != errTooLong || seen != 150 {
		t.Errorf("writer of 100 bytes took %d: %v", seen, err)
	}
	if _, err := io.Copy(io.Discard, r); err == nil || !strings.Contains(err.Error(), "more than its") && !strings.Contains(err.Error(), "claims") {
		t.Errorf("chunk of 64 times its bytes: %v", err)
	}
}
