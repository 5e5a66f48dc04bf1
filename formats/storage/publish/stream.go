package publish

import (
	"errors"
	"os"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// streamPanel is the size in bytes of each of the two panels of a Stream.
const streamPanel = 1 << 20

// Stream writes a file of unknown size from the beginning. Like Output it bypasses the page cache. It writes while the
// caller produces the next bytes. It is for use by one goroutine.
type Stream struct {
	to     *OutputFile
	out    *Output
	panel  *storage.Buffer // being filled
	filled int
	at     int64 // offset of the panel in the file

	free    chan *storage.Buffer
	written <-chan error // result of writing a panel, nil if none is being written
	err     error
}

// NewStream prepares an empty file that is open for writing. It does not take over the file. Close releases the memory.
func NewStream(to *OutputFile) (*Stream, error) {
	f := to.file
	s := &Stream{to: to, out: &Output{file: f, direct: openDirect(f)}, free: make(chan *storage.Buffer, 1)}
	var err error
	if s.panel, err = storage.NewBuffer(streamPanel); err != nil {
		return nil, errors.Join(err, s.out.closeDirect())
	}
	spare, err := storage.NewBuffer(streamPanel)
	if err != nil {
		return nil, errors.Join(err, s.panel.Free(), s.out.closeDirect())
	}
	s.free <- spare
	return s, nil
}

// Write implements io.Writer. The error may be that of an earlier write.
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

// send starts writing the panel and waits for the other one.
func (s *Stream) send() {
	s.wait()
	panel, n, at := s.panel, s.filled, s.at
	s.panel = <-s.free
	s.to.Feed(at, panel.Bytes[:n])
	s.at += int64(n)
	s.filled = 0
	s.written = task.Start(func() error {
		defer func() { s.free <- panel }()
		_, err := s.out.WriteAt(panel.Bytes[:n], at)
		return err
	})
}

// wait waits until no panel is being written.
func (s *Stream) wait() {
	if s.written != nil {
		s.err = errors.Join(s.err, <-s.written)
		s.written = nil
	}
}

// Close writes the remaining bytes and syncs the file. It does not close the file that was passed to NewStream.
func (s *Stream) Close() error {
	if s.err == nil && s.filled > 0 {
		s.send()
	}
	s.wait()
	err := errors.Join(s.err, s.out.Close(), s.panel.Free(), (<-s.free).Free())
	s.err = os.ErrClosed
	return err
}
