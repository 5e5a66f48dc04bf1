package torch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/internal/shardindex"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// FuzzIndex reads any bytes as a shard index.
func FuzzIndex(f *testing.F) {
	index, err := os.ReadFile(filepath.Join(hfBin, IndexName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(index)
	f.Add([]byte(`{"metadata": {"total_size": 1e3}, "weight_map": {"a": "b.bin"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := shardindex.Parse(data)
		if err != nil {
			var bad *tensor.FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("%v is not a format error", err)
			}
			return
		}
		for _, file := range x.Files {
			if filepath.Base(file) != file {
				t.Fatalf("%q is no name of a file", file)
			}
		}
	})
}
