package convert

import (
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// A conversion with an adapter is complete, by whichever hash function its digests are; not with another adapter.
func TestIsCompleteWithAdapter(t *testing.T) {
	src, err := formats.Open("../testdata/finetune/base", formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	adapter, err := peft.Read(storage.Local("../testdata/finetune"), "adapter")
	if err != nil {
		t.Fatal(err)
	}
	defer adapter.Close()
	for _, a := range []digest.Algorithms{digest.BLAKE3, digest.SHA256} {
		dst := filepath.Join(t.TempDir(), "merged")
		if _, err := Convert(t.Context(), src, dst, Options{Adapter: adapter, Digest: a}); err != nil {
			t.Fatal(err)
		}
		for _, later := range []digest.Algorithms{0, digest.SHA256} {
			if complete, err := IsComplete(t.Context(), src, dst, Options{Adapter: adapter, Digest: later}); !complete || err != nil {
				t.Errorf("%s, then %s: %t, %v", a, later, complete, err)
			}
		}
		if complete, err := IsComplete(t.Context(), src, dst, Options{}); complete || err == nil {
			t.Errorf("without the adapter: %t, %v", complete, err)
		}
	}
}
