// Package httpfile reads files of HTTP servers in ranges. Its Client follows redirects without showing
// credentials to other hosts, and its Object notices when a file is replaced between two requests.
package httpfile

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// Client sends requests to one server and to those that it redirects to.
type Client struct {
	http          http.Client
	lifetime      context.Context // of requests for files of servers that send whole files only
	authorization string          // header for the server itself, "" for none
	origin        string          // scheme and host to which authorization is sent
	explain       func(*http.Response) *remote.Error
}

// Options configure a Client.
type Options struct {
	Context       context.Context // with which all requests end
	Origin        *url.URL        // the server that may see Authorization
	Authorization string          // header, "" for none
	Transport     http.RoundTripper

	// Explain returns the error for an answer of the server itself with a status of 400 or more; nil
	// leaves it to the Client. It may be nil. Address may be left empty.
	Explain func(*http.Response) *remote.Error
}

// NewClient returns a Client.
func NewClient(o Options) *Client {
	c := &Client{lifetime: o.Context, authorization: o.Authorization, origin: originOf(o.Origin), explain: o.Explain}
	c.http.Transport = o.Transport
	if o.Transport == nil {
		c.http.Transport = defaultTransport
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// defaultTransport uses many connections, since one connection of HTTP/2 for all ranges would be the
// bottleneck.
var defaultTransport = &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
	TLSHandshakeTimeout:   15 * time.Second,
	ResponseHeaderTimeout: 30 * time.Second,
	MaxIdleConnsPerHost:   remote.DefaultInFlight,
	IdleConnTimeout:       60 * time.Second,
	DisableCompression:    true,
	ReadBufferSize:        64 << 10,
	Protocols:             http1(),
}

func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

func originOf(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Address returns a URL without user, password and query, which may be credentials.
func Address(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// CheckSecure returns an *Error unless a URL is encrypted or leads to this machine.
func CheckSecure(u *url.URL) error {
	switch {
	case u.Scheme == "https" && u.Host != "":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return remote.Errorf(Address(u), remote.Insecure, "http:// without encryption is read from this machine only")
	}
	return remote.Errorf(Address(u), remote.Invalid, "not an https:// address")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// mostRedirects is how many redirects a request follows.
const mostRedirects = 10

// Do sends a request and follows redirects. It returns the answer and the URL that gave it. Statuses of
// 400 and more are an *remote.Error.
func (c *Client) Do(ctx context.Context, method string, u *url.URL, header http.Header, body string) (*http.Response, *url.URL, error) {
	resp, final, _, err := c.do(ctx, method, u, header, body, nil)
	return resp, final, err
}

// do is Do. redirected, if not nil, sees each redirect.
func (c *Client) do(ctx context.Context, method string, u *url.URL, header http.Header, body string, redirected func(*http.Response)) (*http.Response, *url.URL, int, error) {
	for n := 0; ; n++ {
		if err := CheckSecure(u); err != nil {
			return nil, nil, n, err
		}
		resp, err := c.send(ctx, method, u, header, body)
		if err != nil {
			return nil, nil, n, err
		}
		location := resp.Header.Get("Location")
		switch {
		case resp.StatusCode >= 400:
			err := c.refusal(resp, u)
			drain(resp.Body)
			return nil, nil, n, err
		case resp.StatusCode < 300 || location == "":
			return resp, u, n, nil
		}
		drain(resp.Body)
		if redirected != nil {
			redirected(resp)
		}
		next, err := u.Parse(location)
		if err != nil || n == mostRedirects {
			return nil, nil, n, remote.Errorf(Address(u), remote.Invalid, "the server redirects too often or to no address")
		}
		u = next
	}
}

func (c *Client) send(ctx context.Context, method string, u *url.URL, header http.Header, body string) (*http.Response, error) {
	bare := *u
	bare.User, bare.Fragment = nil, ""
	req, err := http.NewRequestWithContext(ctx, method, bare.String(), strings.NewReader(body))
	if err != nil {
		return nil, remote.Errorf(Address(u), remote.Invalid, "not a usable address")
	}
	for key, values := range header {
		req.Header[key] = values
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "griffin")
	if c.authorization != "" && originOf(u) == c.origin {
		req.Header.Set("Authorization", c.authorization)
	}
	resp, err := c.http.Do(req)
	if err == nil {
		return resp, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var wrapped *url.Error // names the whole address
	for errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if host := remote.MissingHost(func(target any) bool { return errors.As(err, target) }); host != "" {
		return nil, remote.Errorf(Address(u), remote.NoHost, "there is no host %s", host)
	}
	return nil, remote.Errorf(Address(u), remote.Unreachable, "%w", err)
}

// refusal describes an answer that is an error.
func (c *Client) refusal(resp *http.Response, u *url.URL) *remote.Error {
	if c.explain != nil && originOf(u) == c.origin {
		if e := c.explain(resp); e != nil {
			e.Address, e.Status = Address(u), resp.StatusCode
			return e
		}
	}
	reason := remote.Invalid
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		reason = remote.Unauthorized
	case status == http.StatusForbidden:
		reason = remote.Forbidden
	case status == http.StatusNotFound || status == http.StatusGone:
		reason = remote.Missing
	case status == http.StatusTooManyRequests:
		reason = remote.Busy
	case status == http.StatusRequestTimeout:
		reason = remote.Unreachable
	case status >= 500:
		reason = remote.Failing
	}
	e := remote.Errorf(Address(u), reason, "the server answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	e.Status = resp.StatusCode
	e.After = retryAfter(resp.Header.Get("Retry-After"))
	return e
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(value string) time.Duration {
	if n, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(n, 0), 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// drain reads a little of a body that is of no use, so that the connection can be used again.
func drain(body io.ReadCloser) {
	io.CopyN(io.Discard, body, 64<<10)
	body.Close()
}
