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
			var specs []tensor.Spec
			for _, s := range c.Tensors {
				specs = append(specs, tensor.Spec{Name: s.Name, DType: tensor.DTypeByName(s.DType), Shape: s.Shape})
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
				got, header := l.Files[i], l.Header(i)[8:]
				if got.Name != want.Name || string(header) != want.Header || got.Size != want.Size {
					t.Errorf("%s of %d bytes, %s\nwant %s of %d bytes, %s", got.Name, got.Size, header, want.Name, want.Size, want.Header)
				}
			}
		})
	}
}

// copyTensors writes all tensors of c to the places that l has for them.
func copyTensors(t *testing.T, c *tensor.Checkpoint, l *Layout, specs []tensor.Spec, dir string) {
	t.Helper()
	w, err := l.Create(dir, nil)
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
	var specs []tensor.Spec
	for _, name := range strings.Fields(string(order)) {
		x := c.Tensor(name)
		specs = append(specs, tensor.Spec{Name: name, DType: x.DType, Shape: x.Shape})
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
		var specs []tensor.Spec
		for _, x := range c.Tensors() {
			specs = append([]tensor.Spec{{Name: x.Name, DType: x.DType, Shape: x.Shape}}, specs...)
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
		specs   []tensor.Spec
		problem string
	}{
		{[]tensor.Spec{{Name: "a", DType: tensor.F32}, {Name: "a", DType: tensor.F32}}, "two tensors of one name"},
		{[]tensor.Spec{{Name: "__metadata__", DType: tensor.F32}}, "reserves this name"},
		{[]tensor.Spec{{Name: "\xff", DType: tensor.F32}}, "UTF-8"},
		{[]tensor.Spec{{Name: "a", DType: tensor.C128}}, "no type for complex128"},
		{[]tensor.Spec{{Name: "a", DType: tensor.F4x2}}, "scalar"},
		{[]tensor.Spec{{Name: "a", DType: tensor.F4, Shape: []int64{3}}}, "whole bytes"},
		{[]tensor.Spec{{Name: "a", DType: tensor.F32, Shape: []int64{-1}}}, "negative"},
		{[]tensor.Spec{{Name: "a", DType: tensor.U8, Shape: []int64{1 << 62}}, {Name: "b", DType: tensor.U8, Shape: []int64{1 << 62}}}, "overflows"},
	} {
		_, err := NewLayout(tt.specs, 0, nil)
		if err == nil || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%v: %v; want %q", tt.specs, err, tt.problem)
		}
	}
}

// Create neither replaces a file nor leaves one behind when it fails.
func TestCreateLeavesNothing(t *testing.T) {
	specs := []tensor.Spec{{Name: "a", DType: tensor.U8, Shape: []int64{8}}, {Name: "b", DType: tensor.U8, Shape: []int64{8}}}
	l, err := NewLayout(specs, 8, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, IndexName), []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Create(dir, nil); err == nil {
		t.Fatal("Create replaced a file")
	}
	if text, err := os.ReadFile(filepath.Join(dir, IndexName)); err != nil || string(text) != "mine" {
		t.Errorf("the file that was there is now %q, %v", text, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left", len(entries))
	}
}
