package tensor

import (
	"io"
	"testing"
)

// zeros is a file, and data that has to be decoded.
type zeros struct{}

func (zeros) Read(p []byte) (int, error)              { return len(p), nil }
func (zeros) ReadAt(p []byte, off int64) (int, error) { return len(p), nil }
func (zeros) Stream(off int64) (io.ReadCloser, error) { return io.NopCloser(zeros{}), nil }
func (zeros) StreamMemory() int64                     { return 7 }

// Streams of elements in another order hold as much as they say, and use it.
func TestPanelSizes(t *testing.T) {
	tall := RowMajor(2, 1<<20).Permute(1, 0)
	panel, err := gathered{&Strided{Store: zeros{}, Length: 2 << 20, DType: F64, View: tall}}.Panel(nil, 0)
	if err != nil || len(panel) != 8<<20 {
		t.Errorf("panel of %d bytes: %v", len(panel), err)
	}
	w, err := Viewed(&Tensor{Name: "w", DType: F32, Shape: []int64{8, 8}, Data: zeros{}}, RowMajor(8, 8).Permute(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got := StreamMemory(w); got != 4*64+256<<10+7 {
		t.Errorf("a stream of 256 bytes holds %d", got)
	}
	SetViewedSizes(w, 4*30, 4*20)
	if got := StreamMemory(w); got != 4*30+4*20+7 {
		t.Errorf("a stream of panels of 120 and pieces of 80 bytes holds %d", got)
	}
	v := &viewedSource{viewed: w.Data.(*viewed), size: 4, source: NewCursor(&Tensor{DType: F32, Shape: []int64{8, 8}, Data: zeros{}})}
	if panel, err := v.Panel(nil, 0); err != nil || len(panel) != 4*24 { // three rows, which are columns of w
		t.Errorf("panel of %d bytes: %v", len(panel), err)
	}
	if cap(v.scratch) != 4*(2*8+3) { // three elements of each of three rows of w, and what is between them
		t.Errorf("piece of %d bytes", cap(v.scratch))
	}
}
