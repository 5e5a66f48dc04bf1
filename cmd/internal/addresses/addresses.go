// Package addresses makes the commands read addresses (https, hf, and gs and s3 unless the build tag nobuckets is set) where they read paths.
package addresses

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/hub"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/storage/web"
)

// registerBuckets makes Locate open the addresses of object stores. It is nil in a build without them.
var registerBuckets func(pool func() *remote.Pool, register func(scheme string, open storage.Opener))

// HasBuckets reports whether this build opens the addresses of object stores.
func HasBuckets() bool { return registerBuckets != nil }

// Register makes storage.Locate open addresses. Requests end with ctx; notes about those that are tried again go to stderr. An
// address is opened once in a run, so that all parts of a command read the same version of it.
func Register(ctx context.Context, stderr io.Writer) {
	pool := sync.OnceValue(func() *remote.Pool {
		again := retries{w: stderr, until: map[string]time.Time{}}
		return remote.NewPool(ctx, remote.Options{Retrying: again.note, Notice: func(address, text string) {
			fmt.Fprintf(stderr, "note: %s: %s\n", address, text)
		}})
	})
	register := func(scheme string, open storage.Opener) { storage.Register(scheme, openOnce(open)) }
	openWeb := func(address string) (fs.FS, string, error) { return web.Open(address, web.Options{Pool: pool()}) }
	register("https", openWeb)
	register("http", openWeb)
	register("hf", func(address string) (fs.FS, string, error) {
		return hub.Open(address, hub.Options{Settings: hub.Environment(), Pool: pool()})
	})
	if registerBuckets != nil {
		registerBuckets(pool, register)
	}
}

// retries notes what went wrong when a request is tried again. Files of one host that fail at the same time, because it does not answer or
// refuses all, are one note.
type retries struct {
	w     io.Writer
	mu    sync.Mutex
	until map[string]time.Time // for which the last note with that text stands
}

func (r *retries) note(err error, wait time.Duration) {
	what := err.Error()
	var e *remote.Error
	if errors.As(err, &e) && (e.Status != 0 || errors.As(err, new(*net.OpError))) {
		if u, err := url.Parse(e.Address); err == nil {
			what = fmt.Sprintf("%s://%s: %s", u.Scheme, u.Host, e.Problem)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); !now.Before(r.until[what]) {
		r.until[what] = now.Add(wait)
		fmt.Fprintf(r.w, "note: %s; trying again in %v\n", what, wait.Round(time.Second/10))
	}
}

// openOnce returns an Opener that remembers what it opened.
func openOnce(open storage.Opener) storage.Opener {
	type opened struct {
		source fs.FS
		name   string
	}
	var mu sync.Mutex
	known := map[string]opened{}
	return func(address string) (fs.FS, string, error) {
		mu.Lock()
		defer mu.Unlock()
		if o, ok := known[address]; ok {
			return o.source, o.name, nil
		}
		source, name, err := open(address)
		if err == nil {
			known[address] = opened{source, name}
		}
		return source, name, err
	}
}
