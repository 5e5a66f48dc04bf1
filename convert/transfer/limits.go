package transfer

import (
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// limits are the sizes, in bytes, that bound the memory of an execution, which does not grow with
// the tensors.
type limits struct {
	panel   int64 // of one write; larger than band and step by two pages or more
	spare   int   // panels that are written while each worker fills one
	buffers int64 // all buffers for matrices that are being transposed, together
	band    int64 // what is transposed and hashed at a time
	step    int64 // what is copied and hashed at a time
	part    int64 // what is decoded in one go, where a tensor can be divided
	load    int64 // what is read of a matrix before the next look whether to stop
	scratch int64 // of each worker; at least band and step
}

// limitsOf returns the limits for a list and where it goes. Reading the files of its sources and writing what it fills hold
// otherMemory bytes beside.
func limitsOf(list moves.List, dst Destination, otherMemory int64) limits {
	if d, ok := dst.(memoryDestination); ok {
		otherMemory += d.Memory()
	}
	sinks := false
	for i := range list.Dests {
		f, _, _ := dst.At(i)
		sinks = sinks || f == nil
	}
	l := newLimits(workersFor(dst), largestMatrix(list), sinks)
	streams := int64(0) // of sources that need memory of their own, one for each worker
	for i := range list.Moves {
		streams = max(streams, tensor.StreamMemory(list.Moves[i].Source))
	}
	l.buffers = max(l.buffers-int64(workersFor(dst))*streams-otherMemory, l.buffers/4)
	return l
}

// newLimits returns limits that keep an execution under 256 MiB, given the number of workers and the
// bytes of the largest matrix.
//
// Spare panels let the disk work ahead, but a worker that cannot hold all of its matrix in memory
// costs more. Writes of 4 MiB were measured to be almost twice as fast as those of 256 KiB; a band and
// a step stay in a core's own cache. If sinks take the elements, spare panels are of no use, and each
// worker has an encoder.
func newLimits(workers int, matrix int64, sinks bool) limits {
	const (
		all     = 235 << 20
		heap    = 14 << 20 // Go's own, headers of checkpoints
		encoder = 3 << 20
	)
	fewest, most := int64(3), int64(8) // spare panels
	perWorker := int64(4 << 20)        // scratch, a decoder of Orbax's chunks
	if sinks {
		fewest, most, perWorker = 1, 1, perWorker+encoder
	}
	l := limits{panel: 4 << 20, band: 1 << 20, step: 256 << 10, load: 4 << 20, part: 32 << 20, scratch: 1 << 20}
	rest := all - heap - int64(workers)*(perWorker+l.panel)
	l.spare = int(min(max((rest-int64(workers)*min(matrix, all))/l.panel, fewest), most))
	l.buffers = rest - int64(l.spare)*l.panel
	return l
}

// largestMatrix returns the bytes of the largest matrix that a list transposes, as far as its views
// tell.
func largestMatrix(list moves.List) int64 {
	n := int64(0)
	for i := range list.Moves {
		m := &list.Moves[i]
		if x, ok := asMatrices(m.View); ok {
			n = max(n, x.rows*x.cols*m.Source.DType.Size())
		}
	}
	return n
}
