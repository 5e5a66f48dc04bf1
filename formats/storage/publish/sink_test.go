package publish

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

func TestOpenSink(t *testing.T) {
	RegisterSink("other", func(context.Context, string, bool) (Sink, error) { return nil, io.ErrClosedPipe })
	var scheme *storage.SchemeError
	if _, ok, err := OpenSink(t.Context(), "other://x", false); !ok || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a sink: %t, %v", ok, err)
	}
	if _, ok, err := OpenSink(t.Context(), "unknown://x", false); !ok || !errors.As(err, &scheme) || !scheme.Write {
		t.Errorf("an unknown scheme: %t, %v", ok, err)
	}
	if _, ok, err := OpenSink(t.Context(), "a/b", false); ok || err != nil {
		t.Errorf("a path: %t, %v", ok, err)
	}
}
