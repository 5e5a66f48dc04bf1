package orbax

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/orbax/ocdbt"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Writer writes the files of a Layout. In the uncompressed OCDBT formats the elements of each tensor go to
// the range that At returns, in the other formats to its Sink. The files do not depend on the order in
// which the tensors are written.
type Writer struct {
	layout *Layout
	dir    string
	made   *publish.OutputFiles
	files  []*publish.OutputFile // as Layout.files
	spool  *spool                // OCDBT: encoded arrays of one chunk, before they are moved to shared files

	compressors chan *compressor // that are not lent to a sink; nil for none

	mu     sync.Mutex
	sinks  map[*sink]bool // that are not closed
	chunks [][]extent     // OCDBT, as Layout.arrays: the ranges of the chunks, nil until all are written
	done   []bool         // as Layout.arrays
}

// extent is a range of a file, in bytes.
type extent struct{ offset, length int64 }

// Create begins to write into the directory dir, which exists and is empty. The files are created by files. If it fails, the caller removes
// the files that it has created.
func (l *Layout) Create(dir string, files *publish.OutputFiles) (*Writer, error) {
	w := &Writer{layout: l, dir: dir, made: files, sinks: map[*sink]bool{}, chunks: make([][]extent, len(l.arrays)), done: make([]bool, len(l.arrays)), compressors: newCompressors()}
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
	if err := w.made.Mkdir(w.path(ocdbt.DataDir)); err != nil {
		return err
	}
	for i, file := range w.layout.files {
		f, err := w.made.Create(w.data(strconv.Itoa(i)))
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
	f, err := (*publish.OutputFiles)(nil).Create(w.data(spoolName)) // it is removed in the end
	w.spool = &spool{file: f}
	return err
}

// createDirectories creates the directory of each array, with its metadata document.
func (w *Writer) createDirectories() error {
	for _, a := range w.layout.arrays {
		dir := w.path(filepath.FromSlash(a.name))
		if err := w.made.Mkdir(dir); err != nil {
			return err
		}
		key, text := a.Document()
		if err := w.made.WriteFile(filepath.Join(dir, key), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) path(name string) string { return filepath.Join(w.dir, name) }

// data returns the path of a data file of the database.
func (w *Writer) data(name string) string { return filepath.Join(w.dir, ocdbt.DataDir, name) }

// At returns the file of tensor i of the layout's specs and its range in the file. The file is nil if the
// tensor is written to its Sink.
func (w *Writer) At(i int) (f *publish.OutputFile, offset, length int64) {
	if len(w.files) == 0 {
		return nil, 0, 0
	}
	a := w.layout.arrays[i]
	return w.files[a.file], a.offset, a.Bytes
}

// Finish completes the checkpoint after all tensors are written. The names of the data files depend on the
// digests of the tensors. All files are synced, but not the directories.
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

// finishDatabase renames the data files and writes the tree that refers to them.
func (w *Writer) finishDatabase(written []tensor.Written) error {
	values, err := w.finishChunks(written)
	if err != nil {
		return err
	}
	return ocdbt.Write(w.dir, w.layout.entries(values), w.made)
}

// entries returns the entries of the database. values has those of the chunks, by array.
func (l *Layout) entries(values [][]ocdbt.Value) (entries []ocdbt.Entry) {
	n := 0
	for i := range l.arrays {
		n += 1 + len(values[i])
	}
	entries = make([]ocdbt.Entry, 0, n)
	documents := map[string][]byte{} // those that were made: most arrays have equal ones
	for i, a := range l.arrays {
		key, text := a.Document()
		document := documents[text]
		if document == nil {
			document = []byte(text)
			documents[text] = document
		}
		entries = append(entries, ocdbt.Entry{Key: a.name + "/" + key, Value: ocdbt.Value{Inline: document}})
		for n, value := range values[i] {
			entries = append(entries, ocdbt.Entry{Key: a.name + "/" + a.Key(int64(n)), Value: value})
		}
	}
	return entries
}

// finishChunks moves all chunks to their final files, and returns where each array's chunks are.
func (w *Writer) finishChunks(written []tensor.Written) ([][]ocdbt.Value, error) {
	values := make([][]ocdbt.Value, len(w.layout.arrays))
	if len(w.files) > 0 {
		return values, w.renameDataFiles(values, written)
	}
	for i, a := range w.layout.arrays {
		if isSpooled(a) {
			continue
		}
		name := w.layout.contentName(written, i)
		if err := w.made.Rename(w.data(strconv.Itoa(i)), w.data(name)); err != nil {
			return nil, err
		}
		values[i] = encodedValues(ocdbt.DataDir+"/"+name, w.chunks[i])
	}
	return values, w.unspool(values, written)
}

// renameDataFiles names the data files in which all values were known in advance.
func (w *Writer) renameDataFiles(values [][]ocdbt.Value, written []tensor.Written) error {
	if err := w.closeFiles(); err != nil {
		return err
	}
	for number, file := range w.layout.files {
		name := w.layout.contentName(written, file.arrays...)
		if err := w.made.Rename(w.data(strconv.Itoa(number)), w.data(name)); err != nil {
			return err
		}
		for _, i := range file.arrays {
			values[i] = w.layout.arrays[i].storedValues(ocdbt.DataDir + "/" + name)
		}
	}
	return nil
}

// storedValues returns the chunks of an array that lie uncompressed at its offset in a file.
func (a *newArray) storedValues(file string) (values []ocdbt.Value) {
	at := a.offset
	for n := range a.Chunks() {
		elements, padding := a.Run(n)
		values = append(values, ocdbt.Value{File: file, Offset: at, Length: elements + padding})
		at += elements + padding
	}
	return values
}

// encodedValues returns the chunks of an array that lie in a file at these ranges.
func encodedValues(file string, chunks []extent) (values []ocdbt.Value) {
	for _, x := range chunks {
		values = append(values, ocdbt.Value{File: file, Offset: x.offset, Length: x.length})
	}
	return values
}

// contentName returns a name for a data file that depends on the arrays in it, for the sake of caches by
// name.
func (l *Layout) contentName(written []tensor.Written, arrays ...int) string {
	h := sha256.New()
	for _, i := range arrays {
		_, text := l.arrays[i].Document()
		fmt.Fprintf(h, "%q %s %x\n", l.arrays[i].name, text, written[i].Digest.Sum())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Close closes the files, also those of sinks that were not closed. No sink is in use any more.
func (w *Writer) Close() error {
	for s := range w.sinks {
		s.abandon()
		s.encoder.Release()
		_ = s.out.close() // its tensor is not complete
	}
	w.sinks = nil
	err := errors.Join(w.closeFiles(), w.freeCompressors())
	if w.spool != nil && w.spool.file != nil {
		err = errors.Join(err, ignoreClosed(w.spool.file.Close()))
	}
	return err
}

func (w *Writer) freeCompressors() error {
	var errs []error
	for len(w.compressors) > 0 {
		c := <-w.compressors
		errs = append(errs, c.free())
	}
	return errors.Join(errs...)
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
