package convert_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
	"github.com/griffin-ckpt/griffin/formats/storage/web"
)

// large is the size in bytes of the tensor that enlarge adds.
const large = 20 << 20

// enlarge adds a large tensor to a safetensors file.
func enlarge(t *testing.T, file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 8 + binary.LittleEndian.Uint64(content)
	header := map[string]any{}
	if err := json.Unmarshal(content[8:n], &header); err != nil {
		t.Fatal(err)
	}
	data := content[n:]
	header["extra.large"] = map[string]any{"dtype": "F32", "shape": []int{large / 4}, "data_offsets": []int{len(data), len(data) + large}}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, bytes.Repeat([]byte(" "), (8-len(text)%8)%8)...)
	all := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	all = append(append(append(all, text...), data...), make([]byte, large)...)
	if err := os.WriteFile(file, all, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A large safetensors file of a server that sends whole files only is converted while it is read once.
func TestOnePass(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hf")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "testdata", "tiny-griffin", "hf"))); err != nil {
		t.Fatal(err)
	}
	enlarge(t, filepath.Join(dir, "model.safetensors"))
	var sent atomic.Int64
	files := http.FileServer(http.Dir(dir))
	address := storagetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		files.ServeHTTP(&counted{w, &sent}, r)
	}))
	for _, o := range []convert.Options{{To: convert.ToTorch, Extra: convert.KeepExtra}, {To: convert.ToSafetensors}, {To: convert.ToOrbax, Extra: convert.KeepExtra}} {
		sent.Store(0)
		source, name, err := web.Open(address+"/", web.Options{Pool: remote.NewPool(t.Context(), remote.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		passed, err := formats.OpenSource(source, name, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		local, err := formats.Open(dir, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var trees []map[string]string
		for _, src := range []*formats.Checkpoint{passed, local} {
			out := filepath.Join(t.TempDir(), "out.pt")
			if o.To != convert.ToTorch {
				out = strings.TrimSuffix(out, ".pt")
			}
			verified := o
			verified.Verify = true
			var refused *convert.OptionError
			if _, err := convert.Convert(t.Context(), src, out, verified); src == passed && (!errors.As(err, &refused) || refused.Option != "Verify") {
				t.Errorf("to %s, to be verified: %v", o.To, err)
			}
			if err := os.RemoveAll(filepath.Dir(out)); err != nil {
				t.Fatal(err)
			}
			if _, err := convert.Convert(t.Context(), src, out, o); err != nil {
				t.Fatalf("to %s: %v", o.To, err)
			}
			trees = append(trees, tree(t, filepath.Dir(out)))
			if err := src.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for name, content := range trees[1] {
			if !strings.HasSuffix(name, "conversion.json") && trees[0][name] != content {
				t.Errorf("to %s: %s differs", o.To, name)
			}
		}
		// The connection takes some megabytes more than are read of the beginning, to find out what the file is.
		if n := sent.Load(); n >= 2*large {
			t.Errorf("to %s: %d bytes were sent", o.To, n)
		}
	}
}

// counted counts what is sent.
type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// tree returns the content of all files below a directory.
func tree(t *testing.T, dir string) map[string]string {
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
