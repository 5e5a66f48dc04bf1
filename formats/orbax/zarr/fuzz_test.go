package zarr

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func fuzzDocuments(f *testing.F, version int) {
	names, _ := filepath.Glob("testdata/*/*/" + documents[version])
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		store := memory{documents[version]: text}
		a, err := Open(store, "", Options{Version: version})
		if err != nil {
			return
		}
		if a.size < 0 || a.leafBytes <= 0 || len(a.fill) > 0 && int64(len(a.fill)) != a.DType.Size() {
			t.Errorf("size %d, chunk %d, fill %x", a.size, a.leafBytes, a.fill)
		}
		a.MissingChunks(10)
		r, err := a.Stream(a.size / 2)
		if err != nil {
			t.Fatal(err)
		}
		io.CopyN(io.Discard, r, 1<<16)
		r.Close()
	})
}

func FuzzMetadataV2(f *testing.F) { fuzzDocuments(f, 2) }
func FuzzMetadataV3(f *testing.F) { fuzzDocuments(f, 3) }

// FuzzChunk reads any bytes as the chunks of the sample arrays, through all their codecs.
func FuzzChunk(f *testing.F) {
	var arrays [][]byte // documents
	names, _ := filepath.Glob("testdata/sound/*/.zarray")
	more, _ := filepath.Glob("testdata/sound/*/zarr.json")
	for i, name := range append(names, more...) {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		arrays = append(arrays, text)
		for _, pattern := range []string{"0", "0.0", "0/0", "c", "c/0", "c/0/0", "c/0/0/0", "c.0.0"} {
			if chunk, err := os.ReadFile(filepath.Join(filepath.Dir(name), pattern)); err == nil {
				f.Add(uint(i), chunk)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint, data []byte) {
		text := arrays[which%uint(len(arrays))]
		a, err := Open(everywhere{memory{".zarray": text}, data}, "", Options{Version: 2})
		if err != nil {
			a, err = Open(everywhere{memory{"zarr.json": text}, data}, "", Options{Version: 3})
		}
		if err != nil {
			t.Skip(err)
		}
		r, err := a.Stream(0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		n, err := io.Copy(io.Discard, r)
		var bad *tensor.FormatError
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("%T: %v", err, err)
		}
		if err == nil && n != a.size {
			t.Errorf("%d bytes of %d", n, a.size)
		}
	})
}

// everywhere is a store whose every chunk is the same.
type everywhere struct {
	documents memory
	chunk     []byte
}

func (e everywhere) Section(key string) (*io.SectionReader, bool, error) {
	if s, ok, err := e.documents.Section(key); ok {
		return s, ok, err
	}
	if key == ".zarray" || key == "zarr.json" {
		return nil, false, nil
	}
	return memory{key: e.chunk}.Section(key)
}
