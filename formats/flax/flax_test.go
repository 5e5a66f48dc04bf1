package flax

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// array is an expected array of testdata/sound/values.json.
type array struct {
	DType string  `json:"dtype"`
	Shape []int64 `json:"shape"`
	Bytes []byte  `json:"b64"`
}

// expected returns the arrays of values.json by name, and the number of other leaves.
func expected(t *testing.T) (arrays map[string]array, others int) {
	text, err := os.ReadFile("testdata/sound/values.json")
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	arrays = map[string]array{}
	var walk func(name string, v any)
	walk = func(name string, v any) {
		m, ok := v.(map[string]any)
		_, isComplex := m["complex"].([]any)
		switch {
		case !ok || m["bytes_b64"] != nil || isComplex:
			others++
		case m["b64"] != nil:
			var a array
			a.DType = m["dtype"].(string)
			for _, s := range m["shape"].([]any) {
				a.Shape = append(a.Shape, int64(s.(float64)))
			}
			a.Bytes, _ = base64.StdEncoding.DecodeString(m["b64"].(string))
			arrays[name] = a
		default:
			for k, v := range m {
				walk(strings.TrimPrefix(name+"."+k, "."), v)
			}
		}
	}
	walk("", tree)
	return arrays, others
}

func TestSound(t *testing.T) {
	arrays, _ := expected(t)
	for _, name := range []string{"state_plain.msgpack", "state_chunked.msgpack"} {
		t.Run(name, func(t *testing.T) {
			c, err := openPath(filepath.Join("testdata/sound", name))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.Format != Format {
				t.Errorf("format %q", c.Format)
			}
			want := tensor.Detail{Key: "not arrays", Value: "7 scalars, 2 texts, 1 None"}
			if !slices.Contains(c.Details, want) {
				t.Errorf("details %v lack %v", c.Details, want)
			}
			if len(c.Tensors()) != len(arrays) {
				t.Errorf("%d tensors, want %d", len(c.Tensors()), len(arrays))
			}
			for _, x := range c.Tensors() {
				a := arrays[x.Name]
				if x.DType.String() != a.DType || !slices.Equal(x.Shape, a.Shape) {
					t.Errorf("%s is %s %v, want %s %v", x.Name, x.DType, x.Shape, a.DType, a.Shape)
				}
				for off := range len(a.Bytes) + 1 {
					r, err := x.Data.Stream(int64(off))
					if err != nil {
						t.Fatal(err)
					}
					if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, a.Bytes[off:]) {
						t.Fatalf("%s from %d: %x %v, want %x", x.Name, off, got, err, a.Bytes[off:])
					}
				}
			}
		})
	}
}

// Only what is split in the file has no layout of its own.
func TestLayout(t *testing.T) {
	for name, split := range map[string]string{"state_plain.msgpack": "", "state_chunked.msgpack": "params.a.big"} {
		c, err := openPath(filepath.Join("testdata/sound", name))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, x := range c.Tensors() {
			s, ok, err := tensor.Layout(x)
			if err != nil || ok == (x.Name == split) {
				t.Errorf("%s: %s has a layout: %v %v", name, x.Name, ok, err)
			}
			if ok {
				if _, isFile := s.Store.(*os.File); !isFile {
					t.Errorf("%s: %s lies in a %T", name, x.Name, s.Store)
				}
			}
		}
	}
}

func TestHostile(t *testing.T) {
	text, err := os.ReadFile("testdata/hostile/expect.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct{ Want string }
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata/hostile", name)
			c, err := openPath(path)
			if err == nil {
				defer c.Close()
			}
			var bad *tensor.FormatError
			switch {
			case err != nil && !errors.As(err, &bad):
				t.Errorf("not a format error: %v", err)
			case want.Want == "reject" && err == nil:
				t.Error("accepted")
			case want.Want == "accept" && err != nil:
				t.Error(err)
			case bad != nil && (bad.File != path || bad.Offset < 0):
				t.Errorf("no place in %q", err)
			}
		})
	}
}

// Each refusal names its cause, so that the hostile files fail for what is wrong with them.
func TestCauses(t *testing.T) {
	for name, want := range map[string]string{
		"array32_huge_count":  "a list of 4294967295 items",
		"bin32_lies":          "binary data of 4294967295 bytes where 2 are left",
		"buffer_long":         "32 bytes for float32 of shape [2, 2], which needs 16",
		"buffer_short":        "12 bytes for float32 of shape [2, 2], which needs 16",
		"chunk_dtype_mix":     "chunk 1 is not a vector of the same dtype",
		"chunk_gap":           "the chunks are not a map of keys 0, 1",
		"chunk_marker_false":  "not a marker",
		"chunk_none":          "the chunks are not a map of keys 0, 1",
		"chunk_short":         "chunks of 8 bytes for float32 of shape [2, 2]",
		"deep_nesting":        "nested more than 512 deep",
		"dtype_object":        `dtype "object"`,
		"dtype_unknown":       `dtype "float33"`,
		"duplicate_keys":      `duplicate key "a"`,
		"empty":               "ends 1 bytes early",
		"ext32_lies":          "an extension of",
		"ext_code_9":          "extension type 9",
		"ext_inner_trailing":  "4 bytes follow the array",
		"ext_inner_two_items": "has 2 items, not 3",
		"key_invalid_utf8":    "not UTF-8",
		"key_is_map":          "key of a map is a map",
		"key_not_string":      "key of a map is an integer",
		"map32_huge_count":    "a map of 4294967295 items",
		"never_used_c1":       "0xc1",
		"shape_huge":          "overflows",
		"shape_negative":      "axis has the size -1",
		"trailing_bytes":      "follow the tree",
	} {
		_, err := openPath(filepath.Join("testdata/hostile", name+".msgpack"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// Values that the samples do not have: each kind of head, and what the tree keeps of it.
func TestHeads(t *testing.T) {
	long := strings.Repeat("x", 70000)
	for _, test := range []struct {
		name, file string
		want       Node
	}{
		{"nil", "\xc0", Node{Kind: Nil}},
		{"true", "\xc3", Node{Kind: Bool, Int: 1}},
		{"negative fixint", "\xff", Node{Kind: Int, Int: -1}},
		{"uint16", "\xcd\x01\x02", Node{Kind: Int, Int: 258}},
		{"uint64 over int64", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Node{Kind: Int, Int: 1<<63 - 1}},
		{"int8", "\xd0\x80", Node{Kind: Int, Int: -128}},
		{"int16", "\xd1\xff\x00", Node{Kind: Int, Int: -256}},
		{"int32", "\xd2\xff\xff\xff\xff", Node{Kind: Int, Int: -1}},
		{"int64", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", Node{Kind: Int, Int: -1 << 63}},
		{"float32", "\xca\x00\x00\x80\x3f", Node{Kind: Float}},
		{"float64", "\xcb\x00\x00\x00\x00\x00\x00\x00\x00", Node{Kind: Float}},
		{"str8", "\xd9\x02hi", Node{Kind: Text, Text: "hi"}},
		{"str32", "\xdb\x00\x00\x00\x02hi", Node{Kind: Text, Text: "hi"}},
		{"long text", "\xdb\x00\x01\x11\x70" + long, Node{Kind: Text}},
		{"bin16", "\xc5\x00\x02hi", Node{Kind: Bytes}},
		{"complex", "\xd7\x02\x92\x01\xca\x00\x00\x00\x00\x00", Node{}},
		{"complex", "\xc7\x07\x02\x92\x01\xca\x00\x00\x00\x00", Node{Kind: Complex}},
		{"list", "\xdc\x00\x02\xc0\x01", Node{Kind: List, Items: []Node{{Kind: Nil}, {Kind: Int, Int: 1}}}},
		{"map", "\xde\x00\x01\xa1k\xc2", Node{Kind: Map, Items: []Node{{Kind: Bool, Key: "k"}}}},
	} {
		got, err := Parse(strings.NewReader(test.file), int64(len(test.file)))
		switch {
		case test.want.Kind == Nil && test.name != "nil":
			if err == nil {
				t.Errorf("%s: accepted %q", test.name, test.file)
			}
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
		case got.Kind != test.want.Kind || got.Int != test.want.Int || got.Text != test.want.Text || len(got.Items) != len(test.want.Items):
			t.Errorf("%s: %+v, want %+v", test.name, *got, test.want)
		}
	}
}

// A file of one-byte values must not cost many times its size in memory.
func TestTreeIsBounded(t *testing.T) {
	zeros := io.NewSectionReader(endless{}, 0, 1<<32)
	for _, head := range []string{"\xdd\x40\x00\x00\x00", "\xdd\x00\x00\x00\x02\xdd\x30\x00\x00\x00"} {
		r := prefixed{head, zeros}
		_, err := Parse(r, 1<<32)
		if err == nil || !strings.Contains(err.Error(), "MiB of memory") {
			t.Errorf("%q: %v", head, err)
		}
	}
}

type endless struct{}

func (endless) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

type prefixed struct {
	head string
	rest io.ReaderAt
}

func (r prefixed) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(r.head)) {
		n = copy(p, r.head[off:])
	}
	m, err := r.rest.ReadAt(p[n:], off+int64(n))
	return n + m, err
}

// Arrays are passed over, not read.
func TestReadsStructureOnly(t *testing.T) {
	const size = 1 << 31
	head := "\x81\xa1a\xc9\x80\x00\x00\x11\x01\x93\x91\xce\x80\x00\x00\x00\xa4int8\xc6\x80\x00\x00\x00"
	c, err := NewReader(prefixed{head, endless{}}, int64(len(head))+size)
	if err != nil {
		t.Fatal(err)
	}
	if x := c.Tensor("a"); x == nil || x.Bytes() != size {
		t.Errorf("tensor %+v", x)
	}
}

// Errors of the device stay as they are: they say nothing about the format.
func TestReadError(t *testing.T) {
	broken := errors.New("device is gone")
	_, err := NewReader(failing{broken}, 100)
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	var bad *tensor.FormatError
	if errors.As(err, &bad) {
		t.Errorf("a read error became %v", bad)
	}
	if _, err := NewReader(strings.NewReader("\x81"), 100); !errors.As(err, &bad) {
		t.Errorf("a file that has become shorter: %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) {
	_, err := iotest.ErrReader(f.err).Read(nil)
	return 0, err
}

func TestCollision(t *testing.T) {
	leaf := "\xc7\x0c\x01\x93\x91\x01\xa5uint8\xc4\x01\x07"
	file := "\x82\xa3a.b" + leaf + "\xa1a\x81\xa1b" + leaf
	_, err := NewReader(strings.NewReader(file), int64(len(file)))
	if err == nil || !strings.Contains(err.Error(), `tensor "a.b": two tensors of one name`) {
		t.Errorf("%v", err)
	}
}

// A marker that is not true is no split array, whatever else is there.
func TestFalseMarker(t *testing.T) {
	file := "\x83\xb9" + chunkedMarker + "\xc2\xa5shape\x81\xa10\x01\xa6chunks\x81\xa10\xc7\x0c\x01\x93\x91\x01\xa5uint8\xc4\x01\x07"
	for marker, want := range map[string]string{"\xc2": "not a marker", "\xc3": ""} {
		file := strings.Replace(file, "\xc2", marker, 1)
		_, err := NewReader(strings.NewReader(file), int64(len(file)))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("marker %x: %v", marker, err)
		}
	}
}

// Flax joins the chunks of arrays in maps, and neither splits nor joins those in lists.
func TestChunkedInList(t *testing.T) {
	chunked := "\x83\xb9" + chunkedMarker + "\xc3\xa5shape\x81\xa10\x01\xa6chunks\x81\xa10\xc7\x0c\x01\x93\x91\x01\xa5uint8\xc4\x01\x07"
	for file, want := range map[string]bool{"\x81\xa1a" + chunked: true, "\x81\xa1a\x91" + chunked: false, "\x91\x81\xa1a" + chunked: false} {
		_, err := NewReader(strings.NewReader(file), int64(len(file)))
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "in a list") {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestDetect(t *testing.T) {
	for head, want := range map[string]bool{
		"":                                    false,
		"\x80\x02\x8a\x0a":                    false, // a torch pickle
		"\x81\xa6params":                      true,
		"\x8f\xd9\x50key":                     true,
		"\xde\x00\x12\xa1a":                   true,
		"\xdf\x00\x01\x00\x00\xa1a":           true,
		"\x81\x07":                            false,
		"PK\x03\x04":                          false,
		"\x88\x03\x00\x00\x00\x00\x00\x00{\"": false, // safetensors
	} {
		if Detect([]byte(head)) != want {
			t.Errorf("%q: %v", head, !want)
		}
	}
}

func FuzzMsgpack(f *testing.F) {
	for _, pattern := range []string{"testdata/sound/*.msgpack", "testdata/hostile/*.msgpack"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			var bad *tensor.FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("not a format error: %v", err)
			}
			return
		}
		for _, x := range c.Tensors() {
			r, err := x.Data.Stream(0)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != x.Bytes() {
				t.Fatalf("%s: %d bytes, %v", x.Name, n, err)
			}
		}
	})
}

// Chunk "10" comes after "9", in whatever order the file has them.
func TestChunkOrder(t *testing.T) {
	var want []byte
	file := "\x83\xb9" + chunkedMarker + "\xc3\xa5shape\x82\xa10\x03\xa11\x04\xa6chunks\x8c"
	for _, i := range []int{0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9} {
		key := strconv.Itoa(i)
		file += string([]byte{byte(0xa0 + len(key))}) + key + "\xc7\x0b\x01\x93\x91\x01\xa4int8\xc4\x01" + string(rune(i))
	}
	for i := range 12 {
		want = append(want, byte(i))
	}
	c, err := NewReader(strings.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := c.Tensor("array").ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x %v, want %x", got, err, want)
	}
}

// openPath opens a checkpoint of the local file system.
func openPath(path string) (*tensor.Checkpoint, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return Open(source, name)
}
