package httpfile

import (
	"context"
	"io"
	"net/http"

	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// pass reads a file of a server that sends whole files only: from the beginning on, and on from where the reading before ended. It is
// for one reader at a time.
type pass struct {
	body   io.ReadCloser // nil if none is open
	cancel context.CancelFunc
	at     int64 // of the body
	high   int64 // the furthest that a body was read
	broken bool  // the last body broke
	passes int
}

const (
	// mostSkip is how many bytes are read in vain, to get from one range to the next or to begin again.
	mostSkip = 64 << 20

	// mostPasses bounds how often a file is read from the beginning on.
	mostPasses = 16
)

// Sequential implements remote.Sequential.
func (o *Object) Sequential() bool { return o.pass != nil }

// openPass is Open of an object whose server sends whole files only.
func (o *Object) openPass(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	p := o.pass
	if p.body == nil || off < p.at || off-p.at > mostSkip {
		resumed := p.broken && off <= p.high
		if off > mostSkip && !resumed || p.passes == mostPasses {
			return nil, remote.Errorf(o.address, remote.NoRanges, "the server sends whole files only, and this takes more than to read the file once from its beginning to its end")
		}
		if err := o.begin(ctx); err != nil {
			return nil, err
		}
	}
	return &part{o: o, skip: off - p.at, left: n, stop: context.AfterFunc(ctx, p.cancel)}, nil
}

// begin asks for the file again.
func (o *Object) begin(ctx context.Context) error {
	p := o.pass
	p.end()
	p.passes++
	lasting, cancel := context.WithCancel(o.client.lifetime)
	defer context.AfterFunc(ctx, cancel)()
	resp, _, err := o.client.Do(lasting, http.MethodGet, o.url, nil, "")
	if err != nil {
		cancel()
		return err
	}
	p.body, p.cancel, p.at = resp.Body, cancel, 0
	switch v := version(resp); {
	case v != o.version:
		err = o.changed("its ETag or date was %q and is %q", o.version, v)
	case resp.StatusCode != http.StatusOK:
		err = remote.Errorf(o.address, remote.Invalid, "the server answers %s", resp.Status)
	case resp.ContentLength != o.size:
		err = o.changed("it had %d bytes and has %d", o.size, resp.ContentLength)
	}
	if err != nil {
		p.end()
	}
	return err
}

// end closes the body.
func (p *pass) end() {
	if p.body != nil {
		p.cancel()
		p.body.Close()
		p.body = nil
	}
}

// part is a range of a pass.
type part struct {
	o          *Object
	skip, left int64
	stop       func() bool // ends the watch over the context of the request
}

// Read implements io.Reader. It returns no bytes after each piece that is skipped.
func (r *part) Read(b []byte) (n int, err error) {
	p := r.o.pass
	if r.left == 0 {
		return 0, io.EOF
	}
	if r.skip > 0 {
		var skipped int64
		skipped, err = io.CopyN(io.Discard, p.body, min(r.skip, 1<<20))
		p.at += skipped
		r.skip -= skipped
	} else {
		n, err = p.body.Read(b[:min(int64(len(b)), r.left)])
		p.at += int64(n)
		r.left -= int64(n)
	}
	p.high = max(p.high, p.at)
	if err == io.EOF && r.left == 0 {
		err = nil
	}
	return n, err
}

// Close implements io.Closer. The body stays open for the next part, unless this one was not read to its end.
func (r *part) Close() error {
	p := r.o.pass
	r.stop()
	p.broken = r.left > 0
	if p.broken || p.at == r.o.size {
		p.end()
	}
	return nil
}
