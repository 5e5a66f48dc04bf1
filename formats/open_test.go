package formats

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// read reads a checkpoint as a digest would: every tensor to its end, and its checksum. Tensors
// of more than limit bytes are left out.
func read(c *Checkpoint, limit int64) error {
	for _, t := range c.Tensors() {
		if t.Bytes() > limit {
			continue
		}
		r, err := t.Data.Stream(0)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
		if n != t.Bytes() {
			return tensor.Bad("%d of %d bytes", n, t.Bytes()).Of(t.Name)
		}
		if c, ok := t.Data.(tensor.Checker); ok {
			if err := c.Check(); err != nil {
				return err
			}
		}
	}
	return nil
}

func openAndRead(path string) error {
	c, err := Open(path, Options{})
	if err != nil {
		return err
	}
	return errors.Join(read(c, 256<<20), c.Close())
}

// Hostile input of each format meets the answer of a strict reader, within bounded memory. Where
// the answer is a refusal it says where the fault is.
func TestHostile(t *testing.T) {
	cases := 0
	for _, format := range []string{"safetensors", "torch", "orbax", "flax"} {
		dir := filepath.Join(format, "testdata", "hostile")
		var expect map[string]struct{ Want string }
		text, err := os.ReadFile(filepath.Join(dir, "expect.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &expect); err != nil {
			t.Fatal(err)
		}
		for name, e := range expect {
			cases++
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := openAndRead(filepath.Join(dir, name))
			runtime.ReadMemStats(&after)
			var bad *FormatError
			switch {
			case err == nil && e.Want == "reject":
				t.Errorf("%s/%s is accepted", format, name)
			case err != nil && e.Want == "accept":
				t.Errorf("%s/%s: %v", format, name, err)
			case err != nil && (!errors.As(err, &bad) || bad.File == "" && bad.Tensor == ""):
				t.Errorf("%s/%s: error without a place: %v", format, name, err)
			}
			// All that was ever allocated, so more than was held at once.
			if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 {
				t.Errorf("%s/%s allocated %d MiB", format, name, n>>20)
			}
		}
	}
	if cases < 200 {
		t.Errorf("only %d cases", cases)
	}
	if left, _ := filepath.Glob("griffin_pwned*"); len(left) > 0 {
		t.Error("a hostile checkpoint was executed")
	}
}
