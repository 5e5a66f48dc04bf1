package tensor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// streamOnly is data that can only be read from front to back, as compressed chunks can.
type streamOnly []byte

func (s streamOnly) Stream(off int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s[min(off, int64(len(s))):])), nil
}

func TestSliceMatchesDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		shape := make([]int64, 1+rng.IntN(4))
		for i := range shape {
			shape[i] = rng.Int64N(6)
		}
		data := make(streamOnly, product(shape)*2)
		for i := range data {
			data[i] = byte(i)
		}
		whole := &Tensor{Name: "w", DType: BF16, Shape: shape, Data: data}
		var fields []string
		want := RowMajor(shape...)
		axis := 0
		for _, n := range shape[:rng.IntN(len(shape)+1)] {
			switch i := rng.Int64N(n + 1); {
			case rng.IntN(3) == 0 && i < n:
				fields = append(fields, fmt.Sprint(i-n*rng.Int64N(2)))
				want = want.Index(axis, i)
				continue
			default:
				to := i + rng.Int64N(n-i+1)
				fields = append(fields, fmt.Sprintf("%d: %d", i, to))
				want = want.Narrow(axis, i, to-i)
			}
			axis++
		}
		index := strings.Join(fields, ",")
		if index == "" {
			index = ":"
		}
		part, err := Slice(whole, index)
		if err != nil {
			t.Fatalf("%v[%s]: %v", shape, index, err)
		}
		strided := &Strided{Store: bytes.NewReader(data), Length: product(shape), DType: BF16, View: want}
		var got, expected bytes.Buffer
		if _, err := copyTo(context.Background(), &got, part); err != nil {
			t.Fatalf("%v[%s]: %v", shape, index, err)
		}
		copyTo(context.Background(), &expected, &Tensor{DType: BF16, Shape: want.Shape, Data: strided})
		if !bytes.Equal(got.Bytes(), expected.Bytes()) || fmt.Sprint(part.Shape) != fmt.Sprint(want.Shape) {
			t.Fatalf("%v[%s]: got shape %v, %v; want %v, %v", shape, index, part.Shape, got.Bytes(), want.Shape, expected.Bytes())
		}
	}
}

func TestSliceRefuses(t *testing.T) {
	w := &Tensor{Name: "w", DType: F32, Shape: []int64{2, 3}, Data: make(streamOnly, 24)}
	for _, index := range []string{"2", "0,0,0", "x", "::2", "-3", "", "0,", "0, 3"} {
		if _, err := Slice(w, index); err == nil {
			t.Errorf("[%s] was accepted", index)
		}
	}
}
