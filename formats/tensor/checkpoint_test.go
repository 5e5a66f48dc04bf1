package tensor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// Each limit is reached without an error, and one more is an error.
func TestCount(t *testing.T) {
	longest := strings.Repeat("n", tensor.MaxName)
	for _, tt := range []struct {
		limit       string
		name        string
		axes, times int
		more        string
		moreAxes    int
	}{
		{"length of a name", longest, 0, 1, longest + "n", 0},
		{"tensors", "", 0, tensor.MaxTensors, "", 0},
		{"names", longest, 0, tensor.MaxNames / tensor.MaxName, "n", 0},
		{"axes", "n", 16, tensor.MaxAxes / 16, "n", 1},
	} {
		var c tensor.Count
		for range tt.times {
			if err := c.Add(tt.name, tt.axes); err != nil {
				t.Fatalf("%s: %v", tt.limit, err)
			}
		}
		if err := c.Add(tt.more, tt.moreAxes); tensor.ReasonOf(err) != tensor.TooLarge {
			t.Errorf("%s: %v", tt.limit, err)
		}
	}
}

// closer records the order in which closers are closed.
type closer struct {
	name string
	to   *[]string
}

func (c closer) Close() error {
	*c.to = append(*c.to, c.name)
	return errors.New(c.name)
}

func TestCheckpoint(t *testing.T) {
	a, b := &tensor.Tensor{Name: "a"}, &tensor.Tensor{Name: "b"}
	var closed []string
	c, err := tensor.NewCheckpoint("x.bin", "flax", []*tensor.Tensor{a, b}, closer{"first", &closed}, closer{"second", &closed})
	if err != nil {
		t.Fatal(err)
	}
	if c.Tensor("b") != b || c.Tensor("c") != nil || len(c.Tensors()) != 2 {
		t.Error("tensors are not found by their names")
	}
	c.Documents = "docs"
	other, err := c.With([]*tensor.Tensor{b})
	if err != nil || other.Documents != "docs" || other.Tensor("a") != nil || other.Tensor("b") != b {
		t.Errorf("With: %+v, %v", other, err)
	}
	for _, tensors := range [][]*tensor.Tensor{{a, a}, {{Name: strings.Repeat("n", tensor.MaxName+1)}}} {
		var bad *tensor.FormatError
		if _, err := tensor.NewCheckpoint("x.bin", "flax", tensors); !errors.As(err, &bad) || bad.File != "x.bin" {
			t.Errorf("NewCheckpoint: %v", err)
		}
		if _, err := c.With(tensors); !errors.As(err, &bad) {
			t.Errorf("With: %v", err)
		}
	}
	if err := c.Close(); err == nil || fmt.Sprint(closed) != "[second first]" {
		t.Errorf("closed %v: %v", closed, err)
	}
	if err := c.Close(); err != nil || len(closed) != 2 {
		t.Errorf("closed again: %v", err)
	}
}

// Names of tensors that both checkpoints have lie in memory once.
func TestShareNames(t *testing.T) {
	checkpoint := func(names ...string) *tensor.Checkpoint {
		var tensors []*tensor.Tensor
		for _, name := range names {
			tensors = append(tensors, &tensor.Tensor{Name: strings.Clone(name)})
		}
		c, err := tensor.NewCheckpoint("x.bin", "flax", tensors)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := checkpoint("both", "here"), checkpoint("there", "both")
	a.ShareNames(b)
	if unsafe.StringData(a.Tensor("both").Name) != unsafe.StringData(b.Tensor("both").Name) {
		t.Error("a name that both have is not shared")
	}
	if a.Tensor("here") == nil || a.Tensor("there") != nil {
		t.Error("a name that one has changed")
	}
}

func TestBeside(t *testing.T) {
	files := fstest.MapFS{"step/7/model.bin": {}}
	for _, tt := range []struct{ root, documents, want string }{
		{"step/7/model.bin", "", "step/7/config.json"},
		{"step/7", "", "step/7/config.json"},
		{"step/8", "", "step/config.json"}, // is not there
		{"step/7", "hf", "hf/config.json"},
	} {
		c := &tensor.Checkpoint{Source: files, Root: tt.root, Documents: tt.documents}
		if got := c.Beside("config.json"); got != tt.want {
			t.Errorf("beside %q, documents %q: %s, want %s", tt.root, tt.documents, got, tt.want)
		}
	}
}

func TestDigest(t *testing.T) {
	wrong := tensor.Bad("checksum is wrong")
	short := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{4}, Data: &tensortest.Stream{Content: []byte("abc")}}
	damaged := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{3}, Data: &tensortest.Stream{Content: []byte("abc"), Bad: wrong}}
	sound := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{3}, Data: &tensortest.Stream{Content: []byte("abc")}}
	ctx, cancel := context.WithCancel(context.Background())
	sum, err := tensor.Digest(ctx, sound, digest.SHA256)
	if err != nil || !strings.Contains(fmt.Sprint(sum), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") { // of FIPS 180
		t.Errorf("digest of abc: %v, %v", sum, err)
	}
	var bad *tensor.FormatError
	for _, w := range []*tensor.Tensor{short, damaged} {
		if _, err := tensor.Digest(ctx, w, digest.SHA256); !errors.As(err, &bad) || bad.Tensor != "w" {
			t.Errorf("%v", err)
		}
	}
	cancel()
	if _, err := tensor.Digest(ctx, sound, digest.SHA256); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is done: %v", err)
	}
}

// A checksum is computed from what is read in order, and otherwise by another reading.
func TestChecksumStore(t *testing.T) {
	file := []byte("..abcdefgh..")
	type read struct{ off, n int64 }
	for _, tt := range []struct {
		name            string
		wrong           bool
		reads           []read
		passes, checked int32
		ok              bool
	}{
		{"in order", false, []read{{2, 3}, {5, 5}}, 1, 0, true},
		{"further than the range", false, []read{{2, 10}}, 1, 0, true},
		{"a part", false, []read{{2, 3}, {5, 4}}, 0, 1, true},
		{"out of order", false, []read{{5, 5}, {2, 3}}, 0, 1, true},
		{"twice", false, []read{{2, 3}, {2, 3}, {5, 5}}, 1, 0, true},
		{"wrong", true, []read{{2, 8}}, 0, 1, false},
		{"wrong, a part", true, []read{{2, 3}}, 0, 1, false},
		{"from before the range into it", false, []read{{0, 5}, {5, 5}}, 1, 0, true},
	} {
		data := tensortest.NewSummed(tensor.U8, tensor.RowMajor(8), file, 2, 8, tt.wrong)
		s := tensor.NewChecksumStore(bytes.NewReader(file), data)
		for _, r := range tt.reads {
			if n, err := s.ReadAt(make([]byte, r.n), r.off); n != int(r.n) || err != nil {
				t.Fatalf("%s: %d, %v", tt.name, n, err)
			}
		}
		if err := s.Finish(); (err == nil) != tt.ok || data.Passes.Load() != tt.passes || data.Checked.Load() != tt.checked {
			t.Errorf("%s: %v, %d passed, %d checked", tt.name, err, data.Passes.Load(), data.Checked.Load())
		}
	}
	// What was read had another checksum, and what is read again has the right one.
	data := tensortest.NewSummed(tensor.U8, tensor.RowMajor(8), file, 2, 8, false)
	s := tensor.NewChecksumStore(bytes.NewReader([]byte("..Abcdefgh..")), data)
	s.ReadAt(make([]byte, 8), 2)
	if err := s.Finish(); err == nil {
		t.Error("a file that changes was accepted")
	}
}

// endless gives n bytes at most, and the error.
type endless struct {
	n   int
	err error
}

func (e endless) ReadAt(p []byte, off int64) (int, error) { return min(e.n, len(p)), e.err }

func TestReadFullAt(t *testing.T) {
	for _, tt := range []struct {
		from endless
		want string
	}{
		{endless{8, nil}, "<nil>"},
		{endless{8, io.EOF}, "<nil>"},
		{endless{5, io.EOF}, "offset 105: data ends 3 bytes early"},
		{endless{5, nil}, "offset 105: data ends 3 bytes early"},
		{endless{5, io.ErrClosedPipe}, io.ErrClosedPipe.Error()},
	} {
		if got := fmt.Sprint(tensor.ReadFullAt(tt.from, make([]byte, 8), 100)); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.from, got, tt.want)
		}
	}
}
