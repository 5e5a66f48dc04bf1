package bucket_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/bucket"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

func options(t *testing.T) bucket.Options {
	return bucket.Options{Pool: remote.NewPool(t.Context(), remote.Options{Backoff: time.Microsecond, Attempts: 2})}
}

func memory(t *testing.T, contents map[string]string) *blob.Bucket {
	t.Helper()
	b := memblob.OpenBucket(nil)
	t.Cleanup(func() { b.Close() })
	for key, content := range contents {
		if err := b.WriteAll(t.Context(), key, []byte(content), nil); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// malformed stands for a *storage.AddressError.
const malformed remote.Reason = "malformed"

func reasonOf(err error) remote.Reason {
	var e *remote.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	if errors.As(err, new(*storage.AddressError)) {
		return malformed
	}
	return ""
}

// A store that fails says nothing about whether it has a file.
func TestFailure(t *testing.T) {
	var failing atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case failing.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Method == http.MethodHead && r.URL.Path == "/bucket/dir/model.bin":
			w.Header().Set("Content-Length", "10")
			w.Header().Set("ETag", `"1"`)
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		default: // a list of nothing
			fmt.Fprint(w, `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>`)
		}
	}))
	defer server.Close()
	for _, fails := range []bool{false, true} {
		failing.Store(false)
		source, _, err := bucket.Open("s3://bucket/dir/model.bin?anonymous=true&region=x&use_path_style=true&endpoint="+server.URL, options(t))
		if err != nil {
			t.Fatal(err)
		}
		failing.Store(fails)
		if storage.IsFile(source, "config.json") {
			t.Error("config.json is there")
		}
		want := remote.Reason("")
		if fails {
			want = remote.Failing
		}
		if err := storage.Failure(source); reasonOf(err) != want {
			t.Errorf("failing %t: %v", fails, err)
		}
	}
}

// As many connections are kept as requests are on their way.
func TestConnections(t *testing.T) {
	var opened atomic.Int64
	const atATime = 40
	arrived := make(chan struct{})
	content := make([]byte, 1<<20)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			arrived <- struct{}{} // all together
		}
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	source, name, err := bucket.Open("s3://bucket/model.bin?anonymous=true&region=x&use_path_style=true&endpoint="+server.URL, options(t))
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := storage.Open(source, name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for round := range int64(5) {
		var group sync.WaitGroup
		for i := range int64(atATime) {
			group.Go(func() {
				if _, err := f.ReadAt(make([]byte, 10), (round*atATime+i)*5000); err != nil {
					t.Error(err)
				}
			})
		}
		go func() {
			time.Sleep(20 * time.Millisecond)
			for range atATime {
				<-arrived
			}
		}()
		group.Wait()
	}
	if n := opened.Load(); n > atATime*3/2 {
		t.Errorf("%d connections for %d requests at a time", n, atATime)
	}
}

func TestNew(t *testing.T) {
	large := strings.Repeat("weights ", 1<<17)
	b := memory(t, map[string]string{"ckpt/model.bin": large, "ckpt/d/1": "one", "ckpt/d/2/x": "two", "ckpt/": "", "top": "top", "ckpt//odd": "odd", "ckpt.bak/x": ""})
	for at, want := range map[string]struct{ name, list string }{
		"ckpt":           {".", "d model.bin"},
		"ckpt/":          {".", "d model.bin"},
		"":               {".", "ckpt ckpt.bak top"},
		"ckpt/model.bin": {"model.bin", "d model.bin"},
		"ckpt/d":         {".", "1 2"},
		"top":            {"top", "ckpt ckpt.bak top"},
	} {
		source, name, err := bucket.New(b, "mem://b", at, options(t))
		if err != nil || name != want.name {
			t.Errorf("%q: %q, %v", at, name, err)
			continue
		}
		entries, err := fs.ReadDir(source, ".")
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); got != want.list || err != nil {
			t.Errorf("%q lists %q, %v", at, got, err)
		}
		if got := storage.Path(source, name); got != strings.TrimSuffix("mem://b/"+at, "/") {
			t.Errorf("%q is called %s", at, got)
		}
	}
	for at, want := range map[string]remote.Reason{"absent": remote.Missing, "absent/": remote.Missing, "a/../b": malformed, "ckp": remote.Missing} {
		if _, _, err := bucket.New(b, "mem://b", at, options(t)); reasonOf(err) != want {
			t.Errorf("%q: %v", at, err)
		}
	}

	source, _, err := bucket.New(b, "mem://b", "ckpt", options(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"model.bin": large, "d/1": "one", "d/2/x": "two"} {
		info, err := fs.Stat(source, name)
		if err != nil || info.Size() != int64(len(content)) || !info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if got, err := storage.ReadFile(source, name, 1<<21); err != nil || string(got) != content {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if info, err := fs.Stat(source, "d/2"); err != nil || !info.IsDir() {
		t.Errorf("d/2: %v", err)
	}
	for _, name := range []string{"absent", "d/absent", "d/3/x", "../top"} {
		if _, err := fs.Stat(source, name); !errors.Is(err, fs.ErrNotExist) && name != "../top" || err == nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := source.Open(name); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	origin := storage.OriginOf(source, ".")
	if origin.Address != "mem://b/ckpt" || len(origin.Files) != 3 || origin.Files[0].Name != "d/1" || origin.Files[0].Version == "" {
		t.Errorf("origin %+v", origin)
	}
	origin = storage.OriginOf(source, "d")
	if origin.Address != "mem://b/ckpt/d" || len(origin.Files) != 2 || origin.Files[0].Name != "1" || origin.Files[1].Name != "2/x" {
		t.Errorf("origin of a directory %+v", origin)
	}
}

// An object that is replaced or removed while it is read is refused.
func TestChanged(t *testing.T) {
	for name, change := range map[string]func(b *blob.Bucket) error{
		"longer":  func(b *blob.Bucket) error { return b.WriteAll(t.Context(), "f", make([]byte, 2<<20), nil) },
		"removed": func(b *blob.Bucket) error { return b.Delete(t.Context(), "f") },
	} {
		b := memory(t, map[string]string{"f": string(bytes.Repeat([]byte("x"), 1<<20))})
		source, file, err := bucket.New(b, "mem://b", "f", options(t))
		if err != nil {
			t.Fatal(err)
		}
		f, _, err := storage.Open(source, file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(make([]byte, 10), 0); err != nil {
			t.Fatal(err)
		}
		if err := change(b); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(make([]byte, 10), 500_000); reasonOf(err) != remote.Changed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, address := range []string{"s3://", "gs:///key", "azblob://b/key", "s3://bucket?no_such_parameter=secret", "gs://%zz"} {
		_, _, err := bucket.Open(address, options(t))
		if reasonOf(err) != malformed || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
