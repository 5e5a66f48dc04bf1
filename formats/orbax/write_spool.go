package orbax

import (
	"bufio"
	"errors"
	"io"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/orbax/ocdbt"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// spool is a file for the encoded arrays of one chunk, in the order in which they are written. In the end
// they are moved to files that many of them share, in the order of the layout, so that there are not
// hundreds of small files.
type spool struct {
	file *storage.OutputFile

	mu  sync.Mutex
	end int64
}

const spoolName = "spool"

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
func (w *Writer) unspool(spooled []int, values [][]ocdbt.Value, written []tensor.Written) error {
	var together []int
	total := int64(0)
	for _, i := range spooled {
		x := w.chunks[i][0]
		if x.length <= ocdbt.MaxInline {
			value := make([]byte, x.length)
			if _, err := w.spool.file.ReadAt(value, x.offset); err != nil {
				return err
			}
			values[i] = []ocdbt.Value{{Inline: value}}
			continue
		}
		if total+x.length > w.layout.maxFile {
			if err := w.join(together, values, written); err != nil {
				return err
			}
			together, total = nil, 0
		}
		together = append(together, i)
		total += x.length
	}
	if err := w.join(together, values, written); err != nil {
		return err
	}
	return errors.Join(w.spool.file.Close(), w.made.Remove(w.data(spoolName)))
}

// join copies spooled arrays to one data file.
func (w *Writer) join(arrays []int, values [][]ocdbt.Value, written []tensor.Written) error {
	if len(arrays) == 0 {
		return nil
	}
	name := w.contentName(written, arrays...)
	f, err := w.made.Create(w.data(name))
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 256<<10)
	at := int64(0)
	for _, i := range arrays {
		x := w.chunks[i][0]
		if _, err = io.Copy(out, io.NewSectionReader(w.spool.file, x.offset, x.length)); err != nil {
			break
		}
		values[i] = []ocdbt.Value{{File: ocdbt.DataDir + "/" + name, Offset: at, Length: x.length}}
		at += x.length
	}
	return errors.Join(err, out.Flush(), f.Sync(), f.Close())
}
