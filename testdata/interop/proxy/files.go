package main

import (
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// files serves the files of a directory, each answer after a delay. Ranges of large files go from a mapping to the connection, which
// takes a third less of the processors, which the client shares, than sendfile does: that handles each page by itself.
type files struct {
	dir     string
	delay   time.Duration
	handler http.Handler // of everything else

	mu     sync.Mutex
	mapped map[string]*mappedFile
}

// mappedFile is a file as it was when it was mapped. The mapping stays, since answers may be on their way.
type mappedFile struct {
	info    os.FileInfo
	content []byte
}

// minMapped is the size, in bytes, of the smallest file that is mapped.
const minMapped = 64 << 20

func newFiles(dir string, delay time.Duration) *files {
	return &files{dir: dir, delay: delay, handler: http.FileServer(http.Dir(dir)), mapped: map[string]*mappedFile{}}
}

// ServeHTTP implements http.Handler.
func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(f.delay)
	var first, last int64
	n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
	m := f.open(r.URL.Path)
	if n < 2 || m == nil || r.Method != http.MethodGet || first < 0 || last < first || last >= int64(len(m.content)) {
		f.handler.ServeHTTP(w, r)
		return
	}
	header := w.Header()
	header.Set("Accept-Ranges", "bytes")
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Length", fmt.Sprint(last-first+1))
	header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(m.content)))
	header.Set("Last-Modified", m.info.ModTime().UTC().Format(http.TimeFormat))
	w.WriteHeader(http.StatusPartialContent)
	w.Write(m.content[first : last+1])
}

// open returns a large file as it is now, nil for others and where files are not mapped.
func (f *files) open(name string) *mappedFile {
	local := filepath.Join(f.dir, filepath.FromSlash(path.Clean("/"+name)))
	info, err := os.Stat(local)
	if err != nil || !info.Mode().IsRegular() || info.Size() < minMapped {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.mapped[name]; m != nil && os.SameFile(m.info, info) && m.info.ModTime().Equal(info.ModTime()) && m.info.Size() == info.Size() {
		return m
	}
	file, err := os.Open(local)
	if err != nil {
		return nil
	}
	defer file.Close()
	mapping, err := storage.Map(file)
	if err != nil {
		return nil
	}
	m := &mappedFile{info, mapping.Bytes}
	f.mapped[name] = m
	return m
}
