package orbax

import (
	"bufio"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/orbax/ocdbt"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// spool takes the encoded arrays of one chunk each, in whatever order they come. In the end they
// are moved to files that many of them share, in the order of the layout: in files of their own
// there would be hundreds of small ones.
type spool struct {
	file *os.File

	mu  sync.Mutex
	end int64
}

func isSpooled(a *newArray) bool { return a.Chunks() <= 1 }

// reserve returns where n bytes may be written.
func (s *spool) reserve(n int64) (offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	offset = s.end
	s.end += n
	return offset
}

// unspool moves the spooled arrays to where they stay: into the tree where they are small enough,
// otherwise one behind another into data files.
func (w *Writer) unspool(spooled []int, places [][]ocdbt.Value, written []tensor.Written) error {
	var together []int
	total := int64(0)
	for _, i := range spooled {
		x := w.chunks[i][0]
		if x.length <= ocdbt.MaxInline {
			value := make([]byte, x.length)
			if _, err := w.spool.file.ReadAt(value, x.offset); err != nil {
				return err
			}
			places[i] = []ocdbt.Value{{Inline: value}}
			continue
		}
		if total+x.length > w.layout.maxFile {
			if err := w.join(together, places, written); err != nil {
				return err
			}
			together, total = nil, 0
		}
		together = append(together, i)
		total += x.length
	}
	if err := w.join(together, places, written); err != nil {
		return err
	}
	return errors.Join(w.spool.file.Close(), os.Remove(w.spool.file.Name()))
}

// join copies spooled arrays into one data file.
func (w *Writer) join(arrays []int, places [][]ocdbt.Value, written []tensor.Written) error {
	if len(arrays) == 0 {
		return nil
	}
	name := w.contentName(written, arrays...)
	f, err := w.create(w.data(name))
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
		places[i] = []ocdbt.Value{{File: ocdbt.DataDir + "/" + name, Offset: at, Length: x.length}}
		at += x.length
	}
	return errors.Join(err, out.Flush(), f.Sync(), f.Close())
}
