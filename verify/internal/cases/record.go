package cases

import (
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
)

// Record returns a conversion.json of tensors, as it is read.
func Record(t testing.TB, tensors ...manifest.Tensor) *manifest.Record {
	t.Helper()
	text, err := (&manifest.Manifest{Head: manifest.Head{Griffin: "test"}, Tensors: tensors}).JSON()
	if err != nil {
		t.Fatal(err)
	}
	r, err := manifest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
