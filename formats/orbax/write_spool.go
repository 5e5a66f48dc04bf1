package orbax

import (
	"bufio"
	"errors"
	"io"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/orbax/ocdbt"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// spool is a file for the encoded arrays of one chunk, in the order in which they are written. In the end
// they are moved to files that many of them share, in the order of the layout, so that there are not
// hundreds of small files.
type spool struct {
	file *publish.OutputFile

	mu  sync.Mutex
	end int64
}

const spoolName = "spool" + publish.WorkMark

func isSpooled(a *newArray) bool { return a.Chunks() <= 1 }

// reserve returns the offset of n bytes that the caller may write.
func (s *spool) reserve(n int64) (offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	offset = s.end
	s.end += n
	return offset
}

// unspool moves the spooled arrays to their final location: small ones into the tree, the others into data
// files.
func (w *Writer) unspool(values [][]ocdbt.Value, written []tensor.Written) error {
	create := func(name string) (io.WriteCloser, error) {
		f, err := w.made.Create(w.data(name))
		if err != nil {
			return nil, err
		}
		return &joinedFile{bufio.NewWriterSize(f, 256<<10), f}, nil
	}
	if err := w.layout.unspool(w.spool.file, w.chunks, values, written, create); err != nil {
		return err
	}
	return errors.Join(w.spool.file.Close(), w.made.Remove(w.data(spoolName)))
}

// joinedFile is a data file of several arrays.
type joinedFile struct {
	*bufio.Writer
	file *publish.OutputFile
}

func (f *joinedFile) Close() error { return errors.Join(f.Flush(), f.file.Sync(), f.file.Close()) }

// unspool sets the values of the arrays of one chunk: small ones are inline, the others are copied to data files that create begins.
func (l *Layout) unspool(spool io.ReaderAt, chunks [][]extent, values [][]ocdbt.Value, written []tensor.Written, create func(name string) (io.WriteCloser, error)) error {
	var together []int
	total := int64(0)
	join := func() error {
		if len(together) == 0 {
			return nil
		}
		name := l.contentName(written, together...)
		out, err := create(name)
		if err != nil {
			return err
		}
		at := int64(0)
		for _, i := range together {
			x := chunks[i][0]
			if _, err = io.Copy(out, io.NewSectionReader(spool, x.offset, x.length)); err != nil {
				break
			}
			values[i] = encodedValues(ocdbt.DataDir+"/"+name, []extent{{at, x.length}})
			at += x.length
		}
		together, total = nil, 0
		return errors.Join(err, out.Close())
	}
	for i, a := range l.arrays {
		if a.Chunks() != 1 {
			continue
		}
		x := chunks[i][0]
		if x.length <= ocdbt.MaxInline {
			value := make([]byte, x.length)
			if _, err := spool.ReadAt(value, x.offset); err != nil && err != io.EOF {
				return err
			}
			values[i] = []ocdbt.Value{{Inline: value}}
			continue
		}
		if total+x.length > l.maxFile {
			if err := join(); err != nil {
				return err
			}
		}
		together = append(together, i)
		total += x.length
	}
	return join()
}
