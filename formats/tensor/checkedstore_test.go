package tensor_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// No way of reading a tensor in a CheckedStore gives a byte before the checksum was found right.
func TestCheckedStore(t *testing.T) {
	wrong := tensor.Bad("checksum is wrong")
	for name, want := range map[string]error{"right": nil, "wrong": wrong} {
		checks := 0
		store := tensor.NewCheckedStore(bytes.NewReader([]byte("abcdefghijkl")), func() error { checks++; return want })
		view := tensor.RowMajor(3, 4)
		w := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: view.Shape, Data: &tensor.Strided{Store: store, Length: 12, DType: tensor.U8, View: view}}
		for _, index := range []string{"", "0", "1:", ":, 2", "-1, 1:3"} {
			part := w
			if index != "" {
				var err error
				if part, err = tensor.Slice(w, index); err != nil {
					t.Fatal(err)
				}
			}
			checks = 0
			if _, err := part.ReadAt(make([]byte, part.Bytes()), 0); !errors.Is(err, want) || checks == 0 {
				t.Errorf("%s: [%s]: %v after %d checks", name, index, err, checks)
			}
		}
		transposed, err := tensor.Viewed(w, view.Permute(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := transposed.ReadAt(make([]byte, 12), 0); !errors.Is(err, want) {
			t.Errorf("%s: transposed: %v", name, err)
		}
		if _, err := tensor.Checked(store); !errors.Is(err, want) {
			t.Errorf("%s: Checked: %v", name, err)
		}
		checks = 0
		if _, err := tensor.Unchecked(store).ReadAt(make([]byte, 1), 0); err != nil || checks > 0 {
			t.Errorf("%s: Unchecked: %v after %d checks", name, err, checks)
		}
	}
}

// chunked is Data with checksums that its streams find wrong at their end.
type chunked struct{ tensortest.Broken }

func (chunked) ChecksAtEnd() bool { return true }

// A slice of chunks is not given before the whole of them was checked.
func TestSliceOfChunks(t *testing.T) {
	content := []byte("abcdefghijkl")
	for _, end := range []error{io.EOF, tensor.Bad("checksum is wrong")} {
		w := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{3, 4}, Data: chunked{tensortest.Broken{Content: content, Err: end}}}
		part, err := tensor.Slice(w, "0, :2")
		if err != nil {
			t.Fatal(err)
		}
		var bad *tensor.FormatError
		p := make([]byte, 2)
		if _, err := part.ReadAt(p, 0); errors.As(err, &bad) != (end != io.EOF) || err == nil && string(p) != "ab" {
			t.Errorf("stream that ends in %v: %q, %v", end, p, err)
		}
	}
}

// A digest reads nothing more for a checksum, unless that is of more bytes than the tensor has.
func TestDigestReadsOnce(t *testing.T) {
	content := bytes.Repeat([]byte("weights!"), 100*64)
	whole := tensor.RowMajor(100, 64)
	for _, c := range []struct {
		view    tensor.View
		wrong   bool
		checked int32
	}{
		{whole, false, 0},
		{whole, true, 1},
		{tensor.RowMajor(99, 64), false, 1},
	} {
		data := tensortest.NewSummed(tensor.F64, c.view, content, 0, int64(len(content)), c.wrong)
		of := &tensor.Tensor{Name: "w", DType: tensor.F64, Shape: c.view.Shape, Data: data}
		var bad *tensor.FormatError
		if _, err := tensor.Digest(t.Context(), of, digest.BLAKE3); errors.As(err, &bad) != c.wrong || err != nil && bad == nil {
			t.Errorf("%v: %v", c.view, err)
		}
		if checked, passes := data.Checked.Load(), data.Passes.Load(); checked != c.checked || passes != 1-c.checked {
			t.Errorf("%v: the checksum was read for %d times, and known %d times", c.view, checked, passes)
		}
	}
}
