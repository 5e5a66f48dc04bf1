package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/table"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// describeValues reads every tensor and fills in its statistics. NaN and infinities are noted at the
// top too, where they are seen at once.
func (r *inspection) describeValues(ctx context.Context, ckpt *tensor.Checkpoint, stderr io.Writer) error {
	err := r.readAll(ctx, ckpt, stderr, func(ctx context.Context, t *tensor.Tensor, entry *tensorEntry) (err error) {
		entry.Stats, err = stats.Of(ctx, t)
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range r.Tensors {
		if s := t.Stats; !s.Finite() {
			r.Notes = append(r.Notes, fmt.Sprintf("%s holds %s NaN and %s Inf among %s values", t.Name, count(s.NaN), count(s.Inf), count(s.Values)))
		}
	}
	return nil
}

// writeReport writes the HTML page that --report names, if it is set.
func (r *inspection) writeReport(c *cli.Context, ckpt *tensor.Checkpoint) error {
	path := c.String("report")
	if path == "" {
		return nil
	}
	s := &report.Values{Path: r.Path, Format: r.Format}
	for i, t := range ckpt.Tensors() {
		s.Tensors = append(s.Tensors, report.TensorValues{Name: t.Name, DType: t.DType, Shape: t.Shape, Stats: r.Tensors[i].Stats})
	}
	return report.WriteStats(path, s, commandLine())
}

func (r *inspection) hasStats() bool { return len(r.Tensors) > 0 && r.Tensors[0].Stats != nil }

// printStats prints one line for each tensor: its statistics, and a histogram of its values from the
// least to the largest.
func printStats(w io.Writer, tensors []tensorEntry) {
	_ = table.Write(w, 1+len(tensors), func(i int) []string {
		if i == 0 {
			return []string{"tensor", "min", "max", "mean", "std", "|max|", "zeros", "NaN", "Inf", "dtype", "shape", "histogram"}
		}
		t := tensors[i-1]
		s := t.Stats
		return []string{printable(t.Name), figure(s.Min), figure(s.Max), figure(s.Mean), figure(s.Std),
			figure(s.AbsMax), count(s.Zeros), count(s.NaN), count(s.Inf), t.DType, tensor.ShapeString(t.Shape), sparkline(s.Histogram.Counts)}
	})
}

// figure returns a value to four digits, "-" for none.
func figure(x stats.Number) string {
	if math.IsNaN(float64(x)) {
		return "-"
	}
	return fmt.Sprintf("%.4g", float64(x))
}

// sparkline draws counts as bars of eight heights, one for each pair of bins. Only empty pairs are
// blank.
func sparkline(counts []int64) string {
	const bars = "▁▂▃▄▅▆▇█"
	var pairs []int64
	for i := 0; i < len(counts); i += 2 {
		n := counts[i]
		if i+1 < len(counts) {
			n += counts[i+1]
		}
		pairs = append(pairs, n)
	}
	most := int64(0)
	for _, n := range pairs {
		most = max(most, n)
	}
	var b strings.Builder
	for _, n := range pairs {
		if n == 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune([]rune(bars)[int(float64(n)/float64(most)*7.999)])
	}
	return strings.TrimRight(b.String(), " ")
}
