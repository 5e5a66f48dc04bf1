package golden

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/reference"
)

// recordings are the committed ones of the real implementations.
func recordings(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "..", "testdata", "*", "golden", "*.safetensors"))
	if err != nil || len(found) < 10 {
		t.Fatal(err, len(found), "recordings")
	}
	return found
}

// Recordings of the real implementations open, whatever they lack.
func TestOpen(t *testing.T) {
	want := map[string]reference.Semantics{"jax": reference.Original, "torch": reference.Original,
		"hf4": reference.Transformers4, "hf5": reference.Transformers5}
	for _, path := range recordings(t) {
		f, err := Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		name := filepath.Base(path[:len(path)-len(".safetensors")])
		if f.Meta.Semantics != want[name] || f.Meta.Implementation == "" || len(f.Meta.Versions) < 2 {
			t.Errorf("%s: metadata are %+v", path, f.Meta)
		}
		if (f.Decode != nil) != (name == "jax") || (f.Pass("packed") != nil) != (name != "torch") {
			t.Errorf("%s: passes are %v, decoding %v", path, f.Passes, f.Decode)
		}
		p := f.Pass("")
		names := p.Names()
		if names[0] != "hidden.0" || !slices.Equal(names[len(names)-2:], []string{"final_norm", "logits"}) {
			t.Errorf("%s: results are %v", path, names)
		}
		if p.Positions[p.Length] != 0 || p.Positions[p.Length-1] != int32(p.Length-1) {
			t.Errorf("%s: positions are %v", path, p.Positions)
		}
		whole, err := p.Read("logits")
		if err != nil {
			t.Fatal(err)
		}
		row := make([]float32, p.Width("logits"))
		if err := p.ReadAt(row, "logits", 3*len(row)); err != nil || !slices.Equal(row, whole.Float32[3*len(row):][:len(row)]) {
			t.Errorf("%s: the logits of token 3 are %v, %v", path, row, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// written is a fixture that a test makes up.
type written struct {
	meta    map[string]string
	tensors map[string][]int64 // shapes; tokens and positions are int32, all else float32
	value   uint32             // of every element, as it is stored
}

// sound is what others are made of: two rows of three tokens.
func sound() *written {
	return &written{
		meta: map[string]string{"implementation": "griffin", "griffin": "devel", "dtype": "bfloat16", "semantics": "transformers4", "decode_start": "2",
			"backend": "cpu", "precision": "highest", "model_digest": "flax sha256:00"},
		tensors: map[string][]int64{"tokens": {2, 3}, "positions": {2, 3}, "logits": {2, 3, 5}, "hidden.0": {2, 3, 4}, "hidden.1": {2, 3, 4},
			"temporal.0": {2, 3, 4}, "final_norm": {2, 3, 4}, "decode.logits": {2, 2, 5}, "packed.positions": {2, 3}, "packed.logits": {2, 3, 5}, "other": {9}},
	}
}

// write writes it, by package safetensors.
func (w *written) write(t testing.TB) string {
	t.Helper()
	var specs []tensor.Spec
	for name, shape := range w.tensors {
		dtype := tensor.F32
		if strings.HasSuffix(name, "tokens") || strings.HasSuffix(name, "positions") {
			dtype = tensor.I32
		}
		if name == "float16" {
			name, dtype = "logits", tensor.F16
		}
		specs = append(specs, tensor.Spec{Name: name, DType: dtype, Shape: shape})
	}
	layout, err := safetensors.NewLayout(specs, 0, w.meta)
	if err != nil {
		t.Fatal(err)
	}
	file := layout.Files[0]
	content := layout.Header(0)
	for int64(len(content)) < file.Size {
		content = binary.LittleEndian.AppendUint32(content, w.value)
	}
	path := filepath.Join(t.TempDir(), "golden.safetensors")
	if err := os.WriteFile(path, content[:file.Size], 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string) *Fixture {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestMeta(t *testing.T) {
	f := open(t, sound().write(t))
	want := Meta{Implementation: "griffin", Versions: map[string]string{"griffin": "devel"}, DType: "bfloat16", Precision: reference.BFloat16,
		Semantics: reference.Transformers4, DecodeStart: 2, Backend: "cpu", Flags: map[string]string{"precision": "highest"}, ModelDigest: "flax sha256:00"}
	if !reflect.DeepEqual(f.Meta, want) {
		t.Errorf("%+v", f.Meta)
	}
	if got := f.Pass("").Names(); !slices.Equal(got, []string{"hidden.0", "temporal.0", "hidden.1", "final_norm", "logits"}) {
		t.Errorf("%q", got)
	}
	if got := f.Pass("packed").Names(); !slices.Equal(got, []string{"logits"}) || f.Decode == nil || f.Decode.Start != 2 || f.Decode.Length != 2 {
		t.Errorf("%q, %v", got, f.Decode)
	}
	if _, err := f.Pass("").Read("hidden.7"); err == nil {
		t.Error("what is not there was read")
	}
}

// What is no fixture, or a broken one, is refused as bad input that names the file.
func TestOpenRefuses(t *testing.T) {
	without := func(names ...string) func(*written) {
		return func(w *written) {
			for _, name := range names {
				delete(w.tensors, name)
			}
		}
	}
	shape := func(name string, shape ...int64) func(*written) {
		return func(w *written) { w.tensors[name] = shape }
	}
	meta := func(key, value string) func(*written) { return func(w *written) { w.meta[key] = value } }
	for _, tt := range []struct {
		want  string
		spoil func(*written)
	}{
		{"no known implementation", func(w *written) { w.meta = nil }},
		{"no known implementation", meta("implementation", "llama.cpp")},
		{"dtype", meta("dtype", "int8")},
		{"semantics", meta("semantics", "mine")},
		{"semantics of transformers \"6.0\" are not known", func(w *written) { w.meta["implementation"], w.meta["transformers"] = "transformers", "6.0" }},
		{"decode_start", meta("decode_start", "two")},
		{"decode_start is 4", meta("decode_start", "4")},
		{"decode_start is 0", func(w *written) { delete(w.meta, "decode_start") }},
		{"[2, 3, channels]", meta("decode_start", "1")},
		{"it has no tokens", without("tokens")},
		{"neither logits nor hidden states", without("logits", "hidden.0", "hidden.1", "temporal.0", "final_norm")},
		{"int32 [batch, length]", shape("tokens", 6)},
		{"griffin reads 1 to", shape("tokens", 2, 0)},
		{"but that of tokens", shape("positions", 3, 3)},
		{"but that of tokens", shape("positions", 2, 2)},
		{"without packed.positions", without("packed.positions")},
		{"not float32 [2, 3, channels]", shape("logits", 2, 4, 5)},
		{"not float32 [2, 3, channels]", shape("hidden.0", 2, 3, 0)},
		{"not float32 [2, 3, channels]", func(w *written) { delete(w.tensors, "logits"); w.tensors["float16"] = []int64{2, 3, 6} }},
		{"channels, but", shape("hidden.1", 2, 3, 6)},
		{"vocabulary", shape("decode.logits", 2, 2, 6)},
		{"is -1", func(w *written) { w.value = math.MaxUint32 }},
		{"there are only 5 logits", func(w *written) { w.value = 5 }},
	} {
		w := sound()
		tt.spoil(w)
		path := w.write(t)
		_, err := Open(path)
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) || bad.File != path {
			t.Errorf("want %q: %v", tt.want, err)
		}
	}
	narrow := sound()
	for name, shape := range narrow.tensors {
		if len(shape) == 3 {
			shape[2] = 1
		}
		narrow.tensors[name] = shape
	}
	if f := open(t, narrow.write(t)); f.Pass("").Width("hidden.0") != 1 || f.Decode.Vocabulary() != 1 {
		t.Error("a model of one channel is not read")
	}
	if _, err := Open(filepath.Join("..", "..", "testdata", "odd-griffin", "hf", "model.safetensors")); err == nil {
		t.Error("weights were taken for a fixture")
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// The names of results are those that a pass gives, in the order of computation.
func TestParseSite(t *testing.T) {
	last := fmt.Sprint(maxTokens)
	names := []string{"hidden.0", "temporal.0", "hidden.1", "temporal.1", "hidden.10", "hidden." + last, "temporal." + last, "final_norm", "logits"}
	for _, name := range names {
		site, index, ok := ParseSite(name)
		if got := (&reference.Observation{Site: site, Index: index}).Name(); !ok || got != name {
			t.Errorf("%s is taken for %s, %v", name, got, ok)
		}
	}
	for _, name := range []string{"hidden", "hidden.", "hidden.-1", "hidden.01", "hidden.+1", "temporal.x", "hidden." + fmt.Sprint(maxTokens+1), "final_norm.0", "logits.0", "tokens", ""} {
		if _, _, ok := ParseSite(name); ok {
			t.Errorf("%q is taken for a result", name)
		}
	}
	sorted := slices.Clone(names)
	slices.Reverse(sorted)
	if slices.SortFunc(sorted, compareSites); !slices.Equal(sorted, names) {
		t.Errorf("sorted: %q", sorted)
	}
}

// A result that needs several reads of the file is read whole, in order.
func TestReadLarge(t *testing.T) {
	const n = 3<<16 + 5
	layout, err := safetensors.NewLayout([]tensor.Spec{{Name: "tokens", DType: tensor.I32, Shape: []int64{1, 1}}, {Name: "logits", DType: tensor.F32, Shape: []int64{1, 1, n}}}, 0, sound().meta)
	if err != nil {
		t.Fatal(err)
	}
	header := layout.Header(0)
	content := append(header, make([]byte, layout.Files[0].Size-int64(len(header)))...)
	for i := range n {
		binary.LittleEndian.PutUint32(content[layout.Ranges[1].Offset+4*int64(i):], math.Float32bits(float32(i)))
	}
	path := filepath.Join(t.TempDir(), "golden.safetensors")
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	for _, first := range []int{0, 1, 1 << 16} {
		got := make([]float32, n-first)
		if err := f.Pass("").ReadAt(got, "logits", first); err != nil {
			t.Fatal(err)
		}
		for i, x := range got {
			if x != float32(first+i) {
				t.Fatalf("from %d: element %d is %v", first, first+i, x)
			}
		}
	}
}

// elements are the data of a tensor; reading ends with an error.
type elements struct {
	bytes []byte
	err   error
}

func (e elements) Stream(off int64) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(e.bytes[off:]), iotest.ErrReader(e.err))), nil
}

// Data that ends early is bad input that says how much is missing; a failing read is an error of its own.
func TestReadShort(t *testing.T) {
	failing := errors.New("the disk fails")
	for _, tt := range []struct {
		err  error
		want string
	}{{io.EOF, "data ends 4 bytes short"}, {failing, "the disk fails"}} {
		p := &Pass{tensors: map[string]*tensor.Tensor{"logits": {Name: "logits", DType: tensor.F32, Shape: []int64{1, 1, 3}, Data: elements{make([]byte, 8), tt.err}}}}
		err := p.ReadAt(make([]float32, 3), "logits", 0)
		var bad *tensor.FormatError
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &bad) == errors.Is(err, failing) {
			t.Errorf("%v: %v", tt.err, err)
		}
		if err := p.ReadAt(make([]float32, 2), "logits", 0); err != nil {
			t.Errorf("%v: what is there: %v", tt.err, err)
		}
	}
}

func TestReadTokens(t *testing.T) {
	w := &written{tensors: map[string][]int64{"tokens": {2, 3}}, value: 7}
	got, err := ReadTokens(w.write(t))
	want := &Tokens{Batch: 2, Length: 3, IDs: []int32{7, 7, 7, 7, 7, 7}, Positions: []int32{0, 1, 2, 0, 1, 2}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	w.tensors["packed.positions"], w.tensors["positions"] = []int64{2, 3}, []int64{2, 3}
	want.Positions, want.Packed = want.IDs, want.IDs
	if got, err = ReadTokens(w.write(t)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, shape := range [][]int64{{3, 3}, {2, 2}} {
		w.tensors["positions"] = shape
		if _, err := ReadTokens(w.write(t)); err == nil {
			t.Errorf("positions of the shape %d were read", shape)
		}
	}
	delete(w.tensors, "tokens")
	if _, err := ReadTokens(w.write(t)); err == nil {
		t.Error("a file without tokens was read")
	}
}

// A file of tokens has at most maxTokens.
func TestReadManyTokens(t *testing.T) {
	for n, want := range map[int64]bool{maxTokens: true, maxTokens + 1: false} {
		layout, err := safetensors.NewLayout([]tensor.Spec{{Name: "tokens", DType: tensor.I32, Shape: []int64{1, n}}}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "tokens.safetensors")
		if err := errors.Join(os.WriteFile(path, layout.Header(0), 0o666), os.Truncate(path, layout.Files[0].Size)); err != nil {
			t.Fatal(err)
		}
		if tokens, err := ReadTokens(path); (err == nil) != want || err == nil && tokens.Length != int(n) {
			t.Errorf("%d tokens: %v", n, err)
		}
	}
}

// TestReadInt64Tokens: tokens may be int64, if they fit into int32.
func TestReadInt64Tokens(t *testing.T) {
	write := func(values ...uint64) string {
		layout, err := safetensors.NewLayout([]tensor.Spec{{Name: "tokens", DType: tensor.I64, Shape: []int64{1, int64(len(values))}}}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		content := layout.Header(0)
		for _, v := range values {
			content = binary.LittleEndian.AppendUint64(content, v)
		}
		path := filepath.Join(t.TempDir(), "tokens.safetensors")
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	want, _ := Row([]int32{7, math.MaxInt32})
	if got, err := ReadTokens(write(7, math.MaxInt32)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []uint64{math.MaxInt32 + 1, 1 << 40, math.MaxUint64} {
		if _, err := ReadTokens(write(7, bad)); err == nil {
			t.Errorf("%d was read", bad)
		}
	}
	many := make([]uint64, 2*piece+3) // they are read in pieces
	for i := range many {
		many[i] = uint64(i)
	}
	got, err := ReadTokens(write(many...))
	if err != nil || len(got.IDs) != len(many) {
		t.Fatal(err)
	}
	for i, id := range got.IDs {
		if int(id) != i {
			t.Fatalf("token %d is %d", i, id)
		}
	}
	many[2*piece+1] = 1 << 40
	if _, err := ReadTokens(write(many...)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("element %d is", 2*piece+1)) {
		t.Errorf("a wrong token far behind: %v", err)
	}
}

// Row takes 1 to maxTokens tokens.
func TestRow(t *testing.T) {
	for n, want := range map[int]bool{0: false, 1: true, maxTokens: true, maxTokens + 1: false} {
		row, err := Row(make([]int32, n))
		if (err == nil) != want || err == nil && (row.Batch != 1 || row.Length != n || row.Positions[n-1] != int32(n-1)) {
			t.Errorf("%d tokens: %v", n, err)
		}
	}
}

// The digest of tokens is that of their elements, as it is of a tensor.
func TestTokensDigest(t *testing.T) {
	tokens, err := Row([]int32{4, 8, 15})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tokens.Digest(digest.SHA256).Named(), "sha256:6384639257dca0390864dc6397c1db82a5f24c23e49a999a6079d87712f59950"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRandomTokens(t *testing.T) {
	a, err := RandomTokens(1000, 50, 3)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := RandomTokens(1000, 50, 3)
	c, _ := RandomTokens(1000, 50, 4)
	if !slices.Equal(a.IDs, b.IDs) || slices.Equal(a.IDs, c.IDs) || slices.Min(a.IDs) != 0 || slices.Max(a.IDs) != 49 {
		t.Error("not the same for the same seed, or not of the vocabulary")
	}
	// Published fixtures name a seed, so that the tokens may not change.
	if !slices.Equal(a.IDs[:5], []int32{14, 45, 6, 35, 29}) {
		t.Errorf("tokens are %d", a.IDs[:5])
	}
	for n, want := range map[int]bool{-1: false, 0: false, 1: true, maxRecorded: true, maxRecorded + 1: false} {
		if made, err := RandomTokens(n, 50, 3); (err == nil) != want || err == nil && made.Length != n {
			t.Errorf("%d tokens: %v", n, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, path := range []string{sound().write(f), filepath.Join("..", "..", "testdata", "micro-hawk", "golden", "jax.safetensors")} {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		checkpoint, err := safetensors.Open(fstest.MapFS{"g": {Data: content}}, "g")
		f := &Fixture{checkpoint: checkpoint}
		if err == nil {
			defer f.Close()
			err = f.read()
		}
		var bad *tensor.FormatError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("%T: %v", err, err)
		}
		if err != nil {
			return
		}
		for _, p := range f.Passes {
			for _, name := range p.Names() {
				if _, err := p.Read(name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	})
}

// What could not be read again is not recorded.
func TestLongRecording(t *testing.T) {
	if _, err := RandomTokens(maxRecorded+1, 128, 0); err == nil || !strings.Contains(err.Error(), "a fixture has 1 to 1048576") {
		t.Error(err)
	}
	long, err := Row(make([]int32, maxRecorded+1))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "fixture")
	m := &reference.Model{}
	m.Config.VocabSize = 128
	if _, err := Record(t.Context(), path, m, long, RecordOptions{}); err == nil || !strings.Contains(err.Error(), "a fixture has 1 to 1048576") {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	most, err := Row(make([]int32, maxRecorded))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Record(t.Context(), path, m, most, RecordOptions{DecodeFrom: -1}); err == nil || !strings.Contains(err.Error(), "decoding cannot start") {
		t.Errorf("as many tokens as can be read: %v", err)
	}
}

// A fixture may have fewer tokens than a file of tokens: the values that are compared are in memory.
func TestLongFixture(t *testing.T) {
	c, err := tensor.NewCheckpoint("memory", "memory", []*tensor.Tensor{{Name: "tokens", DType: tensor.I32, Shape: []int64{1, maxRecorded + 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&Fixture{checkpoint: c}).integers("tokens"); err == nil || !strings.Contains(err.Error(), "reads 1 to 1048576") {
		t.Error(err)
	}
}
