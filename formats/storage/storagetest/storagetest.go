// Package storagetest has servers for tests of sources: one of files, a stand-in for the Hugging Face
// Hub, and one that breaks the answers of another.
package storagetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Files serves contents by path, in ranges, with the SHA-256 of the content as ETag. It counts what it
// sends.
type Files struct {
	Bytes, Requests atomic.Int64

	mu       sync.Mutex
	contents map[string][]byte
}

// NewFiles returns a server of contents by path, which begins without a slash.
func NewFiles(contents map[string][]byte) *Files { return &Files{contents: contents} }

// Set replaces a file.
func (f *Files) Set(name string, content []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.contents[name] = content
}

// ServeHTTP implements http.Handler.
func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.Requests.Add(1)
	f.mu.Lock()
	content, ok := f.contents[strings.TrimPrefix(r.URL.Path, "/")]
	f.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(content)))
	w.Header().Set("Content-Type", "application/octet-stream")
	counted := &counter{w, &f.Bytes}
	http.ServeContent(counted, r, path.Base(r.URL.Path), time.Time{}, bytes.NewReader(content))
}

type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// Start runs a server on loopback until the test ends and returns its address.
func Start(t testing.TB, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// Fault is something that is wrong with an answer.
type Fault int

// The faults. Those that cut bodies leave bodies of less than 1 KiB as they are.
const (
	None         Fault = iota
	Drop               // the connection breaks in the middle of the body
	Refuse             // the connection breaks before the answer
	Stall              // nothing comes after the middle of the body, until the client gives up
	Busy               // 429 with Retry-After: 0
	BusyLong           // 429 with Retry-After: 3600
	Failing            // 503
	Unauthorized       // 401
	Forbidden          // 403
	Short              // a range that is half as long as was asked for, and says so
	Shifted            // the bytes of another range, which the header names
	Lying              // Content-Length is that of half of the body
	Grown              // Content-Range gives a larger size of the file
	Renamed            // another ETag
	Whole              // 200 and the whole file
)

// Faulty breaks the answers of another handler.
type Faulty struct {
	Handler http.Handler
	Fault   func(r *http.Request) Fault // what is wrong with the answer to a request; may be called concurrently
}

// ServeHTTP implements http.Handler.
func (f *Faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := f.Fault(r)
	switch fault {
	case None:
		f.Handler.ServeHTTP(w, r)
		return
	case Refuse:
		panic(http.ErrAbortHandler)
	case Busy, BusyLong:
		w.Header().Set("Retry-After", map[Fault]string{Busy: "0", BusyLong: "3600"}[fault])
		http.Error(w, "slow down", http.StatusTooManyRequests)
		return
	case Failing, Unauthorized, Forbidden:
		http.Error(w, "no", map[Fault]int{Failing: 503, Unauthorized: 401, Forbidden: 403}[fault])
		return
	case Whole:
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	rec := httptest.NewRecorder()
	f.Handler.ServeHTTP(rec, r)
	body := rec.Body.Bytes()
	for key, values := range rec.Header() {
		w.Header()[key] = values
	}
	var first, last, size int64
	fmt.Sscanf(rec.Header().Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &size)
	half := len(body) / 2
	if cuts := []Fault{Drop, Stall, Short, Lying}; len(body) < 1<<10 && slices.Contains(cuts, fault) {
		fault = None
	}
	switch fault {
	case Short:
		body = body[:half]
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+int64(half)-1, size))
	case Shifted:
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first+1, last+1, size+1))
	case Grown:
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size+1))
	case Renamed:
		w.Header().Set("ETag", `"another"`)
	case Lying:
		body = body[:half]
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(rec.Code)
	if fault != Drop && fault != Stall {
		w.Write(body)
		return
	}
	w.Write(body[:half])
	w.(http.Flusher).Flush()
	if fault == Stall {
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	}
	panic(http.ErrAbortHandler)
}
