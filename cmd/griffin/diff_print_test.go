package main

import (
	"testing"

	"github.com/griffin-ckpt/griffin/verify/diff"
)

// NaN and infinities are counted also if the checkpoints are equal within a tolerance.
func TestSummaryOfNotFinite(t *testing.T) {
	s := diff.Summary{Tensors: 3, Equal: 3, Elements: 9}
	for _, tt := range []struct {
		equal     bool
		notFinite int
		want      string
	}{
		{true, 0, "equal: 3 tensors, 9 elements"},
		{true, 1, "equal: 3 tensors, 9 elements; 1 tensor has NaN or infinities"},
		{true, 2, "equal: 3 tensors, 9 elements; 2 tensors have NaN or infinities"},
		{false, 2, "different: 3 tensors equal; 2 tensors have NaN or infinities"},
	} {
		s.NonFinite = tt.notFinite
		if got := summaryLine(&diff.Result{Equal: tt.equal, Summary: s}); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
