package orbax

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// writeAll stores tensors of those bytes, in the given order, in steps of odd sizes.
func writeAll(t *testing.T, dir, format string, specs []Spec, data [][]byte, order []int) {
	t.Helper()
	l, err := NewLayout(specs, format)
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	written := make([]tensor.Written, len(specs))
	for _, i := range order {
		written[i].SHA256 = sha256.Sum256(data[i])
		f, offset, length := w.At(i)
		if f != nil {
			if length != int64(len(data[i])) {
				t.Fatalf("%s has a place of %d bytes, not %d", specs[i].Name, length, len(data[i]))
			}
			if _, err := f.WriteAt(data[i], offset); err != nil {
				t.Fatal(err)
			}
			continue
		}
		s, err := w.Sink(i)
		if err != nil {
			t.Fatal(err)
		}
		for rest := data[i]; len(rest) > 0; {
			n := min(len(rest), 1+i*i*7919%70000)
			if _, err := s.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(written); err != nil {
		t.Fatal(err)
	}
}

// writable are the types that the formats hold.
var writable = []tensor.DType{
	tensor.F64, tensor.F32, tensor.F16, tensor.BF16, tensor.C128, tensor.C64,
	tensor.I64, tensor.I32, tensor.I16, tensor.I8, tensor.I4, tensor.I2, tensor.U64, tensor.U32, tensor.U16, tensor.U8, tensor.Bool,
	tensor.F8E4M3, tensor.F8E5M2, tensor.F8E4M3FNUZ, tensor.F8E5M2FNUZ, tensor.F8E4M3B11FNUZ, tensor.F8E3M4, tensor.F4Byte,
}

// writeCases are tensors of every type, and of every kind of shape.
func writeCases(seed uint64) (specs []Spec, data [][]byte) {
	rng := rand.New(rand.NewPCG(seed, 0))
	add := func(name string, d tensor.DType, shape ...int64) {
		_, size, _ := tensor.SizeOf(d, shape)
		b := make([]byte, size)
		random := rng.IntN(3)
		for i := range b {
			if b[i] = byte(i / 64); random > 0 {
				b[i] = byte(rng.Uint32())
			}
			if d == tensor.Bool {
				b[i] &= 1
			}
		}
		specs = append(specs, Spec{name, d, shape})
		data = append(data, b)
	}
	for _, d := range writable {
		add("types."+d.String(), d, 3, int64(1+rng.IntN(40)))
	}
	add("shapes.scalar", tensor.F32)
	add("shapes.one", tensor.BF16, 1)
	add("shapes.none", tensor.BF16, 0)
	add("shapes.empty", tensor.F32, 3, 0, 2)
	add("shapes.ones", tensor.I64, 1, 1, 1, 1)
	add("params.blocks.0.mlp_block.ffw_up.w", tensor.F32, 2, 5, 7)
	add("params.blocks.1.mlp_block.ffw_up.w", tensor.F32, 2, 5, 7)
	add("params.final_norm.scale", tensor.F32, 2000)
	add(" odd näme.with 'quotes\" and \\.\n.日本", tensor.I8, 5)
	return specs, data
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	for _, format := range FormatNames() {
		t.Run(format, func(t *testing.T) {
			specs, data := writeCases(1)
			dir := filepath.Join(t.TempDir(), "checkpoint")
			if err := os.Mkdir(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			writeAll(t, dir, format, specs, data, rand.Perm(len(specs)))
			checkReadBack(t, dir, specs, data)
		})
	}
}

// checkReadBack compares what a directory holds with what was written.
func checkReadBack(t *testing.T, dir string, specs []Spec, data [][]byte) {
	t.Helper()
	c, err := Open(dir, Newest)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(c.Tensors()) != len(specs) || len(c.Notes) > 0 {
		t.Errorf("%d tensors, not %d; notes %q", len(c.Tensors()), len(specs), c.Notes)
	}
	for i, s := range specs {
		got := c.Tensor(s.Name)
		if got == nil {
			t.Errorf("%s is missing", s.Name)
			continue
		}
		if got.DType != s.DType || fmt.Sprint(got.Shape) != fmt.Sprint(s.Shape) {
			t.Errorf("%s: %s %v, not %s %v", s.Name, got.DType, got.Shape, s.DType, s.Shape)
		}
		r, err := got.Data.Stream(0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(b, data[i]) {
			t.Errorf("%s: other bytes are read: %v", s.Name, err)
		}
	}
}
