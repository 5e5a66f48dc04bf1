package httpfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// Object is a file of an HTTP server.
type Object struct {
	client  *Client
	url     *url.URL
	address string
	size    int64
	version string // that the server that has the content gives it: ETag or date; "" for none
	linked  string // that the server gives a file which it redirects to; "" for none
	whole   []byte // the content, if the server sends no ranges
	pass    *pass  // if the server sends no ranges and the file is large

	mu       sync.Mutex
	location *url.URL // where url redirects to; nil if unknown
}

// mostWhole is the size of the largest file, in bytes, that is read in one piece from a server that
// does not send ranges.
const mostWhole = 16 << 20

// headBytes are what Open asks for.
const headBytes = 16 << 10

// Size returns the bytes of the file.
func (o *Object) Size() int64 { return o.size }

// Version returns what identifies the content: the ETag, or the date of the last change. "" if the
// server gives neither.
func (o *Object) Version() string {
	if o.linked != "" {
		return o.linked
	}
	return o.version
}

// Open reads the beginning of a file and returns it with the file. A page that lists a directory is an
// *remote.Error with the reason remote.Missing.
func Open(ctx context.Context, client *Client, u *url.URL) (o *Object, head []byte, err error) {
	o = &Object{client: client, url: u, address: Address(u)}
	var linkedSize int64 = -1
	seen := func(resp *http.Response) {
		if tag := resp.Header.Get("X-Linked-Etag"); tag != "" {
			o.linked = strings.Trim(tag, `"`)
		}
		if n, err := strconv.ParseInt(resp.Header.Get("X-Linked-Size"), 10, 64); err == nil {
			linkedSize = n
		}
	}
	resp, final, redirects, err := client.do(ctx, http.MethodGet, u, http.Header{"Range": {fmt.Sprintf("bytes=0-%d", headBytes-1)}}, "", seen)
	if isStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		return o.openEmpty(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if strings.HasSuffix(final.Path, "/") && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		return nil, nil, remote.Errorf(o.address, remote.Missing, "is a page that lists a directory")
	}
	if redirects > 0 {
		o.location = final
	}
	o.version = version(resp)
	switch resp.StatusCode {
	case http.StatusPartialContent:
		r, err := contentRange(resp)
		if err != nil || r.first != 0 {
			return nil, nil, remote.Errorf(o.address, remote.Invalid, "the server sends another range than was asked for (%q)", resp.Header.Get("Content-Range"))
		}
		o.size = r.size
		head = make([]byte, min(headBytes, r.size, r.last+1))
	case http.StatusOK:
		if resp.ContentLength > mostWhole {
			o.pass, o.size = &pass{}, resp.ContentLength
			head = make([]byte, headBytes)
			break
		}
		return o.readWhole(resp)
	default:
		return nil, nil, remote.Errorf(o.address, remote.Invalid, "the server answers %s", resp.Status)
	}
	if linkedSize >= 0 && linkedSize != o.size {
		return nil, nil, remote.Errorf(o.address, remote.Invalid, "the file has %d bytes, and the server announced %d", o.size, linkedSize)
	}
	n, err := io.ReadFull(resp.Body, head)
	if n == 0 && err != nil {
		return nil, nil, err
	}
	return o, head[:n], nil // what did not arrive is read when it is wanted
}

// readWhole keeps a short file, which the server sends whole.
func (o *Object) readWhole(resp *http.Response) (_ *Object, head []byte, err error) {
	o.whole, err = io.ReadAll(io.LimitReader(resp.Body, mostWhole+1))
	if err == nil && resp.ContentLength >= 0 && int64(len(o.whole)) < resp.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, nil, err
	}
	if len(o.whole) > mostWhole {
		return nil, nil, noRanges(o.address)
	}
	o.size = int64(len(o.whole))
	return o, o.whole[:min(len(o.whole), headBytes)], nil
}

// openEmpty confirms that a file for which the server has no range is empty.
func (o *Object) openEmpty(ctx context.Context) (*Object, []byte, error) {
	resp, _, err := o.client.Do(ctx, http.MethodGet, o.url, nil, "")
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if n, err := io.ReadFull(resp.Body, make([]byte, 1)); n > 0 || err != io.EOF {
		return nil, nil, remote.Errorf(o.address, remote.Invalid, "the server has no first byte of a file that is not empty")
	}
	return o, nil, nil
}

func isStatus(err error, status int) bool {
	var e *remote.Error
	return errors.As(err, &e) && e.Status == status
}

func noRanges(address string) *remote.Error {
	return remote.Errorf(address, remote.NoRanges, "the server sends whole files only, and does not say how long this one is")
}

// Open implements remote.Object.
func (o *Object) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if o.pass != nil {
		return o.openPass(ctx, off, n)
	}
	if o.whole != nil {
		return io.NopCloser(io.NewSectionReader(sliceReader(o.whole), off, n)), nil
	}
	o.mu.Lock()
	target := o.location
	o.mu.Unlock()
	if target != nil {
		body, err := o.open(ctx, target, off, n)
		if !expired(err) {
			return body, err
		}
		// Where a server redirects to is often valid for a while only.
	}
	return o.open(ctx, o.url, off, n)
}

// expired reports whether an error may mean that the address of a redirect is not valid any more.
func expired(err error) bool {
	var e *remote.Error
	return errors.As(err, &e) && (e.Reason == remote.Unauthorized || e.Reason == remote.Forbidden || e.Reason == remote.Missing || e.Reason == remote.Invalid)
}

func (o *Object) open(ctx context.Context, u *url.URL, off, n int64) (io.ReadCloser, error) {
	linked := ""
	seen := func(resp *http.Response) {
		if tag := resp.Header.Get("X-Linked-Etag"); tag != "" {
			linked = strings.Trim(tag, `"`)
		}
	}
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, off+n-1)}}
	resp, final, redirects, err := o.client.do(ctx, http.MethodGet, u, header, "", seen)
	if isStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		return nil, o.changed("it ends before byte %d", off+n)
	}
	if err != nil {
		return nil, err
	}
	fail := func(err error) (io.ReadCloser, error) {
		resp.Body.Close()
		return nil, err
	}
	if redirects > 0 {
		o.mu.Lock()
		o.location = final
		o.mu.Unlock()
	}
	if linked != "" && linked != o.linked {
		return fail(o.changed("its ETag was %q and is %q", o.linked, linked))
	}
	if v := version(resp); v != o.version {
		return fail(o.changed("its ETag or date was %q and is %q", o.version, v))
	}
	if resp.StatusCode != http.StatusPartialContent {
		return fail(remote.Errorf(o.address, remote.NoRanges, "the server answers a request for a range with %s", resp.Status))
	}
	r, err := contentRange(resp)
	switch {
	case err != nil || r.first != off || r.last < off || r.last > off+n-1:
		return fail(remote.Errorf(o.address, remote.Invalid, "the server sends another range than was asked for (%q)", resp.Header.Get("Content-Range")))
	case r.size != o.size:
		return fail(o.changed("it had %d bytes and has %d", o.size, r.size))
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, r.last-off+1), resp.Body}, nil
}

func (o *Object) changed(format string, args ...any) *remote.Error {
	return remote.Errorf(o.address, remote.Changed, "the file changes while it is being read: "+format, args...)
}

// version returns the ETag of an answer, or else the date of the last change.
func version(resp *http.Response) string {
	if tag := strings.Trim(strings.TrimPrefix(resp.Header.Get("ETag"), "W/"), `"`); tag != "" {
		return tag
	}
	return resp.Header.Get("Last-Modified")
}

// byteRange is the content of a Content-Range header.
type byteRange struct{ first, last, size int64 }

func contentRange(resp *http.Response) (r byteRange, err error) {
	_, err = fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &r.first, &r.last, &r.size)
	if err == nil && (r.first < 0 || r.last < r.first || r.size <= r.last) {
		err = errors.New("not a range")
	}
	return r, err
}

// sliceReader is a content in memory.
type sliceReader []byte

func (s sliceReader) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(s)) {
		return 0, io.EOF
	}
	n := copy(p, s[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
