package orbax

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/orbax/ocdbt"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Uploader writes the files of a Layout to a place other than the local file system, the same files as a Writer. Files whose names
// depend on the digests of the tensors have other names until Finish.
type Uploader struct {
	writer *Writer // of the chunks; it has no files
	to     publish.Upload
	files  []io.WriterAt // as Layout.files
	spool  *uploadedSpool
}

// The names of files that are renamed or not there any more in the end.
const (
	nodesName  = ocdbt.DataDir + "/nodes"
	joinedName = ocdbt.DataDir + "/joined"
)

// UploadNames returns the names of the files that Upload creates: those that remain, and those that it renames or removes, under their first
// names.
func (l *Layout) UploadNames() (names, hidden []string) {
	for _, f := range l.Files() {
		names = append(names, f.Name)
	}
	if !l.ocdbt {
		return names, nil
	}
	hidden = []string{nodesName}
	for i := range l.files {
		hidden = append(hidden, dataName(i))
	}
	if !l.storage.Compress {
		return names, hidden
	}
	total := int64(0)
	for i, a := range l.arrays {
		if isSpooled(a) {
			total += a.mostEncoded()
		} else {
			hidden = append(hidden, dataName(i))
		}
	}
	hidden = append(hidden, ocdbt.DataDir+"/"+spoolName)
	for i := range 2*total/l.maxFile + 1 { // two files in a row are larger than one may be
		hidden = append(hidden, joinedName+strconv.FormatInt(i, 10))
	}
	return names, hidden
}

func dataName(i int) string { return ocdbt.DataDir + "/" + strconv.Itoa(i) }

// mostEncoded returns a bound of the size of the encoded chunks in bytes.
func (a *newArray) mostEncoded() int64 {
	return a.stored() + a.stored()/128 + max(a.Chunks(), 1)*overhead
}

// Upload begins to write to a place. The names of UploadNames are those of its publish.SinkOptions.
func (l *Layout) Upload(to publish.Upload) (*Uploader, error) {
	u := &Uploader{to: to, writer: &Writer{layout: l, chunks: make([][]extent, len(l.arrays)), done: make([]bool, len(l.arrays))}}
	for i, file := range l.files {
		f, err := to.Create(dataName(i), file.size)
		if err != nil {
			return nil, err
		}
		u.files = append(u.files, f)
	}
	if l.ocdbt && l.storage.Compress {
		most := int64(0)
		for _, a := range l.arrays {
			if isSpooled(a) {
				most += a.mostEncoded()
			}
		}
		out, err := to.Stream(ocdbt.DataDir+"/"+spoolName, most)
		if err != nil {
			return nil, err
		}
		u.spool = &uploadedSpool{out: out}
	}
	return u, nil
}

// At returns no file: tensors are written to their Sinks.
func (u *Uploader) At(int) (f *publish.OutputFile, offset, length int64) { return nil, 0, 0 }

// Order returns the same number for all tensors: they may be written in any order, but not many at once, since each takes memory.
func (u *Uploader) Order(int) int64 { return 0 }

// Sink returns a writer for all bytes of tensor i, in row-major order. Closing it completes the tensor.
func (u *Uploader) Sink(i int) (io.WriteCloser, error) {
	l := u.writer.layout
	a := l.arrays[i]
	if len(u.files) > 0 {
		return u.storedSink(i)
	}
	encoder, err := a.NewEncoder()
	if err != nil {
		return nil, err
	}
	s := &sink{w: u.writer, i: i, array: a, encoder: encoder}
	switch {
	case !l.ocdbt:
		s.out = &uploadedChunks{to: u.to, array: a}
	case isSpooled(a):
		s.out = &spooledChunk{spool: u.spool, most: a.mostEncoded()}
	default:
		s.out = &uploadedFile{to: u.to, name: dataName(i), most: a.mostEncoded()}
	}
	return s, nil
}

// storedSink returns a writer for a tensor that lies uncompressed in a file. What lies before it in the file is written at once.
func (u *Uploader) storedSink(i int) (io.WriteCloser, error) {
	l := u.writer.layout
	a := l.arrays[i]
	before := int64(0)
	for _, other := range l.files[a.file].arrays {
		if other == i {
			break
		}
		before = l.arrays[other].offset + l.arrays[other].stored()
	}
	if err := writeZeros(u.files[a.file], before, a.offset); err != nil {
		return nil, err
	}
	return &storedArray{OffsetWriter: io.NewOffsetWriter(u.files[a.file], a.offset), w: u.writer, i: i, file: u.files[a.file], end: a.offset + a.stored()}, nil
}

// storedArray writes an array and the padding of its last chunk.
type storedArray struct {
	*io.OffsetWriter
	w    *Writer
	i    int
	file io.WriterAt
	end  int64
}

func (s *storedArray) Close() error {
	a := s.w.layout.arrays[s.i]
	if err := writeZeros(s.file, a.offset+a.Bytes, s.end); err != nil {
		return err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.done[s.i] = true
	return nil
}

// writeZeros fills a range of a file.
func writeZeros(f io.WriterAt, from, to int64) error {
	zeros := make([]byte, min(to-from, 64<<10))
	for from < to {
		n, err := f.WriteAt(zeros[:min(to-from, int64(len(zeros)))], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

// uploadedFile stores chunks in a file of their own, one after another.
type uploadedFile struct {
	to   publish.Upload
	name string
	most int64
	out  io.WriteCloser
	at   int64
}

func (f *uploadedFile) begin(int64) (_ io.Writer, err error) {
	if f.out == nil {
		f.out, err = f.to.Stream(f.name, f.most)
	}
	return f.out, err
}

func (f *uploadedFile) end(length int64) (extent, error) {
	x := extent{f.at, length}
	f.at += length
	return x, nil
}

func (f *uploadedFile) close() error {
	if f.out == nil {
		return nil
	}
	return f.out.Close()
}

// uploadedChunks stores each chunk in a file of its own.
type uploadedChunks struct {
	to    publish.Upload
	array *newArray
	out   io.WriteCloser // nil between chunks
}

func (c *uploadedChunks) begin(chunk int64) (_ io.Writer, err error) {
	elements, padding := c.array.Run(chunk)
	size := elements + padding
	c.out, err = c.to.Stream(c.array.name+"/"+c.array.Key(chunk), size+size/128+overhead)
	return c.out, err
}

func (c *uploadedChunks) end(int64) (extent, error) {
	err := c.out.Close()
	c.out = nil
	return extent{}, err
}

func (c *uploadedChunks) close() error {
	if c.out == nil {
		return nil
	}
	return c.out.Close()
}

// uploadedSpool is a spool at a place other than the local file system.
type uploadedSpool struct {
	mu  sync.Mutex
	out io.WriteCloser
	end int64
}

// spooledChunk encodes the only chunk of an array in memory, and stores it in the spool.
type spooledChunk struct {
	spool  *uploadedSpool
	most   int64           // bytes
	buffer *storage.Buffer // nil if no chunk is begun
	filled int
}

func (s *spooledChunk) begin(int64) (_ io.Writer, err error) {
	s.buffer, err = storage.NewBuffer(int(s.most))
	return s, err
}

func (s *spooledChunk) Write(p []byte) (int, error) {
	n := copy(s.buffer.Bytes[s.filled:s.most], p)
	s.filled += n
	if n < len(p) {
		return n, fmt.Errorf("chunk takes more than %d bytes compressed", s.most)
	}
	return n, nil
}

func (s *spooledChunk) end(length int64) (extent, error) {
	s.spool.mu.Lock()
	defer s.spool.mu.Unlock()
	x := extent{s.spool.end, length}
	s.spool.end += length
	_, err := s.spool.out.Write(s.buffer.Bytes[:s.filled])
	return x, err
}

func (s *spooledChunk) close() error {
	if s.buffer == nil {
		return nil
	}
	return s.buffer.Free()
}

// Finish completes the checkpoint after all tensors are written.
func (u *Uploader) Finish(written []tensor.Written) error {
	l := u.writer.layout
	if len(written) != len(l.arrays) {
		return fmt.Errorf("%d tensors written, not %d", len(written), len(l.arrays))
	}
	for i, a := range l.arrays {
		if !u.writer.done[i] {
			return fmt.Errorf("tensor %s was not written", a.name)
		}
	}
	if l.ocdbt {
		if err := u.finishDatabase(written); err != nil {
			return err
		}
	} else {
		for _, a := range l.arrays {
			key, text := a.Document()
			if err := u.put(a.name+"/"+key, []byte(text)); err != nil {
				return err
			}
		}
	}
	for _, file := range l.metadata() {
		var content bytes.Buffer // the size is stated first
		if _, err := file.WriteTo(&content); err != nil {
			return err
		}
		if err := u.put(file.name, content.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func (u *Uploader) put(name string, content []byte) error {
	f, err := u.to.Create(name, int64(len(content)))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	return err
}

// finishDatabase gives the data files their names and writes the tree that refers to them.
func (u *Uploader) finishDatabase(written []tensor.Written) error {
	l := u.writer.layout
	values := make([][]ocdbt.Value, len(l.arrays))
	for n, file := range l.files {
		name := ocdbt.DataDir + "/" + l.contentName(written, file.arrays...)
		if err := u.to.Rename(dataName(n), name); err != nil {
			return err
		}
		for _, i := range file.arrays {
			values[i] = l.arrays[i].storedValues(name)
		}
	}
	if u.spool != nil {
		for i, a := range l.arrays {
			if isSpooled(a) {
				continue
			}
			name := ocdbt.DataDir + "/" + l.contentName(written, i)
			if err := u.to.Rename(dataName(i), name); err != nil {
				return err
			}
			values[i] = encodedValues(name, u.writer.chunks[i])
		}
		if err := u.unspool(values, written); err != nil {
			return err
		}
	}
	return ocdbt.WriteFiles(l.entries(values), func(name string) (io.WriteCloser, error) {
		if name == ocdbt.ManifestName {
			return u.to.Stream(name, l.Size)
		}
		return u.stream(nodesName, name, l.Size)
	})
}

func (u *Uploader) unspool(values [][]ocdbt.Value, written []tensor.Written) error {
	if err := u.spool.out.Close(); err != nil {
		return err
	}
	l, n := u.writer.layout, 0
	return u.to.Take(ocdbt.DataDir+"/"+spoolName, func(spool io.ReaderAt) error {
		return l.unspool(spool, u.writer.chunks, values, written, func(name string) (io.WriteCloser, error) {
			n++
			return u.stream(joinedName+strconv.Itoa(n-1), ocdbt.DataDir+"/"+name, l.Size)
		})
	})
}

// stream begins a file that is renamed when it is closed.
func (u *Uploader) stream(name, final string, most int64) (io.WriteCloser, error) {
	out, err := u.to.Stream(name, most)
	return &renamedStream{out, func() error { return u.to.Rename(name, final) }}, err
}

type renamedStream struct {
	io.WriteCloser
	rename func() error
}

func (s *renamedStream) Close() error {
	if err := s.WriteCloser.Close(); err != nil {
		return err
	}
	return s.rename()
}

// Close does nothing.
func (u *Uploader) Close() error { return nil }
