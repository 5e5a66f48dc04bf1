package manifest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

func TestFloat(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0.0", 30: "30.0", 1e-6: "1e-06", 0.4: "0.4", 2.0 / 26: "0.07692307692307693", 1e6: "1000000.0", 1e16: "1e+16", 1e15: "1000000000000000.0",
		0.0001: "0.0001", 0.00001: "1e-05", -2.5: "-2.5", math.MaxFloat64: "1.7976931348623157e+308", 5e-324: "5e-324", 123456789.125: "123456789.125",
	} {
		if got, err := manifest.Float(x).MarshalJSON(); err != nil || string(got) != want {
			t.Errorf("%g: %s, %v; want %s", x, got, err, want)
		}
	}
	if _, err := manifest.Float(math.Inf(1)).MarshalJSON(); err == nil {
		t.Error("infinity is JSON")
	}
}

func TestParse(t *testing.T) {
	list := func(item string, n int) string { return strings.Repeat(item+",", n-1) + item }
	for _, tt := range []struct {
		name, text string
		found, bad bool
	}{
		{"manifest", `{"griffin": "v1", "layout": "flax", "tensors": []}`, true, false},
		{"unknown fields", `{"griffin": "v1", "more": [1]}`, true, false},
		{"settings", `{"griffin": "v1", "settings": {"attention_window": 8, "logits_soft_cap": 0.0, "embedding_scale": false}}`, true, false},
		{"no settings", `{"griffin": "v1", "settings": null}`, true, false},
		{"settings without a window", `{"griffin": "v1", "settings": {"logits_soft_cap": 30.0, "embedding_scale": true}}`, false, true},
		{"settings without a soft cap", `{"griffin": "v1", "settings": {"attention_window": 8, "embedding_scale": true}}`, false, true},
		{"settings of which one is null", `{"griffin": "v1", "settings": {"attention_window": 8, "logits_soft_cap": 30.0, "embedding_scale": null}}`, false, true},
		{"another program's settings", `{"settings": {"attention_window": 8}}`, false, false},
		{"another program's", `{"converted": true}`, false, false},
		{"no object", `[]`, false, false},
		{"no version", `{"griffin": "", "tensors": null}`, false, false},
		{"other types", `{"tensors": "none"}`, false, false},
		{"wrong types", `{"griffin": "v1", "tensors": {"a": 1}}`, false, true},
		{"truncated", `{"griffin": "v1", "tensors": [`, false, true},
		{"empty", ``, false, true},
		{"deep", strings.Repeat(`[`, 20_000), false, true},
		{"a key twice", `{"griffin": "v1", "griffin": "v1"}`, false, true},
		{"many tensors", `{"griffin": "v1", "tensors": [` + list("{}", 200_000) + `]}`, true, false},
		{"more tensors", `{"griffin": "v1", "tensors": [` + list("{}", 200_001) + `]}`, false, true},
		{"many parts", `{"griffin": "v1", "tensors": [{"from": [` + list("null", 6_000) + `]}, {"from": [` + list("null", 6_000) + `]}]}`, true, false},
		{"more parts than memory", `{"griffin": "v1", "tensors": [{"from": [` + list("null", 7_000) + `]}]}`, false, true},
		{"more axes than memory", `{"griffin": "v1", "tensors": [{"shape": [` + list("1", 140_000) + `]}]}`, false, true},
		{"more names than memory", `{"griffin": "v1", "tensors": [{"from": [` + list(`{"name": "`+strings.Repeat("x", 60_000)+`"}`, 20) + `]}]}`, false, true},
		{"many files", `{"griffin": "v1", "files": [` + list("{}", 100_000) + `]}`, true, false},
		{"more files than memory", `{"griffin": "v1", "files": [` + list("{}", 110_000) + `]}`, false, true},
		{"more text than memory", `{"griffin": "v1", "more": [` + list(`"`+strings.Repeat("x", 60_000)+`"`, 150) + `]}`, false, true},
		{"more text than memory in two members", `{"griffin": "v1", "a": [` + list(`"`+strings.Repeat("x", 60_000)+`"`, 80) + `], "b": [` + list(`"`+strings.Repeat("x", 60_000)+`"`, 80) + `]}`, false, true},
		{"many numbers", `{"griffin": "v1", "more": [` + list("1", 2_000_000) + `]}`, true, false},
		{"more numbers than memory", `{"griffin": "v1", "more": [` + list("1", 2_200_000) + `]}`, false, true},
		{"many that were left out", `{"griffin": "v1", "left": [` + list(`"`+strings.Repeat("x", 60_000)+`"`, 150) + `], "copies": [` + list("{}", 400_000) + `]}`, true, false},
		{"no tensors", `{"griffin": "v1", "tensors": null}`, true, false},
		{"a tensor that is no object", `{"griffin": "v1", "tensors": [1]}`, false, true},
		{"a name that is no text", `{"griffin": "v1", "tensors": [{"name": 1}]}`, false, true},
		{"an axis that is no number", `{"griffin": "v1", "tensors": [{"shape": [2, "1"]}]}`, false, true},
		{"an axis that is no integer", `{"griffin": "v1", "tensors": [{"from": [{"shape": [1.5]}]}]}`, false, true},
		{"a divisor that is too large", `{"griffin": "v1", "tensors": [{"divided_by": 1e999}]}`, false, true},
		{"a flag that is no flag", `{"griffin": "v1", "tensors": [{"origin": [{"rounded": 0}]}]}`, false, true},
		{"nothing of many kinds", `{"griffin": "v1", "tensors": [null, {"name": null, "shape": null, "from": [null, {"rounded": null}], "divided_by": null, "x": {}}]}`, true, false},
		{"another program's of other kinds", `{"tensors": [1, {"name": {}}]}`, false, false},
		{"long", strings.Repeat(" ", 16<<20+1), false, true},
	} {
		m, err := manifest.Parse([]byte(tt.text))
		if (m != nil) != tt.found || errors.As(err, new(*tensor.FormatError)) != tt.bad || (err != nil) != tt.bad {
			t.Errorf("%s: %v, %v", tt.name, m, err)
		}
	}
	if m, err := manifest.Parse(nil); m != nil || !errors.As(err, new(*tensor.FormatError)) {
		t.Errorf("nothing: %v, %v", m, err)
	}
}

// TestRead has the manifest in a directory, beside a file, beside the file to which a link leads, and
// in the Hugging Face directory of a file.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("hf/model.safetensors", "")
	write("hf/conversion.json", `{"griffin": "in hf", "layout": "huggingface"}`)
	write("orbax/array", "")
	write("orbax/conversion.json", `{"griffin": "in orbax", "layout": "flax"}`)
	write("torch/model.pt", "")
	write("torch/model.pt.conversion.json", `{"griffin": "beside model.pt"}`)
	write("broken/conversion.json", `{`)
	write("pipe/conversion.json/file", ``)
	if err := os.Symlink(filepath.Join("torch", "model.pt"), filepath.Join(dir, "link.pt")); err != nil {
		t.Skip(err)
	}
	for checkpoint, want := range map[string]string{
		"hf": "in hf", "hf/model.safetensors": "in hf", "orbax": "in orbax", "orbax/array": "", "torch": "",
		"torch/model.pt": "beside model.pt", "link.pt": "beside model.pt", "pipe": "", "none": "",
	} {
		m, path, err := manifest.Read(storage.Local(dir), checkpoint)
		if err != nil || (m != nil) != (want != "") || m != nil && (m.Griffin != want || filepath.Ext(path) != ".json") {
			t.Errorf("%s: %+v at %q, %v", checkpoint, m, path, err)
		}
	}
	var bad *tensor.FormatError
	if _, _, err := manifest.Read(storage.Local(dir), "broken"); !errors.As(err, &bad) || filepath.Base(bad.File) != manifest.Name {
		t.Errorf("a truncated manifest: %v", err)
	}
	remote := fstest.MapFS{"model.pt": {}, "model.pt.conversion.json": {Data: []byte(`{"griffin": "beside model.pt"}`)}}
	if m, path, err := manifest.Read(remote, "model.pt"); err != nil || m == nil || path != "model.pt.conversion.json" {
		t.Errorf("of a source that is not local: %+v at %q, %v", m, path, err)
	}
}

// FuzzParse: any text is a manifest that can be written and parsed again, no manifest, or a
// *tensor.FormatError.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"griffin": "1", "layout": "huggingface", "settings": {"attention_window": 8, "logits_soft_cap": 30, "embedding_scale": true}, "huggingface": {"match_runtime": "transformers5", "attention_window_size": 9}}`))
	f.Add([]byte(`{"griffin": 7}`))
	f.Add([]byte(`{"tensors": "none"}`))
	f.Add([]byte(`{"griffin": "1", "adapter": {"files": [{"sha256": "1"}]}, "tensors": [{"name": "a", "shape": [2], "blake3": "0", "from": [{"name": "b", "sha256": "1"}], "divided_by": 2}, null], "files": []}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := manifest.Parse(text)
		if err != nil && !errors.As(err, new(*tensor.FormatError)) {
			t.Fatal(err)
		}
		if m == nil {
			return
		}
		again, err := (&manifest.Manifest{Head: m.Head, Tensors: tensorsOf(t, m), Files: m.Files}).JSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := manifest.Parse(again)
		if err != nil || back == nil || back.Algorithms() != m.Algorithms() {
			t.Fatalf("%v: %s", err, again)
		}
		if got := tensorsOf(t, back); !reflect.DeepEqual(got, tensorsOf(t, m)) {
			t.Fatalf("%+v, written as %s", got, again)
		}
	})
}

// tensorsOf returns the tensors of a record. It reads them in turn and one by one.
func tensorsOf(t *testing.T, r *manifest.Record) (all []manifest.Tensor) {
	t.Helper()
	file, err := r.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	err = r.Each(func(at manifest.Span, x *manifest.Tensor) error {
		alone, err := file.At(at)
		if err == nil && fmt.Sprint(*alone) != fmt.Sprint(*x) {
			t.Errorf("%+v, by itself %+v", *x, *alone)
		}
		all = append(all, *alone)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A long record is read in its file: all fields of all tensors, and the hash functions of their digests.
func TestLongRecord(t *testing.T) {
	sum := digest.Sum{BLAKE3: strings.Repeat("a", 64)}
	m := &manifest.Manifest{Head: manifest.Head{Griffin: "test", Layout: "torch"}, Files: []manifest.OutputFile{{Name: "f", Bytes: 7}}, Left: []string{"x"}}
	for i := range 3000 {
		name := fmt.Sprint("tensor ", i, " ", strings.Repeat("ä", 20))
		m.Tensors = append(m.Tensors, manifest.Tensor{Name: name, DType: "float32", Shape: []int64{int64(i), 2}, Sum: sum, Rule: "copy", DividedBy: 1.5,
			From: []manifest.Part{{Name: "of " + name, DType: "float16", Shape: []int64{4}, Sum: sum}}, Origin: []manifest.Part{{Name: "o", Rounded: true}}})
	}
	m.Tensors[2999].SHA256 = strings.Repeat("b", 64)
	content, err := m.JSON()
	if err != nil || len(content) < 1<<20 {
		t.Fatal(len(content), err)
	}
	path := filepath.Join(t.TempDir(), manifest.Name)
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	source := storage.Local(filepath.Dir(path))
	r, at, err := manifest.Read(source, ".")
	if err != nil || at != path || r.Layout != "torch" || len(r.Files) != 1 || r.TensorAlgorithms() != digest.BLAKE3|digest.SHA256 {
		t.Fatalf("%+v, %s, %v", r, at, err)
	}
	var want struct{ Tensors []manifest.Tensor }
	if err := json.Unmarshal(content, &want); err != nil {
		t.Fatal(err)
	}
	if got := tensorsOf(t, r); fmt.Sprint(got) != fmt.Sprint(want.Tensors) || len(got) != 3000 {
		t.Errorf("%d tensors, not those that were written", len(got))
	}
	// A file that is another meanwhile is an error that names it.
	var last manifest.Span
	if err := r.Each(func(at manifest.Span, _ *manifest.Tensor) error { last = at; return nil }); err != nil {
		t.Fatal(err)
	}
	var bad *tensor.FormatError
	shorter := regexp.MustCompile(`,\s*"rule": "copy"`).ReplaceAllFunc(content, func(s []byte) []byte { return fmt.Appendf(nil, "}%*s", len(s)-1, "") })
	for what, content := range map[string][]byte{"a tensor of fewer fields": shorter, "half of the file": content[:len(content)/2]} {
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
		file, err := r.Open()
		if err != nil {
			t.Fatal(err)
		}
		if x, err := file.At(last); !errors.As(err, &bad) || bad.File != path {
			t.Errorf("%s: %+v, %v", what, x, err)
		}
		file.Close()
	}
	if err := os.WriteFile(path, content[:len(content)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	if err := r.Each(func(manifest.Span, *manifest.Tensor) error { return nil }); !errors.As(err, &bad) || bad.File != path {
		t.Errorf("half of the file: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := r.Each(func(manifest.Span, *manifest.Tensor) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// A file that is larger than any record is not read.
func TestRecordTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), manifest.Name)
	if err := os.WriteFile(path, []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int64]tensor.Reason{512 << 20: "", 512<<20 + 1: tensor.TooLarge} {
		if err := os.Truncate(path, size); err != nil { // a sparse file of zeros
			t.Skip(err)
		}
		if _, _, err := manifest.Read(storage.Local(filepath.Dir(path)), "."); err == nil || tensor.ReasonOf(err) != want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// sequential is a source whose files can be read once, from their beginning to their end.
type sequential struct{ fs.FS }

func (s sequential) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	if file, ok := f.(storage.File); ok && err == nil {
		return sequentialFile{file}, nil
	}
	return f, err
}

type sequentialFile struct{ storage.File }

func (sequentialFile) Sequential() bool { return true }

// Of a server that sends whole files only, a record is read that fits into memory.
func TestSequentialRecord(t *testing.T) {
	const long = `{"griffin": "v1", "tensors": [{"name": "a"}]}`
	for size, reason := range map[int]tensor.Reason{16 << 20: "", 16<<20 + 1: tensor.TooLarge} {
		files := fstest.MapFS{"conversion.json": {Data: []byte(long + strings.Repeat(" ", size-len(long)))}}
		r, _, err := manifest.Read(sequential{files}, ".")
		if (r == nil) != (reason != "") || tensor.ReasonOf(err) != reason {
			t.Fatalf("%d bytes: %v, %v", size, r, err)
		}
		if r != nil {
			files["conversion.json"].Data = nil // it is not read again
			if all := tensorsOf(t, r); len(all) != 1 || all[0].Name != "a" {
				t.Errorf("%+v", all)
			}
		}
		if r, _, err := manifest.Read(files, "."); size > 16<<20 && (err != nil || len(tensorsOf(t, r)) != 1) {
			t.Errorf("%d bytes of a file that can be read anywhere: %v", size, err)
		}
	}
}

// waiting is a source that answers no question about a record before all are asked.
type waiting struct {
	fs.FS
	asked *sync.WaitGroup
	names *sync.Map
}

func (w waiting) Stat(name string) (fs.FileInfo, error) {
	if strings.HasSuffix(name, manifest.Name) {
		if _, again := w.names.LoadOrStore(name, true); !again {
			w.asked.Done()
		}
		w.asked.Wait()
	}
	return fs.Stat(w.FS, name)
}

// A source that is not local is asked at once for the records that a file may have.
func TestReadAsksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &sync.WaitGroup{}
		asked.Add(2)
		source := waiting{fstest.MapFS{"dir/model.pt": {}}, asked, &sync.Map{}}
		if m, _, err := manifest.Read(source, "dir/model.pt"); m != nil || err != nil {
			t.Errorf("%v, %v", m, err)
		}
	})
}
