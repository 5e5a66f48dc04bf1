package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// TestPagesOfManyTensors: a page does not grow with the tensors without end, says what it leaves out, and has no links to what it
// leaves out.
func TestPagesOfManyTensors(t *testing.T) {
	const n = 6_000
	r := &diff.Result{}
	v := &report.Values{Path: "a"}
	for i := range n {
		name := []string{fmt.Sprintf("layers.%d.w%d", i%200, i/200), fmt.Sprintf("list%d.%d.w", i, i), fmt.Sprint("w", i)}[i%3]
		r.Tensors = append(r.Tensors, moved(name, 0.1, explain.Other))
		v.Tensors = append(v.Tensors, report.TensorValues{Name: name, DType: tensor.F32, Shape: []int64{1}, Stats: &stats.Stats{Values: 1, Std: 1, AbsMax: 1}})
	}
	r.Summary.Tensors, r.Summary.Differ = n, n
	for _, page := range []string{
		diffReport(t, r),
		fileOf(t, "page.html", func(path string) error { return report.WriteStats(path, v, report.Origin{}) }),
	} {
		bare := checkPage(t, page)
		if len(page) > 12<<20 {
			t.Errorf("the page has %d bytes", len(page))
		}
		if !strings.Contains(bare, "The first 5,000 of 6,000 tensors; the JSON form of the result has all.") {
			t.Error("the page does not say what it leaves out")
		}
	}
}
