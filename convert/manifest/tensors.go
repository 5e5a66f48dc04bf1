package manifest

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
)

// Tensors are the tensors of a Record, which lie in its file. They are for one goroutine.
type Tensors struct {
	record *Record
	file   io.ReaderAt
	closer io.Closer
	buffer []byte
}

// Span is where a tensor lies in the text of a record. The zero Span is of none.
type Span struct{ begin, bytes int32 }

// Open opens the file of a record. The caller closes it after use.
func (r *Record) Open() (*Tensors, error) {
	file, closer, err := r.text.open()
	if err != nil {
		return nil, err
	}
	return &Tensors{record: r, file: file, closer: closer}, nil
}

// Close closes the file.
func (t *Tensors) Close() error { return t.closer.Close() }

// Each calls f with each tensor, which is valid until f returns, and where it lies. It returns the first error of f.
func (r *Record) Each(f func(at Span, t *Tensor) error) error {
	if r.tensors == 0 {
		return nil
	}
	file, closer, err := r.text.open()
	if err != nil {
		return err
	}
	defer closer.Close()
	p := &parser{d: strictjson.NewReader(io.NewSectionReader(file, r.tensors, r.text.size-r.tensors), maxDepth)}
	err = p.tensors(func(begin, end int64, t *Tensor) error {
		return f(Span{int32(r.tensors + begin), int32(end - begin)}, t)
	})
	return r.text.annotate(err)
}

// At reads the tensor at a span.
func (t *Tensors) At(s Span) (*Tensor, error) {
	if int(s.bytes) > cap(t.buffer) {
		t.buffer = make([]byte, 2*s.bytes)
	}
	t.buffer = t.buffer[:s.bytes]
	n, err := t.file.ReadAt(t.buffer, int64(s.begin))
	if n < len(t.buffer) && err != io.EOF {
		return nil, err
	}
	found := &Tensor{}
	p := &parser{d: strictjson.NewDecoder(t.buffer[:n], maxDepth)}
	if err = p.tensor(found); err == nil {
		err = p.d.End()
	}
	return found, t.record.text.annotate(err)
}
