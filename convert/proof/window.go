package proof

import (
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// window is a part of a written tensor in memory. The offsets that it is asked for mostly ascend.
type window struct {
	tensor *tensor.Tensor
	store  io.ReaderAt // nil if the tensor does not lie in one piece
	base   int64
	bytes  int64 // of the tensor
	first  int64 // byte of the tensor at which buffer begins
	buffer []byte
	digest *source.Digest // nil if it is not wanted

	sum    *tensor.ChecksumStore // store, if the tensor has a checksum
	stream *tensor.Cursor        // for a tensor that does not lie in one piece
	ahead  int64                 // bytes that at reads at least
}

const windowBytes = 256 << 10

func newWindow(t *tensor.Tensor, digest *source.Digest, buffer []byte, ahead int64) (window, error) {
	w := window{ahead: ahead, tensor: t, bytes: t.Bytes(), digest: digest, buffer: buffer[:0], stream: tensor.NewCursor(t)}
	layout, ok, err := tensor.Layout(t)
	if err != nil {
		return w, err
	}
	if ok {
		if at, _, contiguous := layout.Contiguous(); contiguous {
			w.store, w.base = layout.Store, at
			if summed, ok := t.Data.(tensor.Checksummed); ok {
				w.sum = tensor.NewChecksumStore(layout.Store, summed)
				w.store = w.sum
			}
		}
	}
	return w, nil
}

// at returns n bytes of the tensor from off on, and reads ahead.
func (w *window) at(off, n int64) ([]byte, error) {
	if off < w.first || off+n > w.first+int64(len(w.buffer)) {
		p, err := w.read(off, min(max(n, w.ahead), w.bytes-off))
		if err != nil {
			return nil, err
		}
		w.digest.Feed(off, p)
	}
	return w.buffer[off-w.first:][:n], nil
}

// read returns n bytes of the tensor from off on.
func (w *window) read(off, n int64) ([]byte, error) {
	w.first, w.buffer = off, slices.Grow(w.buffer[:0], int(n))[:n]
	if err := w.fill(off); err != nil {
		w.buffer = w.buffer[:0]
		return nil, tensor.Annotate(err, tensor.Location{Tensor: w.tensor.Name})
	}
	return w.buffer, nil
}

func (w *window) fill(off int64) error {
	if w.store != nil {
		got, err := w.store.ReadAt(w.buffer, w.base+off)
		if got < len(w.buffer) {
			return tensor.ShortRead(err)
		}
		return nil
	}
	_, err := w.stream.ReadAt(w.buffer, off)
	return err
}

// finish checks the checksum of the tensor. If not all of the tensor was read in order, it is read again for that.
func (w *window) finish() error {
	if w.sum == nil {
		return nil
	}
	return tensor.Annotate(w.sum.Finish(), tensor.Location{Tensor: w.tensor.Name})
}

func (w *window) close() error { return w.stream.Close() }
