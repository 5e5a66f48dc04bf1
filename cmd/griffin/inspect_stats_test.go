package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

type inMemory []byte

func (m inMemory) Stream(off int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m[off:])), nil
}

// NaN and infinities are among the notes at the top, if there are any.
func TestStatsNoteNonFinite(t *testing.T) {
	halves := func(codes ...uint16) tensor.Data {
		var p []byte
		for _, c := range codes {
			p = binary.LittleEndian.AppendUint16(p, c)
		}
		return inMemory(p)
	}
	ckpt, err := tensor.NewCheckpoint("broken", "test", []*tensor.Tensor{
		{Name: "sound", DType: tensor.BF16, Shape: []int64{2}, Data: halves(0x3f80, 0)},
		{Name: "broken", DType: tensor.BF16, Shape: []int64{4}, Data: halves(0x7fc0, 0xff80, 0x7f80, 0x3f80)},
		{Name: "l.10.w", DType: tensor.BF16, Shape: []int64{1}, Data: halves(0x7fc0)},
		{Name: "l.2.w", DType: tensor.BF16, Shape: []int64{1}, Data: halves(0x7fc0)},
		{Name: "l.3.w", DType: tensor.BF16, Shape: []int64{2}, Data: halves(0x7fc0, 0)},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := newInspection(ckpt, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.describeValues(context.Background(), ckpt, 0, 0, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.Notes, "\n"); got != "broken: 1 NaN and 2 infinities among 4 values\nlayers 2, 10 of l: w: every value is NaN\nl.3.w: 1 NaN among 2 values\nrange, mean, std and histogram are those of the finite values" {
		t.Errorf("notes: %q", got)
	}
	var out bytes.Buffer
	if err := r.print(&out, inspectionForm{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "note") || !strings.Contains(out.String(), "broken: 1 NaN") {
		t.Errorf("printed:\n%s", out.String())
	}
}

func TestSparkline(t *testing.T) {
	for _, c := range []struct {
		counts []int64
		want   string
	}{
		{nil, ""}, {[]int64{5}, "█"}, {[]int64{1, 0, 0, 0, 1_000_000, 0}, "▁ █"}, {[]int64{1, 1, 2, 2, 4, 4, 0, 0}, "▂▄█"},
	} {
		if got := sparkline(c.counts); got != c.want {
			t.Errorf("%v: %q, want %q", c.counts, got, c.want)
		}
	}
}
