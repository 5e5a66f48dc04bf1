package publish

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// TrackStream is Track for a file of unknown size that is written from the beginning.
func (f *OutputFiles) TrackStream(name string, w io.WriteCloser) io.WriteCloser {
	hash := digest.New(f.algorithms)
	o := &output{hash, 0}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[name] = o
	return &trackedStream{w, f, o}
}

// trackedStream hashes what is written.
type trackedStream struct {
	io.WriteCloser
	files *OutputFiles
	to    *output
}

// Write implements io.Writer.
func (s *trackedStream) Write(p []byte) (int, error) {
	n, err := s.WriteCloser.Write(p)
	s.to.hash.Write(p[:n])
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	s.to.size += int64(n)
	return n, err
}

// TrackRename gives a file of Track or TrackStream another name, or none if to is "".
func (f *OutputFiles) TrackRename(from, to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if to != "" {
		f.all[to] = f.all[from]
	}
	delete(f.all, from)
}
