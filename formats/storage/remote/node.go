package remote

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Node is a file of a Pool. What was fetched of it is shared by all that open it. It is safe for
// concurrent use.
type Node struct {
	pool    *Pool
	object  Object
	address string // for errors
	size    int64

	// sequential is set if one range is fetched after the other.
	sequential bool

	// Guarded by pool.mu.
	fetching int      // chunks
	chunks   []*chunk // by offset; they do not overlap
	spans    []*span  // planned, by offset; they do not overlap
	streams  [8]stream
	jumps    bool  // readers have left out bytes or gone back
	err      error // that ends all reading, nil for none
}

// stream is a sequence of reads, each of which begins where the one before ended.
type stream struct {
	next   int64 // where the next read would begin
	window int64 // bytes of the last request
	used   int64 // pool.clock at the last read; 0 for none
}

// NewNode returns a file of size bytes. head is what is known of its first bytes, nil if nothing is.
func (p *Pool) NewNode(address string, size int64, object Object, head []byte) *Node {
	n := &Node{pool: p, object: object, address: address, size: size}
	if s, ok := object.(Sequential); ok && s.Sequential() {
		n.sequential = true
		p.Notice(address, "the server sends whole files only: this one is read from its beginning to its end, once")
	}
	if len(head) > 0 && int64(len(head)) <= size {
		p.mu.Lock()
		defer p.mu.Unlock()
		c := &chunk{node: n, length: int64(len(head)), data: slices.Clone(head), filled: len(head), done: true}
		p.small += int64(len(head))
		n.insert(c)
	}
	return n
}

// Size returns the bytes of the file.
func (n *Node) Size() int64 { return n.size }

// Open returns the file for reading. name is what Stat says.
func (n *Node) Open(name string) *File { return &File{node: n, name: path.Base(name)} }

// Info returns what Stat of an open file returns.
func (n *Node) Info(name string) fs.FileInfo { return info{path.Base(name), n.size, 0o444} }

// Directory returns the description of a directory.
func Directory(name string) fs.FileInfo { return info{path.Base(name), 0, fs.ModeDir | 0o555} }

// Entry returns the description of a file that was not opened.
func Entry(name string, size int64) fs.FileInfo { return info{path.Base(name), size, 0o444} }

type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

// File is an open Node.
type File struct {
	node *Node
	name string

	mu     sync.Mutex
	at     int64 // of the next Read
	closed bool
}

// Stat implements fs.File.
func (f *File) Stat() (fs.FileInfo, error) { return f.node.Info(f.name), nil }

// Close implements fs.File.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// Read implements fs.File.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	if f.at >= f.node.size {
		return 0, io.EOF
	}
	n, err := f.node.ReadAt(p[:min(int64(len(p)), f.node.size-f.at)], f.at)
	f.at += int64(n)
	return n, err
}

// Sequential reports whether the file is best read from its beginning to its end, once. See tensor.IsSequential.
func (f *File) Sequential() bool { return f.node.sequential }

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return 0, fs.ErrClosed
	}
	return f.node.ReadAt(p, off)
}

// Plan implements tensor.Planner.
func (f *File) Plan(extents []tensor.Extent) { f.node.pool.plan(extents) }

// ReadAt implements io.ReaderAt.
func (n *Node) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: n.address, Err: fs.ErrInvalid}
	}
	var end error
	if left := max(n.size-off, 0); int64(len(p)) > left {
		p, end = p[:left], io.EOF
	}
	if len(p) > bufferSize && !n.sequential {
		n.ask(off, off+int64(len(p)))
	}
	done := 0
	for done < len(p) {
		got, err := n.readSome(p[done:], off+int64(done))
		done += got
		if err != nil {
			return done, err
		}
	}
	return done, end
}

// ask begins to fetch what no chunk has of a range that is being read.
func (n *Node) ask(off, end int64) {
	p := n.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	s := n.spanAt(off)
	for at := off; at < end && n.err == nil; {
		c := n.find(at)
		if c == nil {
			if p.inFlight >= p.mostInFlight() || p.ctx.Err() != nil {
				return
			}
			if c = p.start(n, at, n.gap(at, end-at), false); c == nil {
				return
			}
			if s != nil && at >= s.off && c.end() <= s.end {
				c.planned, s.next = true, max(s.next, c.end())
			}
		}
		at = c.end()
	}
}

// readSome reads what one chunk has of p. It reads nothing if another reader takes it first.
func (n *Node) readSome(p []byte, off int64) (int, error) {
	pool := n.pool
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if n.err != nil {
		return 0, n.err
	}
	pool.clock++
	if pool.idle > 0 {
		pool.changed.Broadcast()
	}
	c := n.find(off)
	for c == nil && n.sequential && n.fetching > 0 {
		pool.changed.Wait()
		c = n.find(off)
	}
	if c == nil {
		if err := pool.ctx.Err(); err != nil {
			return 0, err
		}
		n.jumps = n.jumps || n.wasTaken(off)
		from, to := off, off+n.gap(off, n.want(off, int64(len(p))))
		if to == n.size {
			from = n.tail(off)
		}
		c = pool.start(n, from, to-from, true)
		if s := n.spanAt(off); s != nil {
			s.next = max(s.next, c.end())
		}
	}
	c.users++
	pool.assign()
	defer c.release()
	c.used = pool.clock
	n.follow(off, min(int64(len(p)), c.end()-off))
	got, err := c.copyTo(p, off)
	if got == 0 {
		return 0, err
	}
	c.read += got
	n.passed(off, int64(got))
	pool.pump()
	return got, nil
}

// copyTo waits for the bytes of a chunk from off on, and copies those that it has to p, or takes them from its answer. It returns 0
// and no error if another reader has taken them.
func (c *chunk) copyTo(p []byte, off int64) (int, error) {
	pool := c.node.pool
	at := int(off - c.off)
	for c.filled <= at && c.err == nil {
		switch skip := off - c.begin(); {
		case c.answer == nil || c.data != nil || c.reading || !c.isLazy():
			pool.changed.Wait()
		case skip == 0:
			if n := c.take(p[:min(int64(len(p)), c.end()-off)]); n > 0 {
				return n, nil
			}
		default:
			c.node.jumps = true
			if pool.assign(); c.isLazy() {
				c.take(make([]byte, min(skip, smallSize)))
			}
		}
	}
	switch {
	case off < c.begin():
		return 0, nil
	case c.filled <= at:
		return 0, c.err
	}
	have := c.data[at:c.filled]
	pool.mu.Unlock()
	n := copy(p, have)
	pool.mu.Lock()
	return n, nil
}

// wasTaken reports whether readers have taken a byte from an answer that has not ended.
func (n *Node) wasTaken(off int64) bool {
	return slices.ContainsFunc(n.chunks, func(c *chunk) bool { return c.off <= off && off < c.begin() })
}

// find returns the chunk that has or will have a byte, nil for none.
func (n *Node) find(off int64) *chunk {
	i, found := slices.BinarySearchFunc(n.chunks, off, func(c *chunk, off int64) int {
		switch {
		case c.end() <= off:
			return -1
		case c.begin() > off:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return n.chunks[i]
}

// gap returns how many bytes from off on, at most want, no chunk has.
func (n *Node) gap(off, want int64) int64 {
	want = min(want, n.size-off)
	for _, c := range n.chunks {
		if c.begin() >= off {
			return min(want, c.begin()-off)
		}
	}
	return want
}

// insert adds a chunk in its place.
func (n *Node) insert(c *chunk) {
	i, _ := slices.BinarySearchFunc(n.chunks, c.off, func(c *chunk, off int64) int {
		if c.begin() < off {
			return -1
		}
		return 1
	})
	n.chunks = slices.Insert(n.chunks, i, c)
	n.pool.chunks = append(n.pool.chunks, c)
	if c.large {
		n.pool.large++
	}
}

// want returns how many bytes to ask for when want bytes are read from off on.
func (n *Node) want(off, want int64) int64 {
	if s := n.spanAt(off); s != nil {
		s.claim()
		return min(n.pieceSize(), s.end-off)
	}
	size := max(want, smallest)
	if s := n.streamAt(off); s != nil {
		size = max(size, 4*s.window)
	}
	return min(size, bufferSize)
}

// tail returns where a request for what begins at off and goes to the end of the file begins: earlier if nothing has led to off, since
// formats with a directory at the end are read from there backwards, in several steps.
func (n *Node) tail(off int64) int64 {
	if n.sequential || n.spanAt(off) != nil || n.streamAt(off) != nil {
		return off
	}
	from := max(n.size-smallSize, 0)
	for _, c := range n.chunks {
		if c.off < off {
			from = max(from, c.end())
		}
	}
	return min(from, off)
}

// streamAt returns the stream that goes on at off, nil for none.
func (n *Node) streamAt(off int64) *stream {
	for i := range n.streams {
		if s := &n.streams[i]; s.used > 0 && s.next == off {
			return s
		}
	}
	return nil
}

// follow records a read and, where it continues others for long enough, fetches what comes next.
func (n *Node) follow(off, length int64) {
	if n.spanAt(off) != nil {
		return // read ahead by the plan
	}
	s := n.streamAt(off)
	if s == nil {
		s = &n.streams[0]
		for i := range n.streams {
			if n.streams[i].used < s.used {
				s = &n.streams[i]
			}
		}
		*s = stream{}
	}
	if c := n.find(off); c != nil {
		s.window = max(s.window, c.length)
	}
	s.next, s.used = off+length, n.pool.clock
	if s.window < bufferSize {
		return
	}
	const ahead = 4
	for at := s.next; at < min(s.next+ahead*bufferSize, n.size); {
		if c := n.find(at); c != nil {
			at = c.end()
			continue
		}
		if n.spanAt(at) != nil {
			return
		}
		c := n.pool.start(n, at, n.gap(at, bufferSize), false)
		if c == nil {
			return
		}
		at = c.end()
	}
}
