package convert

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Checked reads the elements of a tensor from front to back and computes the checksum that its format
// keeps on the way, where that can be done. It is for use by one goroutine.
type Checked struct {
	in input
	r  io.ReadCloser
	at int64
}

// NewChecked opens a tensor. Reading reports broken input as *tensor.FormatError.
func NewChecked(t *tensor.Tensor) (*Checked, error) {
	c := &Checked{in: input{cursor: cursor{source: t}}}
	data := t.Data
	if s, ok := t.Data.(tensor.Summed); ok {
		if lay, ok, err := tensor.Layout(t); ok && err == nil {
			c.in.sums = &summing{ReaderAt: lay.Store, of: s}
			c.in.sums.next, c.in.sums.left, c.in.sums.want = s.Checksum()
			watched := *lay
			watched.Store = c.in.sums
			data = &watched
		}
	}
	var err error
	c.r, err = data.Stream(0)
	return c, tensor.Annotate(err, tensor.Location{Tensor: t.Name})
}

// Read fills p; the elements ending before that is broken input.
func (c *Checked) Read(p []byte) error {
	err := tensor.ReadFull(c.r, p)
	c.at += int64(len(p))
	return tensor.Annotate(err, tensor.Location{Tensor: c.in.source.Name})
}

// End reports, of a tensor that was read whole, what only its end tells: more data than there should be,
// or a wrong checksum.
func (c *Checked) End() error {
	if c.at != c.in.source.Bytes() {
		return nil
	}
	c.in.r, c.in.position = c.r, c.at
	return tensor.Annotate(c.in.end(), tensor.Location{Tensor: c.in.source.Name})
}

// Close releases the reader.
func (c *Checked) Close() error { return c.r.Close() }
