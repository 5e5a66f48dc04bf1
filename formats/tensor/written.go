package tensor

import "crypto/sha256"

// Written tells of a tensor that was written: what the writer of a format needs to complete its
// files, and what people want to know.
type Written struct {
	SHA256     [sha256.Size]byte // of its row-major little-endian elements
	CRC32      uint32            // IEEE, of the same bytes; 0 where the format does not ask for it
	Overflowed int64             // elements that were finite and became infinite in a narrower dtype
	Inexact    int64             // elements that were divided and that multiplying does not give back (see NewDivide)
}
