package zarr

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// openDir opens an array as the orbax package does: within the root of its directory.
func openDir(t testing.TB, dir string) (*Array, error) {
	t.Helper()
	root, closer, err := storage.Confine(storage.Local(dir), ".")
	if err != nil {
		t.Fatal(err)
	}
	store := DirStore(root, ".")
	t.Cleanup(func() { store.Close(); closer.Close() })
	return Open(store, "", Options{})
}

func readFrom(a *Array, off int64) ([]byte, error) {
	r, err := a.Stream(off)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(iotest.HalfReader(r))
}

// sample is what TensorStore reads from an array that it wrote.
type sample struct {
	DType   string
	Shape   []int64
	B64     []byte
	Missing int `json:"missing_chunks"`
}

func samples(t testing.TB) map[string]sample {
	text, err := os.ReadFile("testdata/sound/values.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]sample
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// strictlyRefused are sound samples that TensorStore reads and Open or Stream refuses.
var strictlyRefused = map[string]string{
	"v2_missing_null_fill": "chunk is missing",
}

func TestSoundArrays(t *testing.T) {
	for name, want := range samples(t) {
		t.Run(name, func(t *testing.T) {
			a, err := openDir(t, filepath.Join("testdata/sound", name))
			if err != nil {
				t.Fatal(err)
			}
			if a.DType.String() != want.DType || !slices.Equal(a.Shape, want.Shape) {
				t.Errorf("%s %v, want %s %v", a.DType, a.Shape, want.DType, want.Shape)
			}
			missing, err := a.MissingChunks(1000)
			missing = slices.DeleteFunc(missing, func(key string) bool { return strings.Contains(key, "inner chunk") })
			if err != nil || len(missing) != want.Missing {
				t.Errorf("missing chunks %q, %v; want %d", missing, err, want.Missing)
			}
			got, err := readFrom(a, 0)
			if refusal := strictlyRefused[name]; refusal != "" {
				if err == nil || !strings.Contains(err.Error(), refusal) {
					t.Errorf("got %v, want %q", err, refusal)
				}
				return
			}
			if err != nil || !bytes.Equal(got, want.B64) {
				t.Fatalf("%v\n%x, want\n%x", err, got, want.B64)
			}
			var out bytes.Buffer
			r, err := a.Stream(0)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := r.(io.WriterTo).WriteTo(&out); err != nil || n != int64(len(want.B64)) || !bytes.Equal(out.Bytes(), want.B64) {
				t.Errorf("WriteTo: %d bytes, %v", n, err)
			}
			checkStrided(t, a, want.B64)
		})
	}
}

// checkStrided reads an array by the way that maps files, if it has it.
func checkStrided(t *testing.T, a *Array, want []byte) {
	s, ok, err := tensor.Layout(&tensor.Tensor{DType: a.DType, Shape: a.Shape, Data: a})
	if err != nil || !ok {
		if err != nil {
			t.Error(err)
		}
		return
	}
	r, err := s.Stream(0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("as Strided: %x, %v", got, err)
	}
}

func TestHostileArrays(t *testing.T) {
	text, err := os.ReadFile("testdata/hostile/expect.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct{ Want string }
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a, err := openDir(t, filepath.Join("testdata/hostile", name))
			if err == nil {
				var r io.ReadCloser
				if r, err = a.Stream(0); err == nil {
					// Where a file may claim any size, the beginning will do.
					_, err = io.Copy(io.Discard, io.LimitReader(r, 1<<24))
					r.Close()
				}
			}
			var bad *tensor.FormatError
			switch {
			case c.Want == "accept" && err != nil:
				t.Errorf("refused: %v", err)
			case c.Want == "reject" && err == nil:
				t.Error("accepted")
			case err != nil && !errors.As(err, &bad):
				t.Errorf("%T %v is no *FormatError", err, err)
			case err != nil:
				t.Log(err)
			}
			if c.Want == "reject" && a != nil {
				checkExactReads(t, a)
			}
		})
	}
}

// checkExactReads reads exactly the bytes of an array that is broken, and never its end: that too
// must tell.
func checkExactReads(t *testing.T, a *Array) {
	if a.size > 1<<24 {
		return
	}
	for name, read := range map[string]func(io.Reader) error{
		"all at once": func(r io.Reader) error { _, err := io.ReadFull(r, make([]byte, a.size)); return err },
		"byte by byte": func(r io.Reader) error {
			_, err := io.ReadFull(iotest.OneByteReader(r), make([]byte, a.size))
			return err
		},
		"WriteTo": func(r io.Reader) error { _, err := r.(io.WriterTo).WriteTo(io.Discard); return err },
	} {
		r, err := a.Stream(0)
		if err != nil {
			return
		}
		if read(r) == nil {
			t.Errorf("accepted when read %s", name)
		}
		r.Close()
	}
}
