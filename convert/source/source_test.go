package source_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"sync/atomic"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// layout is embedded under another name than that of its method.
type layout = tensor.Strided

// summed is a tensor in a file that keeps a checksum of a range.
type summed struct {
	*layout
	first, length  int64
	crc            uint32
	checks, passes atomic.Int32
	bad            error
}

func (s *summed) Check() error                     { s.checks.Add(1); return s.bad }
func (s *summed) Checksum() (int64, int64, uint32) { return s.first, s.length, s.crc }
func (s *summed) Passed()                          { s.passes.Add(1) }

// A tensor of 3 rows, seven bytes into a file.
func inFile(view tensor.View) (*tensor.Tensor, *summed, []byte) {
	file := []byte("headerssABCDEFGHIJKLtrailer")
	s := &summed{first: 8, length: 12, crc: crc32.ChecksumIEEE(file[8:20]),
		layout: &tensor.Strided{Store: bytes.NewReader(file), Base: 8, Length: 12, DType: tensor.U8, View: view}}
	return &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: view.Shape, Data: s}, s, file[8:20]
}

// The checksum is computed from bytes that are read in order, by ReadAt or through Layout, and from
// the file otherwise.
func TestChecksum(t *testing.T) {
	rows := tensor.RowMajor(3, 4)
	all := func(r *source.Reader) error {
		_, err := r.ReadAt(make([]byte, 12), 0)
		return err
	}
	inPieces := func(r *source.Reader) error {
		for at := range int64(3) {
			if _, err := r.Layout().Store.ReadAt(make([]byte, 4), 8+4*at); err != nil {
				return err
			}
		}
		return nil
	}
	part := func(r *source.Reader) error {
		_, err := r.ReadAt(make([]byte, 4), 0)
		return err
	}
	backwards := func(r *source.Reader) error {
		_, err := r.ReadAt(make([]byte, 4), 8)
		return errors.Join(err, part(r))
	}
	for name, tt := range map[string]struct {
		read  func(*source.Reader) error
		onWay bool
	}{"all": {all, true}, "in pieces": {inPieces, true}, "part": {part, false}, "backwards": {backwards, false}} {
		for _, wrong := range []bool{false, true} {
			w, data, _ := inFile(rows)
			if wrong {
				data.crc ^= 1
				data.bad = tensor.Bad("wrong checksum")
			}
			r, err := source.Open(w, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.read(r); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			err = r.Finish()
			var bad *tensor.FormatError
			if errors.As(err, &bad) != wrong || wrong && bad.Tensor != "w" {
				t.Errorf("%s, wrong %t: %v", name, wrong, err)
			}
			if passed := data.passes.Load() == 1; passed != (tt.onWay && !wrong) || passed == (data.checks.Load() == 1) {
				t.Errorf("%s, wrong %t: passed %t, checked %d times", name, wrong, passed, data.checks.Load())
			}
			r.Close()
		}
	}
	w, data, _ := inFile(rows)
	data.crc ^= 1 // but the file is fine when it is read again
	r, err := source.Open(w, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(all(r), r.Finish()); err == nil {
		t.Error("a file that changes while it is read was accepted")
	}
}

// A checksum that cannot be computed from the tensor's bytes is checked first.
func TestChecksumOfStream(t *testing.T) {
	data := &tensortest.Stream{Content: make([]byte, 12), Bad: tensor.Bad("wrong checksum")}
	w := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{12}, Data: data}
	var bad *tensor.FormatError
	if _, err := source.Open(w, nil); !errors.As(err, &bad) || bad.Tensor != "w" || data.Opened.Load() != 0 {
		t.Errorf("%v, %d streams opened", err, data.Opened.Load())
	}
}

// Broken streams are errors about the tensor; a stream that is too long is not the input's fault.
func TestBrokenStreams(t *testing.T) {
	content := make([]byte, 12)
	for name, tt := range map[string]struct {
		data tensor.Data
		bad  bool
	}{
		"short":     {&tensortest.Stream{Content: content[:11]}, true},
		"broken":    {tensortest.Broken{Content: content[:11], Err: tensor.Bad("broken")}, true},
		"bad end":   {tensortest.Broken{Content: content, Err: tensor.Bad("broken")}, true},
		"long":      {&tensortest.Stream{Content: make([]byte, 13)}, false},
		"truncated": {&tensor.Strided{Store: bytes.NewReader(content[:5]), Length: 12, DType: tensor.U8, View: tensor.RowMajor(12)}, true},
	} {
		r, err := source.Open(&tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{12}, Data: tt.data}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = r.ReadAt(content, 0); err == nil {
			err = r.Finish()
		}
		var bad *tensor.FormatError
		if err == nil || errors.As(err, &bad) != tt.bad || tt.bad && bad.Tensor != "w" {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
	}
}

// A digest is fed by every way of reading; what did not come by in order is read again.
func TestDigest(t *testing.T) {
	ctx := t.Context()
	for name, view := range map[string]tensor.View{"in order": tensor.RowMajor(3, 4), "transposed": tensor.RowMajor(4, 3).Permute(1, 0)} {
		w, _, _ := inFile(view)
		want, err := tensor.Digest(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		for _, offsets := range [][]int64{{0}, {0, 4, 8}, {4, 0}, {8}, {}} {
			d := source.NewDigest(w)
			r, err := source.Open(w, d)
			if err != nil {
				t.Fatal(err)
			}
			for _, off := range offsets {
				n := min(12/int64(len(offsets)), 12-off)
				if _, err := r.ReadAt(make([]byte, n), off); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := d.Sum(ctx); err != nil || got != want {
				t.Errorf("%s, %v: %x, %v", name, offsets, got, err)
			}
		}
	}

	content := []byte("elements")
	stream := &tensortest.Stream{Content: content}
	w := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{8}, Data: stream}
	d := source.NewDigest(w)
	r, err := source.Open(w, d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, 8), make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if sum, err := d.Sum(ctx); err != nil || sum != sha256.Sum256(content) || stream.Opened.Load() != 1 {
		t.Errorf("%x, %v, %d streams", sum, err, stream.Opened.Load())
	}
}

// Digests of tensors that are known to be equal, up to some byte or whole, are computed once.
func TestDigestShares(t *testing.T) {
	ctx := t.Context()
	a := tensortest.Stored("a", tensor.U8, []int64{8}, []byte("abcdefgh"))
	b := tensortest.Stored("b", tensor.U8, []int64{8}, []byte("abcdXXXX"))
	first, second, third := source.NewDigest(a), source.NewDigest(b), source.NewDigest(a)
	first.Feed(0, []byte("abcd"))
	second.Adopt(first)
	first.Feed(2, []byte("cdefgh")) // overlaps what is known
	second.Feed(4, []byte("XXXX"))
	third.SameAs(first)
	sums, err := source.Sums(ctx, map[string]*source.Digest{"a": first, "b": second, "c": third})
	if err != nil {
		t.Fatal(err)
	}
	if sums["a"] != sha256.Sum256([]byte("abcdefgh")) || sums["b"] != sha256.Sum256([]byte("abcdXXXX")) || sums["c"] != sums["a"] {
		t.Errorf("%x", sums)
	}
	var none *source.Digest
	none.Feed(0, nil)
	none.Adopt(first)
	none.SameAs(first)
}
