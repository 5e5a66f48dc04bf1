package transfer

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Destination is the files of a checkpoint while they are being filled. The writers of the formats
// are Destinations of the tensors that they were laid out for.
type Destination interface {
	// At returns where tensor i lies: a file, open for reading and writing at its full size, and the
	// range of the tensor's row-major little-endian bytes. f is nil if that is not known in advance;
	// the Destination is a Sinker then.
	At(i int) (f *publish.OutputFile, offset, length int64)

	// Finish completes the files after all tensors are written and durable: checksums, manifests,
	// indexes. It makes what it writes durable.
	Finish(written []tensor.Written) error

	// Close releases the files. It may be called again, and before Finish.
	Close() error
}

// Sinker is a Destination that takes tensors as streams, such as one that compresses them.
type Sinker interface {
	// Sink returns a writer for all bytes of tensor i, in row-major order. It is used by one goroutine,
	// and its Close completes the tensor. As many tensors are written at once as Execute has workers.
	Sink(i int) (io.WriteCloser, error)
}

// crc32Destination is a Destination that says whether Finish needs the CRC-32 of each tensor.
type crc32Destination interface{ NeedsCRC32() bool }

// memoryDestination is a Destination that says how many bytes of memory it takes beside the writer of each worker.
type memoryDestination interface{ Memory() int64 }

// Ordered is a Sinker whose tensors are best written in an order, though not one after the other.
type Ordered interface {
	// Order returns a number by which tensors are sorted.
	Order(i int) int64
}

// OrderedWorkers is how many tensors of an Ordered are written at once, at most. Each may keep others from being stored.
const OrderedWorkers = 4

// workersFor returns how many jobs are done at once for a destination.
func workersFor(dst Destination) int {
	if _, ok := dst.(Ordered); ok {
		return min(maxWorkers(), OrderedWorkers)
	}
	return maxWorkers()
}
