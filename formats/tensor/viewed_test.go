package tensor_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// A view shows the same elements whether the tensor lies in a file or has to be decoded, from any
// byte on.
func TestViewed(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for round := range 300 {
		shape := make([]int64, 1+rng.IntN(4))
		for i := range shape {
			shape[i] = 1 + rng.Int64N(6)
		}
		view := tensortest.RandomView(rng, shape)
		whole := make([]byte, 4*tensor.RowMajor(shape...).Elements())
		for i := range whole {
			whole[i] = byte(rng.Uint32())
		}
		var want []byte
		tensortest.EachIndex(view.Shape, func(index []int64) {
			e := view.At(index)
			want = append(want, whole[4*e:4*e+4]...)
		})
		stored := tensortest.Stored("w", tensor.F32, shape, whole)
		decoded := &tensor.Tensor{Name: "w", DType: tensor.F32, Shape: shape, Data: &tensortest.Stream{Content: whole}}
		for name, source := range map[string]*tensor.Tensor{"stored": stored, "decoded": decoded} {
			v, err := tensor.Viewed(source, view)
			if err != nil {
				t.Fatal(err)
			}
			if round%2 == 0 {
				tensor.SetViewedSizes(v, 4*(1+rng.Int64N(9)), 4*(1+rng.Int64N(9)))
			}
			off := rng.Int64N(int64(len(want)) + 1)
			r, err := v.Data.Stream(off)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			r.Close()
			if err != nil || !bytes.Equal(got, want[off:]) {
				t.Fatalf("round %d, %s: view %+v of %v from byte %d: %v\n%x, not\n%x", round, name, view, shape, off, err, got, want[off:])
			}
		}
	}
}

func TestCompose(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	composed := 0
	for round := range 20000 {
		shape := make([]int64, rng.IntN(4))
		for i := range shape {
			shape[i] = 1 + rng.Int64N(4)
		}
		inner := tensortest.RandomView(rng, shape)
		if inner.Elements() == 0 {
			continue
		}
		view := tensortest.RandomView(rng, inner.Shape)
		got, ok := (&tensor.Strided{View: inner}).Compose(view)
		if !ok {
			continue
		}
		composed++
		var elements []int64 // of the store, in inner's order
		tensortest.EachIndex(inner.Shape, func(index []int64) { elements = append(elements, inner.At(index)) })
		tensortest.EachIndex(view.Shape, func(index []int64) {
			if want := elements[view.At(index)]; got.At(index) != want {
				t.Fatalf("round %d: %+v of %+v: %+v shows %d at %v, not %d", round, view, inner, got, got.At(index), index, want)
			}
		})
	}
	if composed < 15000 {
		t.Errorf("only %d of 20000 views could be composed", composed)
	}
}

// A simplified view shows the same elements in the same order, and cannot be simplified further.
func TestSimplify(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 10))
	for range 2000 {
		shape := make([]int64, rng.IntN(5))
		for i := range shape {
			shape[i] = 1 + rng.Int64N(4)
		}
		view := tensortest.RandomView(rng, shape)
		if view.Elements() == 0 {
			continue
		}
		simple := view.Simplify()
		var want, got []int64
		tensortest.EachIndex(view.Shape, func(index []int64) { want = append(want, view.At(index)) })
		tensortest.EachIndex(simple.Shape, func(index []int64) { got = append(got, simple.At(index)) })
		if len(got) != len(want) {
			t.Fatalf("%+v becomes %+v", view, simple)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%+v becomes %+v: element %d is %d, not %d", view, simple, i, got[i], want[i])
			}
		}
		if again := simple.Simplify(); len(again.Shape) != len(simple.Shape) {
			t.Fatalf("%+v can be simplified to %+v", simple, again)
		}
	}
}

// A cursor opens a stream at its first read and when it has to go back, and only then.
func TestCursor(t *testing.T) {
	content := make([]byte, 300<<10)
	for i := range content {
		content[i] = byte(i >> 8)
	}
	data := &tensortest.Stream{Content: content}
	c := tensor.NewCursor(&tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{int64(len(content))}, Data: data})
	if err := c.Finish(); err != nil {
		t.Errorf("before the first read: %v", err)
	}
	for _, read := range []struct {
		off, n int64
		opened int32
	}{{10, 5, 1}, {15, 100, 1}, {200 << 10, 1000, 1}, {0, 7, 2}, {7, 0, 2}, {7, int64(len(content)) - 7, 2}} {
		p := make([]byte, read.n)
		if n, err := c.ReadAt(p, read.off); err != nil || !bytes.Equal(p, content[read.off:][:n]) || n != len(p) {
			t.Errorf("%+v: read %d, %v", read, n, err)
		}
		if n := data.Opened.Load(); n != read.opened {
			t.Errorf("%+v: %d streams", read, n)
		}
		if err := c.Finish(); err != nil {
			t.Errorf("%+v: Finish: %v", read, err)
		}
	}
	if _, err := c.ReadAt(make([]byte, 1), int64(len(content))); err == nil {
		t.Error("a byte was read behind the end")
	}
	data.Content = append(data.Content, 0)
	if _, err := c.ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Finish(); err == nil {
		t.Error("a stream gives more than the elements, and Finish does not say so")
	}
}
