package storage_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

func TestAddresses(t *testing.T) {
	storage.Register("memory", func(address string) (fs.FS, string, error) {
		return fstest.MapFS{"a": {Data: []byte(address)}}, "a", nil
	})
	source, name, err := storage.Locate("memory://x/a")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := storage.ReadFile(source, name, 100); err != nil || string(got) != "memory://x/a" {
		t.Errorf("%q, %v", got, err)
	}
	var unknown *storage.SchemeError
	if _, _, err := storage.Locate("unknown://x"); !errors.As(err, &unknown) || unknown.Scheme != "unknown" {
		t.Errorf("an unknown scheme: %v", err)
	}
	for path, scheme := range map[string]string{"hf://a/b": "hf", "s3+x://a": "s3+x", "a/b": "", "C:/a": "", "://a": "", "a b://c": "", "./x://y": ""} {
		if got, ok := storage.Scheme(path); got != scheme || ok != (scheme != "") {
			t.Errorf("Scheme(%q) = %q, %t", path, got, ok)
		}
	}

	dir := makeTree(t, "a b")
	file := filepath.ToSlash(filepath.Join(dir, "a b"))
	for _, address := range []string{"file://" + filepath.ToSlash(dir) + "/a%20b", "file://localhost" + file} {
		source, name, err := storage.Locate(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		if got, err := storage.ReadFile(source, name, 100); err != nil || string(got) != "a b" {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
	for _, address := range []string{"file://elsewhere" + file, "file://", "file://%zz"} {
		if _, _, err := storage.Locate(address); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestOrigin(t *testing.T) {
	if got := storage.OriginOf(fstest.MapFS{}, "a"); got.Address != "" || got.Files != nil {
		t.Errorf("memory has the origin %+v", got)
	}
	if got := storage.Memory(fstest.MapFS{}); got != 0 {
		t.Errorf("memory holds %d bytes", got)
	}
}

func TestNamesOfAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"s3://user:secret@host/a/b?token=1": "s3://host/a/b", "gs://bucket/a": "gs://bucket/a", "https://host?x": "https://host", "https://a@b@host/x@y": "https://host/x@y", "a?b": "a?b",
	} {
		if got := storage.WithoutQuery(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"s3://b/run/7?x=/y": "7", "a/b/": "b", ".": filepath.Base(here), "/": "/"} {
		if got := storage.BaseName(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for _, tt := range []struct{ address, want string }{{"a/b", "a/b"}, {"s3://a/b", "s3://a/b"}, {"file:///a%20b", "/a b"}} {
		if got, err := storage.LocalDestination(tt.address); got != tt.want || err != nil {
			t.Errorf("%s: %s, %v", tt.address, got, err)
		}
	}
	for _, tt := range []struct {
		dir, name, want string
		ok              bool
	}{{".", "a/b", "a/b", true}, {"run/7", "run/7/d/0", "d/0", true}, {"run/7", "run/7", "7", true}, {"run/7", "run/70", "", false}} {
		if got, ok := storage.Below(tt.dir, tt.name); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s below %s: %s, %t", tt.name, tt.dir, got, ok)
		}
	}
}
