package safetensors

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(path, err)
	}
}

// Files that the Rust library wrote hold what it says they do.
func TestReadSamples(t *testing.T) {
	var samples map[string]map[string]struct {
		DType string
		Shape []int64
		B64   string
	}
	readJSON(t, "testdata/values.json", &samples)
	for file, tensors := range samples {
		c, err := openPath("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if len(c.Tensors()) != len(tensors) {
			t.Errorf("%s: %d tensors, want %d", file, len(c.Tensors()), len(tensors))
		}
		for name, want := range tensors {
			x := c.Tensor(name)
			if x == nil {
				t.Errorf("%s: no tensor %q", file, name)
				continue
			}
			if want.DType == "F4" {
				want.DType, want.Shape[len(want.Shape)-1] = "", want.Shape[len(want.Shape)-1]/2
			}
			if x.DType.Safetensors() != want.DType || !slices.Equal(x.Shape, want.Shape) {
				t.Errorf("%s: %q is %s%v", file, name, x.DType, x.Shape)
			}
			data, _ := base64.StdEncoding.DecodeString(want.B64)
			for off := range int64(len(data)) + 1 {
				r, err := x.Data.Stream(off)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data[off:]) {
					t.Errorf("%s: %q from %d holds %x, %v; want %x", file, name, off, got, err, data[off:])
				}
			}
		}
	}
}

// Tensors of whole bytes lie in the file, so that they can be mapped and copied.
func TestTensorsLieInTheFile(t *testing.T) {
	c, err := openPath("testdata/all_dtypes.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, x := range c.Tensors() {
		s, ok, err := tensor.Layout(x)
		if err != nil || !ok {
			t.Errorf("%s: %v, %v", x.Name, ok, err)
			continue
		}
		if _, isFile := s.Store.(*os.File); !isFile {
			t.Errorf("%s lies in a %T", x.Name, s.Store)
		}
		if _, n, ok := s.Contiguous(); !ok || n != x.Bytes() {
			t.Errorf("%s: %d contiguous bytes", x.Name, n)
		}
	}
}

// Each hostile file is refused, or not, as a strict reader does.
func TestHostile(t *testing.T) {
	var expect map[string]struct{ Want string }
	readJSON(t, "testdata/hostile/expect.json", &expect)
	// What is wrong, where it is worth pinning.
	problems := map[string]string{
		"bad_alias":                  `tensor "b": data begins at 0, within`,
		"bad_array_header":           "begins with \"[\", not with a brace",
		"bad_bom":                    "not with a brace",
		"bad_dtype":                  `offset 22: tensor "a": unknown dtype "F33"`,
		"bad_dtype_lower":            `unknown dtype "f32"`,
		"bad_empty_file":             "is an empty file",
		"bad_f4_odd":                 "do not fill whole bytes",
		"bad_header_len_past_eof":    "but the file ends",
		"bad_header_len_100m_plus1":  "the format allows 100 MB",
		"bad_header_len_max":         "the format allows 100 MB",
		"bad_hole":                   `tensor "b": data begins at 12, after 4 bytes`,
		"bad_hole_start":             "after 4 bytes",
		"bad_missing_dtype":          "no dtype",
		"bad_missing_shape":          "no shape",
		"bad_offset_huge":            "18446744073709551615 does not fit 63 bits",
		"bad_shape_overflow":         "overflows",
		"bad_shape_overflow_to_zero": "overflows",
		"bad_size_mismatch":          "are not the 12 bytes of F32[3]",
		"bad_three_offsets":          "more than 2 integers",
		"bad_trailing_data":          "9 bytes of data but its tensors end at 8",
		"bad_trailing_nul":           "data after the end of the JSON text",
		"bad_truncated_data":         "data ends at 8 but the file holds 7",
		"dup_inner_key":              `duplicate key "dtype"`,
		"dup_metadata":               `duplicate key "__metadata__"`,
		"dup_tensor_key_same":        `duplicate key "a"`,
		"exp_number":                 "2e0 where a non-negative integer",
	}
	for name, e := range expect {
		c, err := openPath("testdata/hostile/" + name)
		var bad *tensor.FormatError
		switch {
		case err == nil:
			for _, x := range c.Tensors() {
				r, err := x.Data.Stream(0)
				if err != nil {
					t.Fatal(name, err)
				}
				if data, err := io.ReadAll(r); err != nil || int64(len(data)) != x.Bytes() {
					t.Errorf("%s: %d of %d bytes, %v", name, len(data), x.Bytes(), err)
				}
			}
			c.Close()
			if e.Want == "reject" {
				t.Errorf("%s is accepted", name)
			}
		case e.Want == "accept":
			t.Errorf("%s: %v", name, err)
		case !errors.As(err, &bad) || bad.File == "":
			t.Errorf("%s: error without a place: %v", name, err)
		}
		if want := problems[strings.TrimSuffix(name, ".safetensors")]; want != "" && err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
}

// file returns a safetensors file with that header.
func fileOf(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestRead(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for _, tt := range []struct {
		name, header string
		data         int
		problem      string // "" for none
	}{
		{"odd last axis of F4", `{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]}}`, 3, ""},
		{"empty F4", `{"a":{"dtype":"F4","shape":[0],"data_offsets":[0,0]}}`, 0, ""},
		{"scalar F4", `{"a":{"dtype":"F4","shape":[],"data_offsets":[0,0]}}`, 0, "whole bytes"},
		{"empties at one place", `{"a":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"c":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 1, ""},
		{"empty within", `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}`, 2, "within the data"},
		{"no data_offsets", `{"a":{"dtype":"U8","shape":[0]}}`, 0, "two offsets"},
		{"one offset", `{"a":{"dtype":"U8","shape":[0],"data_offsets":[0]}}`, 0, "two offsets"},
		{"no shape but null", `{"a":{"dtype":"U8","shape":null,"data_offsets":[0,0]}}`, 0, "an array is expected"},
		{"case counts", `{"a":{"DType":"U8","shape":[0],"data_offsets":[0,0]}}`, 0, "no dtype"},
		{"escaped member", `{"a":{"dt\u0079pe":"U8","shape":[0],"data_offsets":[0,0]}}`, 0, ""},
		{"leading zero", `{"a":{"dtype":"U8","shape":[00],"data_offsets":[0,0]}}`, 0, "leading zero"},
		{"metadata of numbers", `{"__metadata__":{"a":null}}`, 0, `member "a" of __metadata__ is not a string`},
		{"two dtypes", `{"a":{"dtype":"U8","x":{"y":1,"y":2},"shape":[0],"data_offsets":[0,0]}}`, 0, `duplicate key "y"`},
		{"newline after the header", "{}\n", 0, "other than spaces"},
		{"long name", `{"` + long + `":{}}`, 0, "xxx…\": no dtype"},
		{"long dtype", `{"a":{"dtype":"` + long + `"}}`, 0, "xxx…"},
		{"many axes", `{"a":{"dtype":"U8","shape":[` + strings.Repeat("1,", 64) + `1],"data_offsets":[0,1]}}`, 1, "more than 64 integers"},
	} {
		b := fileOf(tt.header, tt.data)
		f, err := NewReader(bytes.NewReader(b), int64(len(b)))
		switch {
		case tt.problem == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem) || len(err.Error()) > 400):
			t.Errorf("%s: got %v, %v; want %q", tt.name, f, err, tt.problem)
		}
	}
}

// A 4-bit tensor counts pairs where its rows can be cut into them, as in torch.
func TestHalves(t *testing.T) {
	b := fileOf(`{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]},"b":{"dtype":"F4","shape":[3,2],"data_offsets":[3,6]}}`, 6)
	f, err := NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if a := f.Tensors()[0]; a.DType != tensor.F4 || !slices.Equal(a.Shape, []int64{2, 3}) {
		t.Errorf("%s%v", a.DType, a.Shape)
	}
	if b := f.Tensors()[1]; b.DType != tensor.F4x2 || !slices.Equal(b.Shape, []int64{3, 1}) {
		t.Errorf("%s%v", b.DType, b.Shape)
	}
}

func TestHeaderPastTheEnd(t *testing.T) {
	b := fileOf("{}      ", 0)
	for n := range len(b) {
		_, err := NewReader(bytes.NewReader(b[:n]), int64(n))
		if bad, ok := err.(*tensor.FormatError); !ok || n > 8 && !strings.Contains(bad.Problem, "but the file ends") {
			t.Errorf("%d bytes of %d: %v", n, len(b), err)
		}
	}
}

// A header length that the file cannot hold is refused before anything of it is allocated.
func TestClaimedHeaderIsNotAllocated(t *testing.T) {
	b := append(binary.LittleEndian.AppendUint64(nil, maxHeader), "{"...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := NewReader(bytes.NewReader(b), int64(len(b))); err == nil {
		t.Error("accepted")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

func TestDetect(t *testing.T) {
	files, err := filepath.Glob("testdata/hostile/*.safetensors")
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	for _, name := range append(files, "testdata/all_dtypes.safetensors", "testdata/names.safetensors") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		unknown := len(b) < 10 || strings.Contains(name, "header_len_zero")
		if got := Detect(b[:min(16, len(b))], int64(len(b))); got == unknown {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, head := range []string{
		"PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00", "\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", "\x93NUMPY\x01\x00v\x00{'descr'", "GGUF\x03\x00\x00\x00\x00\x00",
		"\x81\xa6params\x81\xa6blocks", `{"a": 1,{`, `{"a_key":{"b":1}}`, "{\n  \"met{data\"", "", "{}", "\x89HDF\r\n\x1a\n\x00\x00", "model_checkpoint_path: ",
	} {
		if Detect([]byte(head), 1<<40) {
			t.Errorf("%q is detected", head)
		}
	}
}

// FuzzReader holds the reader to its promises: it never panics, and what it accepts covers the
// file exactly and can be read.
func FuzzReader(f *testing.F) {
	files, _ := filepath.Glob("testdata/hostile/*.safetensors")
	for _, name := range append(files, "testdata/all_dtypes.safetensors", "testdata/names.safetensors") {
		if b, err := os.ReadFile(name); err == nil && len(b) < 10_000 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		contents, err := NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			var bad *tensor.FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if !Detect(b[:min(16, len(b))], int64(len(b))) {
			t.Fatal("accepted but not detected")
		}
		total := 8 + int64(binary.LittleEndian.Uint64(b))
		var specs []tensor.Spec
		for _, x := range contents.Tensors() {
			r, err := x.Data.Stream(0)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r)
			if err != nil || n != x.Bytes() {
				t.Fatalf("%q: %d of %d bytes, %v", x.Name, n, x.Bytes(), err)
			}
			total += n
			specs = append(specs, tensor.Spec{Name: x.Name, DType: x.DType, Shape: x.Shape})
		}
		if total != int64(len(b)) {
			t.Fatalf("%d of %d bytes are described", total, len(b))
		}
		l, err := NewLayout(specs, 0, contents.Metadata)
		if err != nil {
			t.Fatalf("cannot be written again: %v", err)
		}
		again := l.Header(0)
		again = append(again, make([]byte, l.Files[0].Size-int64(len(again)))...)
		if rewritten, err := NewReader(bytes.NewReader(again), int64(len(again))); err != nil || len(rewritten.Tensors()) != len(specs) {
			t.Fatalf("what is written again cannot be read: %v", err)
		}
	})
}
