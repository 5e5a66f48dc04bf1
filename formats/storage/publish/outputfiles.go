package publish

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// OutputFiles creates the files of an output, and computes their digests from what is written to them. It is safe for
// concurrent use. The files of a nil OutputFiles have no digests.
type OutputFiles struct {
	algorithms digest.Algorithms

	mu  sync.Mutex
	all map[string]*output // by path
}

// NewOutputFiles returns OutputFiles without a file.
func NewOutputFiles(a digest.Algorithms) *OutputFiles {
	return &OutputFiles{algorithms: a, all: map[string]*output{}}
}

// output is a file that is or was written.
type output struct {
	hash *digest.Hash
	size int64 // of a file that is not local; else -1
}

// OutputFile is a file that is being written. Every byte is written once.
type OutputFile struct {
	file *system.File
	hash *digest.Hash // nil if it has no digests
}

// NewOutputFile returns a file that is open for writing, without digests.
func NewOutputFile(f *os.File) *OutputFile { return &OutputFile{file: system.NewFile(f)} }

// Create creates a file for writing and reading. It must not exist.
func (f *OutputFiles) Create(path string) (*OutputFile, error) {
	file, err := system.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	created := &OutputFile{file: file}
	if f != nil {
		created.hash = digest.NewBounded(f.algorithms, mostHeld)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.all[path] = &output{created.hash, -1}
	}
	return created, nil
}

// Write implements io.Writer.
func (f *OutputFile) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	if f.hash != nil {
		f.hash.Write(p[:n])
	}
	return n, err
}

// WriteAt implements io.WriterAt.
func (f *OutputFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.file.WriteAt(p, off)
	f.Feed(off, p[:n])
	return n, err
}

// Feed adds bytes to the digest that are written to the file in another way, such as by an Output. What is not fed is
// read when the digest is asked for.
func (f *OutputFile) Feed(off int64, p []byte) {
	if f.hash != nil {
		f.hash.Feed(off, p)
	}
}

// ReadAt implements io.ReaderAt.
func (f *OutputFile) ReadAt(p []byte, off int64) (int, error) { return f.file.ReadAt(p, off) }

// Truncate sets the size.
func (f *OutputFile) Truncate(size int64) error { return f.file.Truncate(size) }

// Size returns the size.
func (f *OutputFile) Size() (int64, error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Name returns the path with which the file was created.
func (f *OutputFile) Name() string { return f.file.Name() }

// Sync makes the file durable.
func (f *OutputFile) Sync() error { return f.file.Sync() }

// Close closes the file.
func (f *OutputFile) Close() error { return f.file.Close() }

// Track computes the digest of a file of a size that is not in the local file system, from what is written to it by w. Its
// name stands for its path.
func (f *OutputFiles) Track(name string, size int64, w io.WriterAt) io.WriterAt {
	hash := digest.New(f.algorithms)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[name] = &output{hash, size}
	return &trackedWriter{w, hash}
}

// trackedWriter hashes what is written.
type trackedWriter struct {
	io.WriterAt
	hash *digest.Hash
}

// WriteAt implements io.WriterAt.
func (w *trackedWriter) WriteAt(p []byte, off int64) (int, error) {
	n, err := w.WriterAt.WriteAt(p, off)
	w.hash.Feed(off, p[:n])
	return n, err
}

// WriteFile writes and syncs a small file, which must not exist.
func (f *OutputFiles) WriteFile(path string, content []byte) error {
	file, err := f.Create(path)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Sync(), file.Close())
}

// Remove removes a file.
func (f *OutputFiles) Remove(path string) error {
	if err := system.Remove(path); err != nil || f == nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, path)
	return nil
}

// Mkdir creates a directory, and those above it.
func (f *OutputFiles) Mkdir(path string) error { return system.MkdirAll(path) }

// Rename renames a file.
func (f *OutputFiles) Rename(from, to string) error {
	if err := system.Rename(from, to); err != nil || f == nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[to] = f.all[from]
	delete(f.all, from)
	return nil
}

// mostHeld is how many bytes of a file are held for its digest, because those around them are not written yet. Others are read back.
const mostHeld = 8 << 20

// FileSum is a file with its digest.
type FileSum struct {
	Path  string
	Bytes int64
	digest.Sum
}

// Sums returns all files with their digests, by path. What was not hashed when it was written is read: gaps that were
// left, and for SHA-256 what was not written in order. A file that cannot be read, since it is not local, has no digest then.
func (f *OutputFiles) Sums(ctx context.Context) ([]FileSum, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []FileSum
	for path, o := range f.all {
		if o.size >= 0 {
			s := FileSum{Path: path, Bytes: o.size}
			if o.hash.Missing(o.size) == o.size {
				s.Sum = o.hash.Sum(o.size)
			}
			all = append(all, s)
			continue
		}
		sum, err := finish(ctx, path, o.hash)
		if err != nil {
			return nil, err
		}
		all = append(all, sum)
	}
	slices.SortFunc(all, func(a, b FileSum) int { return cmp.Compare(a.Path, b.Path) })
	return all, nil
}

// finish reads what a hash lacks of a file.
func finish(ctx context.Context, path string, hash *digest.Hash) (FileSum, error) {
	file, err := system.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return FileSum{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return FileSum{}, err
	}
	size := info.Size()
	var buffer []byte
	for at := hash.Missing(size); at < size; at = hash.Missing(size) {
		if err := ctx.Err(); err != nil {
			return FileSum{}, err
		}
		if buffer == nil {
			buffer = make([]byte, 256<<10)
		}
		n, err := file.ReadAt(buffer[:min(size-at, int64(len(buffer)))], at)
		if n == 0 {
			return FileSum{}, cmp.Or(err, io.ErrUnexpectedEOF)
		}
		hash.Feed(at, buffer[:n])
	}
	return FileSum{path, size, hash.Sum(size)}, nil
}
