package orbax

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/orbax/ocdbt"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Writer is the files of a Layout while they are being filled. In the uncompressed OCDBT formats
// each tensor goes to its place in a file, in the others through a Sink. The same tensors give the
// same files, whatever the order in which they come.
type Writer struct {
	layout *Layout
	dir    string
	files  []*os.File // as Layout.files
	spool  *spool     // OCDBT: encoded arrays of one chunk each, on their way to a file they share

	mu     sync.Mutex
	chunks [][]extent // OCDBT, as Layout.arrays: where the chunks lie, nil until they all do
	done   []bool     // as Layout.arrays
}

// extent is a range of a file, in bytes.
type extent struct{ offset, length int64 }

// Create begins to write into the directory dir, which exists and is empty. After an error what was
// made is left behind for the caller to remove.
func (l *Layout) Create(dir string) (*Writer, error) {
	w := &Writer{layout: l, dir: dir, chunks: make([][]extent, len(l.arrays)), done: make([]bool, len(l.arrays))}
	var err error
	if l.ocdbt {
		err = w.createData()
	} else {
		err = w.createDirectories()
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *Writer) createData() error {
	if err := os.Mkdir(w.path(ocdbt.DataDir), 0o777); err != nil {
		return err
	}
	for i, file := range w.layout.files {
		f, err := w.create(w.data(strconv.Itoa(i)))
		if err != nil {
			return err
		}
		w.files = append(w.files, f)
		if err := f.Truncate(file.size); err != nil {
			return err
		}
	}
	if !w.layout.storage.Compress {
		return nil
	}
	f, err := w.create(w.data("spool"))
	w.spool = &spool{file: f}
	return err
}

// createDirectories makes the directory of each array, with its metadata document.
func (w *Writer) createDirectories() error {
	for _, a := range w.layout.arrays {
		dir := w.path(filepath.FromSlash(a.name))
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		key, text := a.Document()
		if err := storage.WriteFile(filepath.Join(dir, key), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) path(name string) string { return filepath.Join(w.dir, name) }

// data returns the path of a data file of the database.
func (w *Writer) data(name string) string { return filepath.Join(w.dir, ocdbt.DataDir, name) }

func (w *Writer) create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
}

// At returns the file that tensor i of the layout's specs belongs into, and the range of its bytes,
// or nil where Sink takes it.
func (w *Writer) At(i int) (f *os.File, offset, length int64) {
	if len(w.files) == 0 {
		return nil, 0, 0
	}
	a := w.layout.arrays[i]
	return w.files[a.file], a.offset, a.Bytes
}

// Finish completes the checkpoint once all tensors are written: their digests name the data files.
// Everything is durable then but the directories themselves.
func (w *Writer) Finish(written []tensor.Written) error {
	if len(written) != len(w.layout.arrays) {
		return fmt.Errorf("%d tensors written, not %d", len(written), len(w.layout.arrays))
	}
	if len(w.files) == 0 {
		for i, a := range w.layout.arrays {
			if !w.done[i] {
				return fmt.Errorf("tensor %s was not written", a.name)
			}
		}
	}
	if w.layout.ocdbt {
		if err := w.finishDatabase(written); err != nil {
			return err
		}
	}
	return w.writeMetadata()
}

// finishDatabase gives the data files their names and writes the tree that refers to them.
func (w *Writer) finishDatabase(written []tensor.Written) error {
	places, err := w.settle(written)
	if err != nil {
		return err
	}
	var entries []ocdbt.Entry
	for i, a := range w.layout.arrays {
		key, text := a.Document()
		entries = append(entries, ocdbt.Entry{Key: a.name + "/" + key, Value: ocdbt.Value{Inline: []byte(text)}})
		for n, value := range places[i] {
			entries = append(entries, ocdbt.Entry{Key: a.name + "/" + a.Key(int64(n)), Value: value})
		}
	}
	return ocdbt.Write(w.dir, entries)
}

// settle brings all chunks to where they stay and returns where that is, for each array.
func (w *Writer) settle(written []tensor.Written) ([][]ocdbt.Value, error) {
	places := make([][]ocdbt.Value, len(w.layout.arrays))
	if len(w.files) > 0 {
		return places, w.settlePlaced(places, written)
	}
	var spooled []int
	for i, a := range w.layout.arrays {
		if isSpooled(a) {
			if a.Chunks() == 1 {
				spooled = append(spooled, i)
			}
			continue
		}
		name := w.contentName(written, i)
		if err := os.Rename(w.data(strconv.Itoa(i)), w.data(name)); err != nil {
			return nil, err
		}
		for _, x := range w.chunks[i] {
			places[i] = append(places[i], ocdbt.Value{File: ocdbt.DataDir + "/" + name, Offset: x.offset, Length: x.length})
		}
	}
	return places, w.unspool(spooled, places, written)
}

// settlePlaced names the data files in which all places were known in advance.
func (w *Writer) settlePlaced(places [][]ocdbt.Value, written []tensor.Written) error {
	if err := w.closeFiles(); err != nil {
		return err
	}
	for number, file := range w.layout.files {
		name := w.contentName(written, file.arrays...)
		if err := os.Rename(w.data(strconv.Itoa(number)), w.data(name)); err != nil {
			return err
		}
		for _, i := range file.arrays {
			a := w.layout.arrays[i]
			at := a.offset
			for n := range a.Chunks() {
				elements, padding := a.Run(n)
				places[i] = append(places[i], ocdbt.Value{File: ocdbt.DataDir + "/" + name, Offset: at, Length: elements + padding})
				at += elements + padding
			}
		}
	}
	return nil
}

// contentName names a data file after the arrays that it holds, as what caches a file by its name
// must not take one for another.
func (w *Writer) contentName(written []tensor.Written, arrays ...int) string {
	h := sha256.New()
	for _, i := range arrays {
		_, text := w.layout.arrays[i].Document()
		fmt.Fprintf(h, "%q %s %x\n", w.layout.arrays[i].name, text, written[i].Digest)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Close closes the files.
func (w *Writer) Close() error {
	err := w.closeFiles()
	if w.spool != nil && w.spool.file != nil {
		err = errors.Join(err, ignoreClosed(w.spool.file.Close()))
	}
	return err
}

func (w *Writer) closeFiles() error {
	var errs []error
	for _, f := range w.files {
		errs = append(errs, ignoreClosed(f.Close()))
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}
