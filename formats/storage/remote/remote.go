// Package remote reads files that are slow to reach, such as those of a web server or an object store,
// through the interface of local ones. It fetches large ranges, several at a time, ahead of the
// reader; resumes transfers that break; and bounds the memory that all of this takes.
//
// A Pool has the memory and the connections of any number of files. A Node is a file of a Pool; what
// fetches its bytes is an Object, of which the packages web, hub and bucket have one each.
//
// Files are read ahead in the order of a plan (tensor.Planner). Without a plan, the ranges grow while
// a file is read sequentially and stay small otherwise.
package remote

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// Object gives access to the content of a file.
type Object interface {
	// Open returns n bytes of the content from offset off on. The file has so many. If the reader
	// ends early or fails, the rest is asked for by another call. An *Error that is not Temporary ends
	// the attempts.
	Open(ctx context.Context, off, n int64) (io.ReadCloser, error)
}

// Sequential is implemented by an Object whose server may send whole files only. If it returns true, ranges are opened one at a
// time, and each begins at or after the end of the one before.
type Sequential interface {
	Object
	Sequential() bool
}

// Options are the limits of a Pool. Zero values stand for the defaults.
type Options struct {
	Memory   int64         // bytes for content, DefaultMemory by default, 16 MiB at least
	InFlight int           // requests at a time that are not being waited for, DefaultInFlight by default
	Attempts int           // without progress before a request fails, 8 by default
	Backoff  time.Duration // before the second attempt, doubled before each further one; 250 ms by default
	Stall    time.Duration // without a byte before a request counts as broken; 30 s by default

	// Retrying, if not nil, is called before an attempt that follows others in vain, with what went
	// wrong and how long the wait is. Calls may overlap.
	Retrying func(err error, wait time.Duration)

	// Notice, if not nil, is called with what users should know about a file while it is being read or waited for.
	Notice func(address, text string)
}

const (
	// DefaultMemory is the memory of a Pool in bytes.
	DefaultMemory = 40 << 20

	// DefaultInFlight is how many requests a Pool has on their way. Clients keep as many connections.
	DefaultInFlight = 256

	bufferSize  = 2 << 20  // of large requests
	lazySize    = 8 << 20  // of large requests of which no more than a reader has room for is kept
	smallSize   = 64 << 10 // requests up to here have memory of their own
	smallMemory = 4 << 20  // of small requests that are kept
	smallest    = 4 << 10  // request outside a plan
	mostBackoff = 8 * time.Second
)

// Pool holds what is fetched for a set of files, in bounded memory. It is safe for concurrent use.
type Pool struct {
	ctx context.Context
	o   Options

	pace pace

	mu       sync.Mutex
	changed  sync.Cond         // after a chunk gained bytes, failed, or was released
	free     []*storage.Buffer // of bufferSize
	buffers  int               // in use or free
	most     int               // buffers
	started  int64             // chunks
	large    int               // large chunks, with and without buffers
	waiting  []*chunk          // whose answers have arrived and that have no buffer, in the order in which they were asked for
	small    int64             // bytes of small chunks
	inFlight int
	idle     int      // requests that were given up until a reader goes on
	clock    int64    // counts reads, to tell which chunk was used last
	chunks   []*chunk // all, of all files
	reading  []*span  // claimed and not fetched to their end
	queue    []*span  // planned and not claimed
}

// NewPool returns a Pool whose requests end when ctx does.
func NewPool(ctx context.Context, o Options) *Pool {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	o.Memory = max(o.Memory, 16<<20)
	if o.InFlight == 0 {
		o.InFlight = DefaultInFlight
	}
	if o.Attempts == 0 {
		o.Attempts = 8
	}
	if o.Backoff == 0 {
		o.Backoff = 250 * time.Millisecond
	}
	if o.Stall == 0 {
		o.Stall = 30 * time.Second
	}
	p := &Pool{ctx: ctx, o: o, most: int((o.Memory - smallMemory) / bufferSize)}
	p.changed.L = &p.mu
	return p
}

// Context returns the context of the Pool's requests.
func (p *Pool) Context() context.Context { return p.ctx }

// Detach returns a Pool with the options of p whose requests go on after the end of p's context, for at most a limit: for
// requests that clean up.
func Detach(p *Pool, limit time.Duration) (*Pool, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), limit)
	return NewPool(ctx, p.o), cancel
}

// Notice calls Options.Notice.
func (p *Pool) Notice(address, text string) {
	if p.o.Notice != nil {
		p.o.Notice(address, text)
	}
}

// Memory returns the bytes that the Pool holds at most.
func (p *Pool) Memory() int64 { return p.o.Memory }
