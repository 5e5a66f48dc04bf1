package main

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

// registerAddresses makes all commands read addresses where they read paths. Requests end with ctx. An
// address is opened once in a run, so that all parts of a command read the same version of it.
func registerAddresses(ctx context.Context, stderr io.Writer) {
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

// networkHints say what to do about files that cannot be read over the network.
var networkHints = map[remote.Reason]string{
	remote.Unreachable:  "check the connection and the address; HTTPS_PROXY names a proxy",
	remote.NoHost:       "check the address, and whether this machine is connected; HTTPS_PROXY names a proxy",
	remote.Unauthorized: "check the address, or give credentials: https://USER:PASSWORD@HOST/…",
	remote.Forbidden:    "these credentials do not give access to it, or the address has expired",
	remote.Gated:        "open the repository's page on the hub, accept its conditions, and set HF_TOKEN to a token of that account",
	remote.Missing:      "check the address: spelling, revision, and that it leads to a checkpoint",
	remote.Busy:         "wait as long as the server says; with HF_TOKEN the hub allows more requests",
	remote.Failing:      "the fault is the server's: try again later",
	remote.Changed:      "run the command again for the new version; hf:// addresses stay with one commit",
	remote.NoRanges:     "download the file first, for example with curl -O",
	remote.Insecure:     "use https://",
	remote.NoRegion:     "set AWS_REGION, or add ?region=REGION to the address",
	remote.Offline:      "HF_HUB_OFFLINE is set: unset it, or download the repository first with hf download",
}

// credentialHints say, by scheme, how to give credentials.
var credentialHints = map[string]string{
	"hf": "check the name; for a private repository set HF_TOKEN to a token with access, or run hf auth login",
	"gs": "give credentials with gcloud auth application-default login or GOOGLE_APPLICATION_CREDENTIALS; ?anonymous=true is for public buckets",
	"s3": "give credentials with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; ?anonymous=true is for public buckets",
}

// isNetwork reports whether an error comes from reading an address.
func isNetwork(err error) bool {
	return errors.As(err, new(*remote.Error)) || errors.As(err, new(*storage.SchemeError))
}

// isUnusable reports whether err is about an address that griffin does not open, whatever is there.
func isUnusable(err error) bool {
	var e *remote.Error
	return is[*storage.SchemeError](err) || errors.As(err, &e) && e.Reason == remote.Insecure
}

// networkHint returns what to do about an error for which isNetwork is true.
func networkHint(err error) string {
	var e *remote.Error
	if errors.As(err, &e) {
		denied := e.Reason == remote.Unauthorized || e.Reason == remote.Forbidden
		scheme, _ := storage.Scheme(e.Address)
		if hint := credentialHints[scheme]; denied && hint != "" {
			return hint
		}
		return networkHints[e.Reason]
	}
	var scheme *storage.SchemeError
	if errors.As(err, &scheme) && scheme.Write && registerBuckets != nil {
		if scheme.Scheme == "hf" {
			return "convert to a directory, and upload it: hf upload ORG/NAME DIR"
		}
		return "griffin writes to paths and to file://, gs:// and s3:// addresses"
	}
	if registerBuckets == nil {
		return "this griffin was built without object stores: it reads https:// and hf:// addresses"
	}
	return "griffin reads https://, hf://, gs:// and s3:// addresses"
}
