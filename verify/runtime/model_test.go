package runtime_test

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Checkpoints of every format and layout compute the same bits: those of the recorded weights,
// whichever way they lie, read or mapped. Reading all weights once is reported as such.
func TestLayoutsAgree(t *testing.T) {
	for _, name := range cases.Names {
		c := cases.Open(t, name)
		var want map[string][]float32
		for _, path := range c.Checkpoints(t) {
			m := c.Model(t, path)
			var size int64
			for _, p := range m.Found.ParameterTensors(&m.Config) {
				size += p.Tensor.Bytes()
			}
			var reported atomic.Int64
			m.OnRead = func(n int64) { reported.Add(n) }
			mapped, closer := m.Mapped(reference.Original, reference.Arithmetic{})
			defer closer.Close()
			for _, run := range []*reference.Model{m.Reference(reference.Original, reference.Arithmetic{}), mapped} {
				got := map[string][]float32{}
				reported.Store(0)
				err := run.Run(context.Background(), reference.Pass{Tokens: []int32{3, 1, 4, 1, 5, 9, 2, 6}, Batch: 2,
					Observe: func(o reference.Observation) error { got[o.Name()] = o.Float32; return nil }})
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				if n := reported.Load(); n < size || n > 2*size {
					t.Errorf("%s: %d bytes are reported to be read, the weights have %d", path, n, size)
				}
				if want == nil {
					want = got
				}
				for site, w := range want {
					for i := range w {
						if math.Float32bits(w[i]) != math.Float32bits(got[site][i]) {
							t.Fatalf("%s: %s is %v at %d, not %v", path, site, got[site][i], i, w[i])
						}
					}
				}
			}
		}
	}
}

// The digest is of the parameters as they are stored: the same in every container of a layout, and
// with or without a copy of the embedding as output head.
func TestDigest(t *testing.T) {
	c := cases.Open(t, "micro-griffin")
	seen := map[string]string{}
	for _, path := range c.Checkpoints(t) {
		m := c.Model(t, path)
		sum, err := m.Digest(context.Background(), digest.BLAKE3, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		layout := m.Found.Layout.String()
		if any, err := runtime.DigestOf(context.Background(), m.Checkpoint, "", digest.BLAKE3, nil, nil); err != nil || any != sum {
			t.Errorf("%s: without settings it is %s, %v, not %s", path, any, err, sum)
		}
		// Digests that are known are not computed again.
		other := map[string]digest.Sum{}
		for _, tensor := range m.Checkpoint.Tensors() {
			other[tensor.Name] = digest.Of(digest.BLAKE3, []byte("other"))
		}
		if any, err := runtime.DigestOf(context.Background(), m.Checkpoint, "", digest.BLAKE3, other, nil); err != nil || any == sum {
			t.Errorf("%s: the digests that were given are not used: %v", path, err)
		}
		if before := seen[layout]; before != "" && before != sum || !strings.HasPrefix(sum, layout+" blake3:") || runtime.DigestAlgorithm(sum) != digest.BLAKE3 {
			t.Errorf("%s: %s, before %s", path, sum, before)
		}
		seen[layout] = sum
	}
	if len(seen) != 3 {
		t.Errorf("%d layouts", len(seen))
	}
	// As the capture scripts, which are Python, have them.
	c = cases.Open(t, "odd-griffin")
	for path, want := range map[string]string{
		"original/orbax-zarr3": "flax sha256:4a35f74ab07ec053ab52703d2ef321f4019d531a463eb7022919b36e0c6167b0",
		"original/torch.pt":    "torch sha256:a6739a00d98e39afc5c794f10ad42a7c37354a0df02a1ba67b48b08316c758fe",
		"hf":                   "huggingface sha256:f9fbdabce46b0f33421df16a51c57dd9615b0ed3075f925833e88885ef7910f7",
	} {
		if got, err := c.Model(t, filepath.Join(c.Dir, path)).Digest(context.Background(), digest.SHA256, nil, nil); err != nil || got != want {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
}

// The lines of the tensors are in the order of their whole texts, also where one name begins as another.
func TestDigestOrder(t *testing.T) {
	var tensors []*tensor.Tensor
	var lines []string
	for _, name := range []string{"a.b", "a", "b", "a\x01", "a uint8 2 c", "a uint8 1", "a b", "ab"} {
		x := tensortest.Stored(name, tensor.U8, []int64{1, 1}, []byte{byte(len(name))})
		tensors = append(tensors, x)
		lines = append(lines, name+" "+tensor.U8.String()+" 1x1 "+digest.Of(digest.BLAKE3, []byte{byte(len(name))}).BLAKE3+"\n")
	}
	c, err := tensor.NewCheckpoint("a", "test", tensors)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	want := "tensors " + digest.Of(digest.BLAKE3, []byte(strings.Join(lines, ""))).Named()
	if got, err := runtime.DigestOf(context.Background(), c, "", digest.BLAKE3, nil, nil); err != nil || got != want {
		t.Errorf("%s, %v, not %s", got, err, want)
	}
}

// TestDigestOfAnything: the digest of a checkpoint that holds no model is that of all its tensors, with their names and values.
func TestDigestOfAnything(t *testing.T) {
	sum := func(name string, content ...byte) string {
		c, err := tensor.NewCheckpoint("a", "test", []*tensor.Tensor{tensortest.Stored(name, tensor.U8, []int64{int64(len(content))}, content)})
		if err != nil {
			t.Fatal(err)
		}
		bytes := atomic.Int64{}
		s, err := runtime.DigestOf(context.Background(), c, "", digest.BLAKE3, nil, func(n int64) { bytes.Add(n) })
		if err != nil || !strings.HasPrefix(s, "tensors blake3:") || bytes.Load() != int64(len(content)) {
			t.Errorf("%s, %v, %d bytes", s, err, bytes.Load())
		}
		return s
	}
	if a := sum("w", 1, 2); a != sum("w", 1, 2) || a == sum("w", 1, 3) || a == sum("v", 1, 2) {
		t.Error("equal digests of different tensors, or the reverse")
	}
}
