package tensor

import "github.com/griffin-ckpt/griffin/formats/tensor/digest"

// Written describes a tensor that was written: what the writer of a format needs to complete its
// files, and what a conversion reports. There may be very many.
type Written struct {
	Digest     digest.Ref // of its elements
	CRC32      uint32     // IEEE, of its elements; 0 if the format does not ask for it
	Overflowed int64      // elements that were finite and became infinite in a narrower dtype
	Largest    float64    // the largest magnitude of an element that overflowed, before it did; 0 for none
	Inexact    int64      // divided elements that multiplying does not restore (see NewDivide)
}
