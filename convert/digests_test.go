package convert

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// outputs are options for every kind of output.
func outputs(settings model.Settings) []Options {
	all := []Options{{Settings: settings}, {Settings: settings, MaxShardSize: 3000}, {To: ToTorch}, {To: ToSafetensors}}
	for _, f := range orbax.Formats() {
		all = append(all, Options{To: ToOrbax, OrbaxFormat: f})
	}
	return all
}

// conversion.json has the size and the digest of every other file.
func TestDigestsOfFiles(t *testing.T) {
	source, settings := ordinaryModel(t, rand.New(rand.NewPCG(5, 5)), model.Torch, tensor.BF16)
	for _, o := range outputs(settings) {
		for _, o.Digest = range []digest.Algorithms{digest.BLAKE3, digest.SHA256} {
			dir := t.TempDir()
			dst, record := filepath.Join(dir, "out"), filepath.Join(dir, "out", manifest.Name)
			if o.To == ToTorch {
				record = dst + "." + manifest.Name
			}
			r, err := Convert(t.Context(), source, dst, o)
			if err != nil {
				t.Fatal(err)
			}
			var m manifest.Manifest
			readJSON(t, record, &m)
			listed := map[string]manifest.OutputFile{}
			for _, f := range m.Files {
				listed[f.Name] = f
			}
			err = filepath.WalkDir(dst, func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() || path == record {
					return err
				}
				content, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				name, err := filepath.Rel(dst, path)
				if name == "." {
					name = filepath.Base(dst)
				}
				name = filepath.ToSlash(name)
				if want := (manifest.OutputFile{Name: name, Bytes: int64(len(content)), Sum: digest.Of(o.Digest, content)}); listed[name] != want {
					t.Errorf("%s %s: %+v, not %+v", o.To, o.OrbaxFormat, listed[name], want)
				}
				delete(listed, name)
				return err
			})
			if err != nil || len(listed) > 0 {
				t.Errorf("%s %s: %v, also listed: %v", o.To, o.OrbaxFormat, err, listed)
			}
			for _, f := range r.Files[:len(r.Files)-1] {
				if f.Algorithms() != o.Digest {
					t.Errorf("%s %s: result has %+v", o.To, o.OrbaxFormat, f)
				}
			}
		}
	}
}

// The space that is asked for is that of the files, and what an error says of it adds up.
func TestSpaceAskedFor(t *testing.T) {
	source, settings := ordinaryModel(t, rand.New(rand.NewPCG(7, 7)), model.Torch, tensor.BF16)
	for _, o := range outputs(settings) {
		path := filepath.Join(t.TempDir(), "out")
		r, err := Convert(t.Context(), source, path, o)
		if err != nil {
			t.Fatal(err)
		}
		var total, record int64
		for _, f := range r.Files {
			if total += *f.Bytes; strings.HasSuffix(f.Name, manifest.Name) {
				record = *f.Bytes
			}
		}
		c, err := prepare(t.Context(), source, filepath.Join(t.TempDir(), "out"), o)
		if err != nil {
			t.Fatal(err)
		}
		need, full, estimate := int64(0), errors.New("full"), recordSize(r.Tensors.Len())
		err = c.checkFree(func(n int64) error { need = n; return full })
		if said := fmt.Sprintf("full; the output includes about %d kB for conversion.json", (estimate+999)/1000); !errors.Is(err, full) || err.Error() != said {
			t.Errorf("%v, not %s", err, said)
		}
		if rest := estimate - record; rest < 0 || rest > record || need < total || o.To != ToOrbax && need-total != rest {
			t.Errorf("%s %s: %d bytes are asked for, %d of them for a record, and %d of %d written", o.To, o.OrbaxFormat, need, estimate, record, total)
		}
	}
}

// The digests of files are those of the bytes that were written, not of what is in the files afterwards: files are not
// read again.
func TestDigestsOfFilesWithoutReading(t *testing.T) {
	source, settings := ordinaryModel(t, rand.New(rand.NewPCG(6, 6)), model.Torch, tensor.BF16)
	all := outputs(settings)
	for _, o := range outputs(settings) {
		if o.Digest = digest.SHA256; o.To != ToTorch { // whose headers have checksums of what follows
			all = append(all, o)
		}
	}
	for _, o := range all {
		if o.To == ToOrbax && o.OrbaxFormat != orbax.OCDBT && o.OrbaxFormat != orbax.Zarr {
			continue // those without compression leave gaps, which are read
		}
		path := filepath.Join(t.TempDir(), "out")
		c, err := prepare(t.Context(), source, path, o)
		if err != nil {
			t.Fatal(err)
		}
		stage, err := localPlace{path}.begin(c)
		if err != nil {
			t.Fatal(err)
		}
		defer stage.discard()
		if _, err := c.writeWeights(t.Context(), stage, func(int64) {}); err != nil {
			t.Fatal(err)
		}
		want := map[string]digest.Sum{}
		err = filepath.WalkDir(stage.weights, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			want[path] = digest.Of(cmp.Or(o.Digest, digest.BLAKE3), content)
			return os.WriteFile(path, make([]byte, len(content)), 0o666)
		})
		if err != nil {
			t.Fatal(err)
		}
		sums, err := c.written.Sums(t.Context())
		if err != nil || len(sums) != len(want) {
			t.Fatalf("%d files, not %d, %v", len(sums), len(want), err)
		}
		for _, s := range sums {
			if s.Sum != want[s.Path] {
				t.Errorf("%s: %s was read again for %v", o.To, s.Path, o.Digest)
			}
		}
	}
}
