package manifest_test

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
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
		{"another program's", `{"converted": true}`, false, false},
		{"no object", `[]`, false, false},
		{"no version", `{"griffin": "", "tensors": null}`, false, false},
		{"other types", `{"tensors": "none"}`, false, false},
		{"wrong types", `{"griffin": "v1", "tensors": {"a": 1}}`, false, true},
		{"truncated", `{"griffin": "v1", "tensors": [`, false, true},
		{"empty", ``, false, true},
		{"deep", strings.Repeat(`[`, 20_000), false, true},
		{"a key twice", `{"griffin": "v1", "griffin": "v1"}`, false, true},
		{"many tensors", `{"griffin": "v1", "tensors": [` + list("{}", 400_000) + `]}`, true, false},
		{"more tensors than memory", `{"griffin": "v1", "tensors": [` + list("{}", 420_000) + `]}`, false, true},
		{"more parts than memory", `{"griffin": "v1", "tensors": [{"from": [` + list("null", 420_000) + `]}]}`, false, true},
		{"more axes than memory", `{"griffin": "v1", "tensors": [{"shape": [` + list("1", 8_400_000) + `]}]}`, false, true},
		{"long", strings.Repeat(" ", 16<<20+1), false, true},
	} {
		m, err := manifest.Parse([]byte(tt.text))
		if (m != nil) != tt.found || errors.As(err, new(*tensor.FormatError)) != tt.bad || (err != nil) != tt.bad {
			t.Errorf("%s: %v, %v", tt.name, m, err)
		}
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
}

// FuzzParse: any text is a manifest that can be written and parsed again, no manifest, or a
// *tensor.FormatError.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"griffin": "1", "layout": "huggingface", "settings": {"attention_window": 8}, "huggingface": {"match_runtime": "transformers5", "attention_window_size": 9}}`))
	f.Add([]byte(`{"griffin": 7}`))
	f.Add([]byte(`{"tensors": "none"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := manifest.Parse(text)
		if err != nil && !errors.As(err, new(*tensor.FormatError)) {
			t.Fatal(err)
		}
		if m == nil {
			return
		}
		again, err := m.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := manifest.Parse(again); err != nil || back == nil {
			t.Fatalf("%v: %s", err, again)
		}
	})
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
