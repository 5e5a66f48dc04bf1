package tensor

import "io"

// PanelSource makes the elements of a tensor in panels: consecutive elements that are made at once
// because single ones would cost too much.
type PanelSource interface {
	// Panel returns the bytes of one or more elements, from element first on, in row-major order. It
	// uses the memory of buffer if that is large enough. first ascends from call to call.
	Panel(buffer []byte, first int64) ([]byte, error)

	// Close releases what the source holds.
	Close() error
}

// NewPanelReader returns a stream of a tensor's bytes from off on, as Data.Stream gives it, of
// elements that come from a source. Its memory is one panel.
func NewPanelReader(t *Tensor, off int64, source PanelSource) io.ReadCloser {
	size := t.DType.Size()
	return &panelReader{source: source, size: size, next: off / size, total: t.Elements(), skip: int(off % size)}
}

type panelReader struct {
	source PanelSource
	size   int64 // bytes of an element
	next   int64 // first element that is not in a panel yet
	total  int64
	skip   int    // bytes to drop of the next panel
	buffer []byte // memory of the panels
	panel  []byte // not read yet
}

// Read implements io.Reader.
func (r *panelReader) Read(p []byte) (int, error) {
	for len(r.panel) == 0 {
		if r.next >= r.total {
			return 0, io.EOF
		}
		panel, err := r.source.Panel(r.buffer, r.next)
		if err != nil {
			return 0, err
		}
		r.buffer, r.panel = panel, panel[r.skip:]
		r.next, r.skip = r.next+int64(len(panel))/r.size, 0
	}
	n := copy(p, r.panel)
	r.panel = r.panel[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *panelReader) Close() error {
	r.panel, r.total = nil, 0
	return r.source.Close()
}

// sized returns memory of n bytes: that of p if it is large enough.
func sized(p []byte, n int64) []byte {
	if int64(cap(p)) < n {
		return make([]byte, n)
	}
	return p[:n]
}
