package convert

import (
	"io"
	"os"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Destination is the files of a checkpoint while they are being filled. The writers of the formats
// are destinations, of the tensors that they were laid out for.
type Destination interface {
	// At returns where the tensor i lies: a file, open for reading and writing at its full size, and
	// the range of the tensor's row-major little-endian bytes. f is nil where that is not known
	// in advance; then the destination is a Sinker.
	At(i int) (f *os.File, offset, length int64)

	// Finish completes the files after all tensors are written and durable: checksums, manifests,
	// indexes. It makes what it writes durable.
	Finish(written []Written) error

	// Close releases the files. It may be called again, and before Finish.
	Close() error
}

// Sinker is a Destination that takes tensors as streams, such as one that compresses them.
type Sinker interface {
	// Sink returns what takes all bytes of tensor i, in row-major order, from one goroutine; its
	// Close completes the tensor. Several tensors are written at once, each in one go: at most
	// as many as processors are used.
	Sink(i int) (io.WriteCloser, error)
}

// summer is a Destination that may need the CRC-32 of each tensor in Finish.
type summer interface{ NeedsCRC32() bool }

// Written is what Execute tells of a tensor that it wrote.
type Written = tensor.Written
