package pickle_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// FuzzRead reads any bytes as a pickle: the errors are format errors, and what is read has a length.
func FuzzRead(f *testing.F) {
	for _, data := range []string{
		"\x80\x02}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00b]q\x00(h\x00Neu.",
		"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c\x08argparse\x94\x8c\x09Namespace\x94\x93\x94)\x81\x94}b.",
		orderedDict + "(NNtR(NNu}b.", "(ia\nb\n(cm\nC\no\x86.",
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := config()
		c.MaxMemory = 4 << 20
		r, err := pickle.Read(bytes.NewReader(data), 0, int64(len(data)), c)
		var bad *tensor.FormatError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("%v is not a format error", err)
		}
		if err == nil && (r.Length < 1 || r.Length > int64(len(data)) || data[r.Length-1] != '.') {
			t.Fatalf("a pickle of %d bytes in %d", r.Length, len(data))
		}
	})
}
