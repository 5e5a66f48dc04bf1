package upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// stream is a file of unknown size that is written from the beginning.
type stream struct {
	u    *upload
	name string
	most int64 // bytes
	step int64 // bytes of each part but the last

	file   *file           // nil until a part is full
	buffer *storage.Buffer // nil if no part is begun
	filled int64           // bytes of buffer
	size   int64
}

func (u *upload) Stream(name string, most int64) (io.WriteCloser, error) {
	s := &stream{u: u, name: name, most: most, step: newFile(u, "", most).step}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open[s] = true
	return s, nil
}

// Write implements io.Writer. It waits while too many parts are being sent. The error may be that of an earlier part.
func (s *stream) Write(p []byte) (n int, err error) {
	if s.size+int64(len(p)) > s.most {
		return 0, fmt.Errorf("%s has more than %d bytes", s.name, s.most)
	}
	for n < len(p) {
		if s.buffer == nil {
			if err := s.u.failed(); err != nil {
				return n, err
			}
			if s.buffer, err = storage.NewBuffer(int(s.step)); err != nil {
				return n, err
			}
			s.filled = 0
		}
		k := copy(s.buffer.Bytes[s.filled:s.step], p[n:])
		n += k
		s.filled += int64(k)
		s.size += int64(k)
		if s.filled == s.step {
			if err := s.send(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// send starts to send what the buffer holds.
func (s *stream) send() (err error) {
	if s.file == nil {
		if s.file, err = s.u.begin(s.name, s.most); err != nil {
			return err
		}
		s.file.size, s.file.tags = 0, nil
	}
	f := s.file
	f.mu.Lock()
	number := len(f.tags)
	f.tags = append(f.tags, "")
	f.size += s.filled
	f.gotten += s.filled
	f.mu.Unlock()
	p := &part{s.buffer, s.buffer.Bytes[:s.filled], 0}
	s.buffer = nil
	s.u.start(func() error { return f.send(number, p) })
	return nil
}

// Close implements io.Closer.
func (s *stream) Close() error {
	if s.file == nil {
		if m := s.u.keep(s.name, s.size); m != nil {
			if s.size > 0 {
				m.gotten = copy(m.content, s.buffer.Bytes[:s.filled])
			}
			return s.release()
		}
	}
	if s.buffer != nil {
		if err := s.send(); err != nil {
			return errors.Join(err, s.release())
		}
	}
	return s.release()
}

// release frees the buffer.
func (s *stream) release() (err error) {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	delete(s.u.open, s)
	if s.buffer != nil {
		err = s.buffer.Free()
		s.buffer = nil
	}
	return err
}

func (u *upload) Rename(from, to string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	f, m := u.files[from], u.small[from]
	switch {
	case u.files[to] != nil || u.small[to] != nil:
		return fmt.Errorf("%s is there already", to)
	case f != nil:
		u.files[to] = f
		delete(u.files, from)
	case m != nil:
		u.small[to] = m
		delete(u.small, from)
	default:
		return fmt.Errorf("%s was not written", from)
	}
	return nil
}

func (u *upload) Take(name string, use func(content io.ReaderAt) error) error {
	u.mu.Lock()
	f, m := u.files[name], u.small[name]
	u.mu.Unlock()
	switch {
	case m != nil:
		if err := use(bytes.NewReader(m.content)); err != nil {
			return err
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.small, name)
		u.kept -= int64(len(m.content))
		return nil
	case f == nil:
		return fmt.Errorf("%s was not written", name)
	}
	if err := u.Wait(); err != nil {
		return err
	}
	if err := f.finish(); err != nil {
		return err
	}
	source, at, err := u.sink.store.Source(path.Dir(f.key))
	if err != nil {
		return err
	}
	content, _, err := storage.Open(source, path.Join(at, path.Base(f.key)))
	if err != nil {
		return err
	}
	if err := errors.Join(use(content), content.Close()); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.files, name) // the object is removed with the others that are hidden
	return nil
}
