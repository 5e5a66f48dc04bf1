package storage

import (
	"errors"
	"os"
)

// streamPanel is the memory of a write of a Stream, which has two.
const streamPanel = 1 << 20

// Stream fills a file from its beginning to an end that is not known in advance, as Output does
// one of known size: past the page cache, and while the next bytes are being made. It is for use
// by one goroutine.
type Stream struct {
	out    *Output
	panel  *Buffer // that is being filled
	filled int
	at     int64 // of the panel in the file

	free    chan *Buffer
	written chan error // of the panel on its way, if busy
	busy    bool
	err     error
}

// NewStream prepares an empty file, open for writing. The caller keeps f. Close gives the memory
// back.
func NewStream(f *os.File) (*Stream, error) {
	s := &Stream{out: &Output{file: f, direct: openDirect(f)}, free: make(chan *Buffer, 1), written: make(chan error, 1)}
	var err error
	if s.panel, err = NewBuffer(streamPanel); err != nil {
		return nil, errors.Join(err, s.out.closeDirect())
	}
	spare, err := NewBuffer(streamPanel)
	if err != nil {
		return nil, errors.Join(err, s.panel.Free(), s.out.closeDirect())
	}
	s.free <- spare
	return s, nil
}

// Write implements io.Writer. An error may be that of an earlier call.
func (s *Stream) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) && s.err == nil {
		n := copy(s.panel.Bytes[s.filled:], p[done:])
		s.filled += n
		done += n
		if s.filled == len(s.panel.Bytes) {
			s.send()
		}
	}
	return done, s.err
}

// send has the panel written and takes the other one, once it is.
func (s *Stream) send() {
	s.wait()
	panel, n, at := s.panel, s.filled, s.at
	s.panel = <-s.free
	s.at += int64(n)
	s.filled = 0
	s.busy = true
	go func() {
		_, err := s.out.WriteAt(panel.Bytes[:n], at)
		s.free <- panel
		s.written <- err
	}()
}

// wait waits for the panel on its way.
func (s *Stream) wait() {
	if s.busy {
		s.err = errors.Join(s.err, <-s.written)
		s.busy = false
	}
}

// Close writes what is left and makes the file durable. It does not close the file that NewStream
// was given.
func (s *Stream) Close() error {
	if s.err == nil && s.filled > 0 {
		s.send()
	}
	s.wait()
	err := errors.Join(s.err, s.out.Close(), s.panel.Free(), (<-s.free).Free())
	s.err = os.ErrClosed
	return err
}
