package safetensors

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// What NewLayout gives is held against what the real libraries wrote (testdata/generate.py).
func TestLayoutMatchesUpstream(t *testing.T) {
	type file struct {
		Name, Header string
		Size         int64
	}
	var cases map[string]struct {
		Limit   int64
		Tensors []struct {
			Name, DType string
			Shape       []int64
		}
		Files []file
		Index string
	}
	text, err := os.ReadFile("testdata/layouts.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var specs []Spec
			for _, s := range c.Tensors {
				specs = append(specs, Spec{s.Name, tensor.DTypeByName(s.DType), s.Shape})
			}
			l, err := NewLayout(specs, c.Limit, map[string]string{"format": "pt"})
			if err != nil {
				t.Fatal(err)
			}
			if string(l.Index) != c.Index {
				t.Errorf("index:\n%s\nwant:\n%s", l.Index, c.Index)
			}
			if len(l.Files) != len(c.Files) {
				t.Fatalf("%d files, want %d", len(l.Files), len(c.Files))
			}
			for i, want := range c.Files {
				got := l.Files[i]
				if got.Name != want.Name || string(got.Header[8:]) != want.Header || got.Size != want.Size {
					t.Errorf("%s of %d bytes, %s\nwant %s of %d bytes, %s", got.Name, got.Size, got.Header[8:], want.Name, want.Size, want.Header)
				}
			}
		})
	}
}

// copyTensors writes all tensors of c to the places that l has for them.
func copyTensors(t *testing.T, c *tensor.Checkpoint, l *Layout, specs []Spec, dir string) {
	t.Helper()
	w, err := l.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range specs {
		r, err := c.Tensor(s.Name).Data.Stream(0)
		if err != nil {
			t.Fatal(err)
		}
		f, offset, length := w.At(i)
		if n, err := io.Copy(io.NewOffsetWriter(f, offset), r); err != nil || n != length {
			t.Fatalf("%s: %d of %d bytes, %v", s.Name, n, length, err)
		}
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func compareFiles(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("%s differs from upstream's", filepath.Base(want))
	}
}

// A sharded model that transformers saved is read and written again: every file is the same.
func TestRewriteSharded(t *testing.T) {
	const src = "testdata/hf_sharded"
	c, err := openPath(src)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	order, err := os.ReadFile(src + "/state_dict_order.txt")
	if err != nil {
		t.Fatal(err)
	}
	var specs []Spec
	for _, name := range strings.Fields(string(order)) {
		x := c.Tensor(name)
		specs = append(specs, Spec{name, x.DType, x.Shape})
	}
	l, err := NewLayout(specs, 20_000, map[string]string{"format": "pt"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copyTensors(t, c, l, specs, dir)
	for _, name := range []string{IndexName, "model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors",
		"model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors"} {
		compareFiles(t, filepath.Join(dir, name), filepath.Join(src, name))
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 5 {
		t.Errorf("%d files", len(entries))
	}
}

func TestRewriteFile(t *testing.T) {
	for _, name := range []string{"all_dtypes", "names"} {
		src := "testdata/" + name + ".safetensors"
		c, err := openPath(src)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var specs []Spec
		for _, x := range c.Tensors() {
			specs = append([]Spec{{x.Name, x.DType, x.Shape}}, specs...)
		}
		l, err := NewLayout(specs, 0, c.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		copyTensors(t, c, l, specs, dir)
		compareFiles(t, filepath.Join(dir, SingleName), src)
	}
}

func TestLayoutRefuses(t *testing.T) {
	for _, tt := range []struct {
		specs   []Spec
		problem string
	}{
		{[]Spec{{"a", tensor.F32, nil}, {"a", tensor.F32, nil}}, "two tensors of one name"},
		{[]Spec{{"__metadata__", tensor.F32, nil}}, "something else"},
		{[]Spec{{"\xff", tensor.F32, nil}}, "UTF-8"},
		{[]Spec{{"a", tensor.C128, nil}}, "no type for complex128"},
		{[]Spec{{"a", tensor.F4x2, nil}}, "scalar"},
		{[]Spec{{"a", tensor.F4, []int64{3}}}, "whole bytes"},
		{[]Spec{{"a", tensor.F32, []int64{-1}}}, "negative"},
		{[]Spec{{"a", tensor.U8, []int64{1 << 62}}, {"b", tensor.U8, []int64{1 << 62}}}, "overflows"},
	} {
		_, err := NewLayout(tt.specs, 0, nil)
		if err == nil || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%v: %v; want %q", tt.specs, err, tt.problem)
		}
	}
}

// Create neither replaces a file nor leaves one behind when it fails.
func TestCreateLeavesNothing(t *testing.T) {
	specs := []Spec{{"a", tensor.U8, []int64{8}}, {"b", tensor.U8, []int64{8}}}
	l, err := NewLayout(specs, 8, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, IndexName), []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Create(dir); err == nil {
		t.Fatal("Create replaced a file")
	}
	if text, err := os.ReadFile(filepath.Join(dir, IndexName)); err != nil || string(text) != "mine" {
		t.Errorf("the file that was there is now %q, %v", text, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left", len(entries))
	}
}
