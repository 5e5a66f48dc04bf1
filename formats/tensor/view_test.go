package tensor_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

func TestIsRowMajor(t *testing.T) {
	for _, tt := range []struct {
		view tensor.View
		want bool
	}{
		{tensor.View{}, true},
		{tensor.RowMajor(2, 3), true},
		{tensor.RowMajor(2, 3).Permute(1, 0), false},
		{tensor.View{Shape: []int64{2, 1, 3}, Strides: []int64{3, 99, 1}}, true}, // one index: its stride is not used
		{tensor.View{Shape: []int64{2, 3}, Strides: []int64{4, 1}}, false},       // columns of a wider matrix
		{tensor.View{Shape: []int64{2, 0, 3}, Strides: []int64{1, 99, 1}}, true}, // no elements
		{tensor.View{Shape: []int64{2, 2}, Strides: []int64{0, 1}}, false},       // one row twice
	} {
		if got := tt.view.IsRowMajor(); got != tt.want {
			t.Errorf("%+v: %t", tt.view, got)
		}
	}
}

func TestViewSteps(t *testing.T) {
	v := tensor.RowMajor(2, 3, 4)
	for _, tt := range []struct {
		name      string
		got, want tensor.View
	}{
		{"before the first axis", v.Unsqueeze(0), tensor.View{Shape: []int64{1, 2, 3, 4}, Strides: []int64{24, 12, 4, 1}}},
		{"before the last axis", v.Unsqueeze(2), tensor.View{Shape: []int64{2, 3, 1, 4}, Strides: []int64{12, 4, 4, 1}}},
		{"behind the last axis", v.Unsqueeze(3), tensor.View{Shape: []int64{2, 3, 4, 1}, Strides: []int64{12, 4, 1, 1}}},
		{"simplified", v.Simplify(), tensor.View{Shape: []int64{24}, Strides: []int64{1}}},
		{"narrowed and simplified", v.Narrow(1, 1, 2).Simplify(), tensor.View{Shape: []int64{2, 8}, Strides: []int64{12, 1}, Offset: 4}},
		{"index", v.Index(1, 2), tensor.View{Shape: []int64{2, 4}, Strides: []int64{12, 1}, Offset: 8}},
	} {
		if fmt.Sprint(tt.got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, tt.got, tt.want)
		}
	}
}

// lazy is Data that knows its layout once it is asked.
type lazy struct {
	tensor.Data
	strided *tensor.Strided
	err     error
}

func (l *lazy) Strided() (*tensor.Strided, error) { return l.strided, l.err }

func TestLayout(t *testing.T) {
	stored := tensortest.Stored("w", tensor.U8, []int64{2}, []byte("ab")).Data.(*tensor.Strided)
	failed := tensor.Bad("no such file")
	for _, tt := range []struct {
		name string
		data tensor.Data
		ok   bool
		err  error
	}{
		{"stored", stored, true, nil},
		{"decoded", &tensortest.Stream{}, false, nil},
		{"lazy", &lazy{strided: stored}, true, nil},
		{"lazy, decoded", &lazy{}, false, nil},
		{"lazy, failed", &lazy{strided: stored, err: failed}, false, failed},
	} {
		if _, ok, err := tensor.Layout(&tensor.Tensor{Name: "w", Data: tt.data}); ok != tt.ok || !errors.Is(err, tt.err) {
			t.Errorf("%s: %t, %v", tt.name, ok, err)
		}
	}
	for elements, ok := range map[int64]bool{0: true, 1 << 20: true, 2<<20 - 1: true, 2 << 20: false} {
		s := &tensor.Strided{Length: 1, DType: tensor.U8, View: tensor.View{Shape: []int64{elements}, Strides: []int64{0}}}
		if _, err := s.Strided(); (err == nil) != ok {
			t.Errorf("%d elements of a storage of one: %v", elements, err)
		}
	}
}

func TestContiguous(t *testing.T) {
	v := tensor.RowMajor(4, 3).Narrow(0, 1, 2)
	for _, tt := range []struct {
		strided tensor.Strided
		ok      bool
	}{
		{tensor.Strided{Base: 100, DType: tensor.BF16, View: v}, true},
		{tensor.Strided{Base: 100, DType: tensor.BF16, View: v, BigEndian: true}, false},
		{tensor.Strided{Base: 100, DType: tensor.BF16, View: v.Permute(1, 0)}, false},
		{tensor.Strided{Base: 103, DType: tensor.I8, View: v, BigEndian: true}, true}, // bytes have no order
	} {
		offset, length, ok := tt.strided.Contiguous()
		if want := 6 * tt.strided.DType.Size(); ok != tt.ok || ok && (offset != 106 || length != want) {
			t.Errorf("%+v: bytes %d to %d, %t", tt.strided, offset, offset+length, ok)
		}
	}
}

// counted is a file of zeros that counts the reads.
type counted struct{ reads int }

func (c *counted) ReadAt(p []byte, off int64) (int, error) { c.reads++; return len(p), nil }

// Elements that are near each other are read at once, along the axis where they are nearest.
func TestGatherReadsRuns(t *testing.T) {
	for _, tt := range []struct {
		name           string
		shape, strides []int64
		reads          int
	}{
		{"row-major", []int64{50, 3}, []int64{3, 1}, 1},
		{"transposed", []int64{50, 3}, []int64{1, 50}, 3},
		{"transposed, the other way", []int64{3, 50}, []int64{50, 1}, 1},
		{"runs in the middle", []int64{2, 50, 3}, []int64{150, 1, 50}, 6},
		{"an axis of one index first", []int64{1, 50, 3}, []int64{7, 1, 50}, 3},
		{"an axis of one index last", []int64{50, 3, 1}, []int64{1, 50, 0}, 3},
		{"repeated", []int64{50, 3}, []int64{0, 1}, 50},
		{"repeated last", []int64{3, 50}, []int64{1, 0}, 50},
		{"equal strides", []int64{4, 50}, []int64{2, 2}, 50},
		{"every eighth", []int64{50}, []int64{8}, 1},
		{"every ninth", []int64{50}, []int64{9}, 50}, // most of what lies between would be read for nothing
		{"a span of almost 8 MiB", []int64{1 << 17}, []int64{8}, 1},
		{"a span of more", []int64{1<<17 + 1}, []int64{8}, 1<<17 + 1}, // is too large for memory
	} {
		store := &counted{}
		v := tensor.View{Shape: tt.shape, Strides: tt.strides}
		_, end := v.Span()
		s := &tensor.Strided{Store: store, Length: end, DType: tensor.F64, View: v}
		if err := s.Gather(make([]byte, 8*v.Elements()), v); err != nil || store.reads != tt.reads {
			t.Errorf("%s: %d reads, want %d: %v", tt.name, store.reads, tt.reads, err)
		}
	}
}

func TestLeadingBox(t *testing.T) {
	for _, tt := range []struct {
		shape               []int64
		first, limit, count int64
	}{
		{nil, 0, 5, 1},
		{[]int64{4, 3}, 0, 12, 12},
		{[]int64{4, 3}, 0, 11, 9}, // whole rows
		{[]int64{4, 3}, 3, 6, 6},
		{[]int64{4, 3}, 4, 6, 2}, // the rest of a row
		{[]int64{4, 3}, 9, 6, 3},
		{[]int64{4, 3}, 0, 2, 2},
		{[]int64{2, 3, 4}, 12, 100, 12},
		{[]int64{2, 3, 4}, 4, 100, 8},
		{[]int64{2, 3, 4}, 0, 0, 1},
	} {
		box, n := tensor.LeadingBox(tensor.RowMajor(tt.shape...), tt.first, tt.limit)
		if n != tt.count || box.Elements() != n || box.Offset != tt.first {
			t.Errorf("%v from %d, limit %d: %d elements, %+v; want %d", tt.shape, tt.first, tt.limit, n, box, tt.count)
		}
	}
}

func TestComposeRefuses(t *testing.T) {
	inner := &tensor.Strided{View: tensor.RowMajor(3, 2).Permute(1, 0)} // 2x3, in another order
	for _, tt := range []struct {
		name string
		view tensor.View
		ok   bool
	}{
		{"whole", tensor.RowMajor(2, 3), true},
		{"one column", tensor.RowMajor(2, 3).Index(1, 2), true},
		{"every other", tensor.View{Shape: []int64{2}, Strides: []int64{2}}, true},
		{"from one row into the next", tensor.View{Shape: []int64{3}, Strides: []int64{1}, Offset: 1}, false},
		{"every other, into the next row", tensor.View{Shape: []int64{2}, Strides: []int64{2}, Offset: 1}, false},
		{"flat", tensor.View{Shape: []int64{6}, Strides: []int64{1}}, false},
		{"along a diagonal", tensor.View{Shape: []int64{2}, Strides: []int64{4}}, false},
	} {
		if got, ok := inner.Compose(tt.view); ok != tt.ok {
			t.Errorf("%s: %+v, %t", tt.name, got, ok)
		}
	}
}

// A view of a packed type must be the whole tensor: an element that shares a byte has no offset of its own.
func TestViewedPacked(t *testing.T) {
	w := &tensor.Tensor{Name: "w", DType: tensor.F4, Shape: []int64{2, 4}, Data: &tensortest.Stream{Content: make([]byte, 4)}}
	if v, err := tensor.Viewed(w, tensor.RowMajor(8)); err != nil || v.Data != w.Data || v.Elements() != 8 {
		t.Errorf("whole: %v", err)
	}
	for _, view := range []tensor.View{tensor.RowMajor(2, 4).Permute(1, 0), tensor.RowMajor(1, 4), {Shape: []int64{4}, Strides: []int64{1}, Offset: 4}} {
		if _, err := tensor.Viewed(w, view); err == nil {
			t.Errorf("%+v was accepted", view)
		}
	}
}

// Views that repeat elements.
func TestViewedRepeats(t *testing.T) {
	for _, tt := range []struct {
		strides []int64
		want    string
	}{{[]int64{0, 1}, "abab"}, {[]int64{1, 0}, "aabb"}, {[]int64{1, 1}, "abbc"}, {[]int64{0, 0}, "aaaa"}} {
		decoded := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{3}, Data: &tensortest.Stream{Content: []byte("abc")}}
		v, err := tensor.Viewed(decoded, tensor.View{Shape: []int64{2, 2}, Strides: tt.strides})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(io.NewSectionReader(v, 0, 4)); err != nil || string(got) != tt.want {
			t.Errorf("strides %v: %q, want %q: %v", tt.strides, got, tt.want, err)
		}
	}
}

// planned is a file that records its plans.
type planned struct {
	bytes.Reader
	plans [][]tensor.Extent
}

func (p *planned) Plan(extents []tensor.Extent) { p.plans = append(p.plans, extents) }

// located is Data that knows its extents and no layout.
type located struct {
	tensor.Data
	extents []tensor.Extent
}

func (l *located) Extents() []tensor.Extent { return l.extents }

func TestPlanReads(t *testing.T) {
	file := &planned{}
	checked := tensor.NewCheckedStore(file, func() error { return nil })
	stored := &tensor.Tensor{Data: &tensor.Strided{Store: checked, Base: 100, Length: 12, DType: tensor.F32, View: tensor.RowMajor(4, 3).Index(1, 2)}}
	chunks := &tensor.Tensor{Data: &located{extents: []tensor.Extent{{Store: file, Offset: 7, Length: 9}}}}
	unknown := &tensor.Tensor{Data: &tensortest.Stream{}}
	tensor.PlanReads(unknown)
	if len(file.plans) != 0 {
		t.Errorf("plans of nothing: %v", file.plans)
	}
	tensor.PlanReads(unknown, stored, chunks)
	want := []tensor.Extent{{Store: file, Offset: 108, Length: 40}, {Store: file, Offset: 7, Length: 9}} // elements 2 to 11
	if len(file.plans) != 1 || !slices.Equal(file.plans[0], want) {
		t.Errorf("plans: %v, want %v", file.plans, want)
	}
}

// sequential is a file that says how it is best read.
type sequential struct {
	io.ReaderAt
	answer bool
}

func (s sequential) Sequential() bool { return s.answer }

func TestIsSequential(t *testing.T) {
	for _, tt := range []struct {
		file io.ReaderAt
		want bool
	}{{sequential{nil, true}, true}, {sequential{nil, false}, false}, {strings.NewReader("a file that does not say"), false}} {
		if got := tensor.IsSequential(tt.file); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.file, got, tt.want)
		}
	}
}

// closure is a store that cannot be compared.
type closure struct {
	io.ReaderAt
	_ func()
}

func TestStorageOf(t *testing.T) {
	file := bytes.NewReader([]byte("abcd"))
	at := func(store io.ReaderAt, base int64, shape ...int64) any {
		return tensor.StorageOf(&tensor.Tensor{DType: tensor.U8, Shape: shape,
			Data: &tensor.Strided{Store: store, Base: base, Length: 2, DType: tensor.U8, View: tensor.RowMajor(shape...)}})
	}
	shared := at(file, 0, 2)
	if shared == nil || shared != at(file, 0, 1) || shared == at(file, 2, 2) || shared == at(bytes.NewReader(nil), 0, 2) {
		t.Error("the storage is not that of a file and an offset")
	}
	decoded, failing := &tensortest.Stream{}, &lazy{err: io.ErrClosedPipe}
	for name, tt := range map[string]struct{ got, want any }{
		"empty":            {at(file, 0, 0), nil},
		"not comparable":   {at(closure{}, 0, 2), nil},
		"decoded":          {tensor.StorageOf(&tensor.Tensor{Data: decoded}), decoded},
		"decoded, a value": {tensor.StorageOf(&tensor.Tensor{Data: tensortest.Broken{}}), nil},
		"failing":          {tensor.StorageOf(&tensor.Tensor{Data: failing}), nil},
		"without data":     {tensor.StorageOf(&tensor.Tensor{}), nil},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v", name, tt.got)
		}
	}
}
