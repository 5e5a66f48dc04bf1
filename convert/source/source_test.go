package source_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// inFile is a tensor of 12 elements in a file that keeps their checksum, or a wrong one.
func inFile(view tensor.View, wrong bool) (*tensor.Tensor, *tensortest.Summed) {
	s := tensortest.NewSummed(tensor.U8, view, []byte("headerssABCDEFGHIJKLtrailer"), 8, 12, wrong)
	return &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: view.Shape, Data: s}, s
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
			w, data := inFile(rows, wrong)
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
			if passed := data.Passes.Load() == 1; passed != (tt.onWay && !wrong) || passed == (data.Checked.Load() == 1) {
				t.Errorf("%s, wrong %t: passed %t, checked %d times", name, wrong, passed, data.Checked.Load())
			}
			r.Close()
		}
	}
	w, data := inFile(rows, true)
	r, err := source.Open(&tensor.Tensor{Name: "w", DType: w.DType, Shape: w.Shape, Data: unstable{data}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(all(r), r.Finish()); err == nil {
		t.Error("a file that changes while it is read was accepted")
	}
}

// unstable is a file whose checksum is right when it is read again.
type unstable struct{ *tensortest.Summed }

func (unstable) Check() error { return nil }

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

const algorithms = digest.BLAKE3 | digest.SHA256

// A digest is fed by every way of reading; what did not come by in order is read again.
func TestDigest(t *testing.T) {
	ctx := t.Context()
	for name, view := range map[string]tensor.View{"in order": tensor.RowMajor(3, 4), "transposed": tensor.RowMajor(4, 3).Permute(1, 0)} {
		w, _ := inFile(view, false)
		want, err := tensor.Digest(ctx, w, algorithms)
		if err != nil {
			t.Fatal(err)
		}
		for _, offsets := range [][]int64{{0}, {0, 4, 8}, {4, 0}, {8}, {}} {
			d := source.NewDigest(w, algorithms)
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
	d := source.NewDigest(w, digest.SHA256)
	r, err := source.Open(w, d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, 8), make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if sum, err := d.Sum(ctx); err != nil || sum != digest.Of(digest.SHA256, content) || stream.Opened.Load() != 1 {
		t.Errorf("%x, %v, %d streams", sum, err, stream.Opened.Load())
	}
}

// Digests of tensors that are known to be equal, up to some byte or whole, are computed once.
func TestDigestShares(t *testing.T) {
	ctx := t.Context()
	a := tensortest.Stored("a", tensor.U8, []int64{8}, []byte("abcdefgh"))
	b := tensortest.Stored("b", tensor.U8, []int64{8}, []byte("abcdXXXX"))
	first, second, third := source.NewDigest(a, algorithms), source.NewDigest(b, algorithms), source.NewDigest(a, algorithms)
	first.Feed(0, []byte("abcd"))
	second.Adopt(first)
	first.Feed(2, []byte("cdefgh")) // overlaps what is known
	second.Feed(4, []byte("XXXX"))
	third.SameAs(first)
	sums, err := source.Sums(ctx, map[string]*source.Digest{"a": first, "b": second, "c": third})
	if err != nil {
		t.Fatal(err)
	}
	if sums["a"] != digest.Of(algorithms, []byte("abcdefgh")) || sums["b"] != digest.Of(algorithms, []byte("abcdXXXX")) || sums["c"] != sums["a"] {
		t.Errorf("%x", sums)
	}
	var none *source.Digest
	none.Feed(0, nil)
	none.Adopt(first)
	none.SameAs(first)
}
