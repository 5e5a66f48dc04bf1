package tensor_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestAnnotate(t *testing.T) {
	where := tensor.Location{File: "a.bin", Record: "data.pkl", Tensor: "x"}
	inner := tensor.Bad("too short").Of("y")
	outer := fmt.Errorf("reading: %w", inner)
	if got := tensor.Annotate(outer, where); got != outer {
		t.Errorf("Annotate returned another error: %v", got)
	}
	if got, want := inner.Error(), `a.bin: data.pkl: tensor "y": too short`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := tensor.Annotate(io.ErrUnexpectedEOF, where); got != io.ErrUnexpectedEOF {
		t.Errorf("Annotate changed an error of another type: %v", got)
	}
	if got, want := tensor.Bad("too short").At(0).At(8).Error(), "offset 0: too short"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if tensor.Annotate(nil, where) != nil {
		t.Error("Annotate made an error of nil")
	}
}
