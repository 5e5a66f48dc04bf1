package publish

import (
	"context"
	"io"
	"io/fs"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// Sink is a destination outside the local file system, such as a directory of a bucket, or an object with others beside
// it. What is written to it appears complete or not at all.
type Sink interface {
	// Contents returns the names of what is at the destination, as Source has them.
	Contents() ([]string, error)

	// Interrupted reports whether a run that did not end has left something. What is at the destination then is complete
	// if the last file is there.
	Interrupted() (bool, error)

	// Clean removes what a run has left that did not end, and returns what that was.
	Clean() (removed []string, err error)

	// CleanBelow is Clean for the destinations that are files and directories of this one, such as the steps of a run.
	CleanBelow() (removed []string, err error)

	// Begin begins to write, after Clean.
	Begin(o SinkOptions) (Upload, error)

	// Source returns the destination as a source, as it is now, and the name of the destination in it.
	Source() (source fs.FS, name string, err error)
}

// SinkOptions describe what will be written.
type SinkOptions struct {
	Names   []string // of all files but Last and Hidden
	Hidden  []string // of files that are renamed, or not there any more, before Publish
	Last    string   // the file without which the destination is not usable, which appears last
	Replace bool     // remove what is at the destination, beginning with Last, as late as possible
	Preview bool     // Upload.Preview will be called
}

// Upload is a destination that is being written. Until Publish it is as it was.
type Upload interface {
	// Create begins a file of a size. It is complete when all its bytes are written, each once, in any order.
	Create(name string, size int64) (io.WriterAt, error)

	// Stream begins a file of a size that is not known, at most a bound, which is written from the beginning. Close completes it.
	Stream(name string, most int64) (io.WriteCloser, error)

	// Rename gives a complete file of SinkOptions.Hidden another name.
	Rename(from, to string) error

	// Take ends a complete file of SinkOptions.Hidden, and gives its content to use.
	Take(name string, use func(content io.ReaderAt) error) error

	// Wait waits until what was written is stored. It fails if a file has gaps.
	Wait() error

	// Preview returns a source of the files that are stored, after Wait.
	Preview() (source fs.FS, name string, err error)

	// Publish makes all files appear, the last one last. It fails if another run has begun to write to the destination.
	Publish() error

	// Discard removes what was written. After Publish it does nothing.
	Discard() error

	// Memory returns the bytes that writing takes at most, for a number of concurrent writers.
	Memory(writers int) int64
}

// SinkOpener returns the sink at an address. single is set if it is a file, which the name "" stands for; other names are
// appended to its own.
type SinkOpener func(ctx context.Context, address string, single bool) (Sink, error)

var (
	openersMu sync.RWMutex
	openers   = map[string]SinkOpener{}
)

// RegisterSink makes OpenSink open addresses of a scheme through open.
func RegisterSink(scheme string, open SinkOpener) {
	openersMu.Lock()
	defer openersMu.Unlock()
	openers[scheme] = open
}

// OpenSink returns the sink at an address. ok is false for a path of the local file system.
func OpenSink(ctx context.Context, address string, single bool) (s Sink, ok bool, err error) {
	scheme, ok := storage.Scheme(address)
	if !ok {
		return nil, false, nil
	}
	openersMu.RLock()
	open := openers[scheme]
	openersMu.RUnlock()
	if open == nil {
		return nil, true, &storage.SchemeError{Scheme: scheme, Write: true}
	}
	s, err = open(ctx, address, single)
	return s, true, err
}
