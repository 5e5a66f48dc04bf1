package torch

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// content is a tensor to be written, with its bytes.
type content struct {
	tensor.Spec
	data []byte
}

// writeFile writes tensors to a file that is to be called fileName, and returns its bytes.
func writeFile(t *testing.T, fileName string, tensors []content) []byte {
	t.Helper()
	l, w := create(t, fileName, tensors)
	var written []tensor.Written
	for i, x := range tensors {
		f, offset, length := w.At(i)
		if length != int64(len(x.data)) {
			t.Fatalf("tensor %d has %d bytes, its place %d", i, len(x.data), length)
		}
		if _, err := f.WriteAt(x.data, offset); err != nil {
			t.Fatal(err)
		}
		written = append(written, tensor.Written{CRC32: crc32.ChecksumIEEE(x.data)})
	}
	if err := w.Finish(written); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(w.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(file)) != l.Size {
		t.Errorf("the file has %d bytes, the layout says %d", len(file), l.Size)
	}
	return file
}

func create(t *testing.T, fileName string, tensors []content) (*Layout, *Writer) {
	t.Helper()
	var specs []tensor.Spec
	for _, x := range tensors {
		specs = append(specs, x.Spec)
	}
	l, err := NewLayout(specs, fileName)
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.Create(filepath.Join(t.TempDir(), "out.pt"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return l, w
}

// readContents reads all of a checkpoint.
func readContents(t *testing.T, file []byte) []content {
	t.Helper()
	c, err := NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all []content
	for _, x := range c.Tensors() {
		data := make([]byte, x.Bytes())
		if _, err := x.ReadAt(data, 0); err != nil {
			t.Fatal(err)
		}
		if err := x.Data.(tensor.Checker).Check(); err != nil {
			t.Error(err)
		}
		all = append(all, content{tensor.Spec{Name: x.Name, DType: x.DType, Shape: x.Shape}, data})
	}
	return all
}

// TestWritesWhatTorchWrites takes files of torch (of generate_written.py) apart and writes them
// again.
func TestWritesWhatTorchWrites(t *testing.T) {
	for name, fileName := range map[string]string{"mixed.v2.pt": "", "dtypes.pt": "", "one.pt": "", "not_ascii.pt": "é.pt"} {
		want, err := os.ReadFile(filepath.Join("testdata", "written", name))
		if err != nil {
			t.Fatal(err)
		}
		if fileName == "" {
			fileName = name
		}
		if got := writeFile(t, fileName, readContents(t, want)); !bytes.Equal(got, want) {
			t.Errorf("%s: not the same bytes", name)
		}
	}
}

// TestWritesManyTensorsAsTorchDoes holds the digests of files against those of torch.
func TestWritesManyTensorsAsTorchDoes(t *testing.T) {
	text, err := os.ReadFile("testdata/written/many.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[int]string
	if err := json.Unmarshal(text, &want); err != nil || len(want) < 5 {
		t.Fatalf("%d digests, %v", len(want), err)
	}
	for n, digest := range want {
		tensors := make([]content, n)
		for i := range tensors {
			one := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(i)))
			size := i%3 + 1
			tensors[i] = content{tensor.Spec{Name: fmt.Sprintf("layer.%d", i), DType: tensor.F32, Shape: []int64{int64(size)}}, bytes.Repeat(one, size)}
		}
		sum := sha256.Sum256(writeFile(t, "many.pt", tensors))
		if hex.EncodeToString(sum[:]) != digest {
			t.Errorf("%d tensors: not the same bytes", n)
		}
	}
}

// TestWritesLargeFilesAsTorchDoes compares what is not tensors of a file with records of 2^32 - 1 and
// 2^32 + 5 zeros and others behind them. Here the zeros are a hole.
func TestWritesLargeFilesAsTorchDoes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the file would not be sparse")
	}
	want, err := os.ReadFile("testdata/written/wide.frame")
	if err != nil {
		t.Fatal(err)
	}
	const crcOfEdge, crcOfWide = 0, 0xb1c2a1a3
	small := func(name string, dtype tensor.DType, shape []int64, data ...byte) content {
		return content{tensor.Spec{Name: name, DType: dtype, Shape: shape}, data}
	}
	tensors := []content{
		small("a", tensor.F32, []int64{3}, 0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40),
		small("edge", tensor.U8, []int64{1<<32 - 1}),
		small("after", tensor.I64, []int64{2}, 7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0),
		small("wide", tensor.U8, []int64{1<<32 + 5}),
		small("scalar", tensor.Bool, nil, 1),
	}
	l, w := create(t, "wide.pt", tensors)
	var written []tensor.Written
	for i, x := range tensors {
		if _, err := w.file.WriteAt(x.data, l.Ranges[i].Offset); err != nil {
			t.Fatal(err)
		}
		written = append(written, tensor.Written{CRC32: crc32.ChecksumIEEE(x.data)})
	}
	written[1].CRC32, written[3].CRC32 = crcOfEdge, crcOfWide
	if err := w.Finish(written); err != nil {
		t.Fatal(err)
	}
	var got []byte
	from := int64(0)
	for _, hole := range []Range{l.Ranges[1], l.Ranges[3], {Offset: l.Size}} {
		part := make([]byte, hole.Offset-from)
		if _, err := w.file.ReadAt(part, from); err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
		from = hole.Offset + hole.Length
	}
	if !bytes.Equal(got, want) {
		t.Errorf("not the same bytes: %d, torch writes %d", len(got), len(want))
	}
}

// TestWriteThenRead writes random tensors and reads them back.
func TestWriteThenRead(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	dtypes := slices.Sorted(func(yield func(tensor.DType) bool) {
		for d := range written {
			if !yield(d) {
				return
			}
		}
	})
	for range 200 {
		tensors := make([]content, 1+rng.IntN(12))
		for i := range tensors {
			x := &tensors[i]
			x.Name = strings.Repeat(string(rune('a'+rng.IntN(800))), rng.IntN(90)) + fmt.Sprint(i)
			x.DType = dtypes[rng.IntN(len(dtypes))]
			x.Shape = make([]int64, rng.IntN(6))
			for k := range x.Shape {
				x.Shape[k] = int64(rng.IntN(7))
			}
			_, size, err := tensor.SizeOf(x.DType, x.Shape)
			if err != nil {
				t.Fatal(err)
			}
			x.data = make([]byte, size)
			for k := range x.data {
				x.data[k] = byte(rng.Uint32())
			}
		}
		got := readContents(t, writeFile(t, "a.pt", tensors))
		if len(got) != len(tensors) {
			t.Fatalf("%d tensors of %d", len(got), len(tensors))
		}
		for i, x := range tensors {
			if g := got[i]; g.Name != x.Name || g.DType != x.DType || !slices.Equal(g.Shape, x.Shape) || !bytes.Equal(g.data, x.data) {
				t.Errorf("%q %v %v became %q %v %v", x.Name, x.DType, x.Shape, g.Name, g.DType, g.Shape)
			}
		}
	}
}

// What would be too large to be read again is refused before it is written.
func TestLayoutRefusesMany(t *testing.T) {
	specs := make([]tensor.Spec, tensor.MaxTensors+1)
	for i := range specs {
		specs[i] = tensor.Spec{Name: fmt.Sprint("layers.", i), DType: tensor.F32, Shape: []int64{4, 1}}
	}
	for n, limit := range map[int]string{20_000: "", tensor.MaxTensors + 1: "200000 tensors"} {
		_, err := NewLayout(specs[:n], "a.pt")
		switch {
		case limit == "" && err != nil:
			t.Errorf("%d tensors: %v", n, err)
		case limit != "" && (tensor.ReasonOf(err) != tensor.TooLarge || !strings.Contains(err.Error(), limit)):
			t.Errorf("%d tensors: %v, want an error about %s", n, err, limit)
		}
	}
}

func TestLayoutRefuses(t *testing.T) {
	one := tensor.Spec{Name: "w", DType: tensor.F32, Shape: []int64{1}}
	for _, tt := range []struct {
		specs []tensor.Spec
		want  string
	}{
		{[]tensor.Spec{one, one}, "two tensors of one name"},
		{[]tensor.Spec{{Name: "w\xff", DType: tensor.F32}}, "not valid UTF-8"},
		{[]tensor.Spec{{Name: "w", DType: tensor.F8E3M4}}, "torch has no type for float8_e3m4"},
		{[]tensor.Spec{{Name: "w", DType: tensor.F32, Shape: make([]int64, 65)}}, "65 axes"},
		{[]tensor.Spec{{Name: "w", DType: tensor.F32, Shape: []int64{-1}}}, "negative"},
		{[]tensor.Spec{{Name: "a", DType: tensor.U8, Shape: []int64{math.MaxInt64 - 1000}}, one}, "overflows"},
		{[]tensor.Spec{{Name: strings.Repeat("x", savefile.MaxPickle), DType: tensor.F32}}, "at most"},
	} {
		if _, err := NewLayout(tt.specs, "a.pt"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

func TestLayoutRefusesAFileName(t *testing.T) {
	if _, err := NewLayout(nil, strings.Repeat("x", 1<<16)); err == nil || !strings.Contains(err.Error(), "file name has 65536 bytes") {
		t.Errorf("%v", err)
	}
}

// TestNoFileBeforeFinish reads a file whose tensors are all written.
func TestNoFileBeforeFinish(t *testing.T) {
	_, w := create(t, "a.pt", []content{{Spec: tensor.Spec{Name: "w", DType: tensor.F32, Shape: []int64{1}}}})
	if c, err := openPath(w.file.Name()); err == nil {
		c.Close()
		t.Error("the file can be opened before it is complete")
	}
	if err := w.Finish(nil); err == nil {
		t.Error("finished without the checksums")
	}
}

func TestCreateReplacesNothing(t *testing.T) {
	l, err := NewLayout(nil, "a.pt")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.pt")
	if err := os.WriteFile(path, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	if w, err := l.Create(path, nil); err == nil {
		w.Close()
		t.Error("no error")
	}
	if got, err := os.ReadFile(path); string(got) != "mine" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFolderName(t *testing.T) {
	for name, want := range map[string]string{
		"model.pt": "model", "a.b.pt": "a.b", "model": "model", "dir/model.pt": "model", `dir\model.pt`: "model", "a b.pt": "a b",
		".pt": "archive", "": "archive", "...": "archive", "é.pt": "archive", "/": "archive",
	} {
		if got := folderName(name); got != want {
			t.Errorf("%q gives %q, not %q", name, got, want)
		}
	}
}
