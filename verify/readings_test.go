package verify

import (
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
)

// countedSource counts the bytes that are read of its weights.
type countedSource struct {
	fs.FS
	read *atomic.Int64
}

func (s countedSource) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	if err != nil || filepath.Ext(name) != ".safetensors" {
		return f, err
	}
	return countedFile{f.(storage.File), s.read}, nil
}

type countedFile struct {
	storage.File
	read *atomic.Int64
}

func (f countedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.read.Add(int64(n))
	return n, err
}

// A checkpoint alone is read for its logits. That gives the digests, too, which its conversion.json, the recording and the facts are compared with or
// state: they cost no reading more, not even of what is wrong.
func TestReadingsAlone(t *testing.T) {
	recording := filepath.Join(t.TempDir(), "g.safetensors")
	_, dir := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	readings := func(o Options) (int64, *Verdict) {
		var read atomic.Int64
		c, err := formats.OpenSource(countedSource{storage.Local(dir), &read}, ".", formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		v, err := Verify(t.Context(), c, nil, o)
		if err != nil {
			t.Fatal(err)
		}
		return read.Load(), v
	}
	plain := cases.Open(t, "tiny-griffin").Recording("hf5")
	_, v := readings(Options{Golden: plain, Facts: true})
	file := readFile(plain)
	end := 8 + binary.LittleEndian.Uint64(file)
	header := strings.Replace(string(file[8:end]), `"implementation"`, `"model_digest":"`+v.Facts.Source.Digest+`","implementation"`, 1)
	if err := os.WriteFile(recording, append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+string(file[end:])...), 0o666); err != nil {
		t.Fatal(err)
	}
	measured := map[bool]int64{}
	for _, wrong := range []bool{false, true} {
		if wrong {
			rewrite(t, filepath.Join(dir, "model.safetensors"), func(file []byte) []byte { file[len(file)-4999] ^= 0x40; return file })
		}
		measured[wrong], v = readings(Options{Golden: recording, Facts: true})
		notes := strings.Join(v.Notes, "\n")
		if v.Same == wrong || strings.Contains(notes, "records another digest") != wrong || wrong != (v.Logits[0].Weights != "") || v.Facts.Source.Digest == "" {
			t.Errorf("wrong: %t: %v, %s, weights %q", wrong, v.Same, notes, v.Logits[0].Weights)
		}
	}
	remove(t, dir, manifest.Name)
	if n, v := readings(Options{Golden: recording}); n != measured[true] || v.Logits[0].Weights == "" {
		t.Errorf("%d bytes are read where nothing but the recording has a digest, and %d with all", n, measured[true])
	}
	if n, _ := readings(Options{Golden: plain}); n != measured[true] {
		t.Errorf("%d bytes are read, and %d with the digests", n, measured[true])
	}
	rewrite(t, filepath.Join(dir, "model.safetensors"), func(file []byte) []byte { file[len(file)-4999] ^= 0x40; return file })
	if n, _ := readings(Options{Golden: plain}); n != measured[false] {
		t.Errorf("%d bytes are read, and %d with the digests", n, measured[false])
	}
}
