package storage_test

import (
	"errors"
	"io/fs"
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
