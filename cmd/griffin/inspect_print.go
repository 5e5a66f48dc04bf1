package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/table"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// print prints the inspection as text: facts, then the tensors as a table or a tree.
func (r *inspection) print(w io.Writer, tree bool) error {
	out := &lines{w: w}
	out.printf("%s\n", r.Path)
	facts := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fact := func(key, format string, args ...any) {
		fmt.Fprintf(facts, "  %s\t%s\n", key, printable(fmt.Sprintf(format, args...)))
	}
	fact("format", "%s", r.Format)
	for _, d := range r.Details {
		fact(d.Key, "%s", d.Value)
	}
	r.printModel(fact)
	if q := r.Quantized; q != nil {
		fact("quantised", "%s", q.text)
		for _, note := range q.Notes {
			fact("", "%s", note)
		}
	}
	fact("tensors", "%s, %s, %s", plural(int64(len(r.Tensors)), "tensor"), plural(r.Parameters, "parameter"), size(r.Bytes))
	for _, d := range r.DTypes {
		fact("", "%s: %s, %s", d.DType, plural(int64(d.Tensors), "tensor"), size(d.Bytes))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		fact("metadata", "%s = %s", key, r.Metadata[key])
	}
	for _, note := range r.Notes {
		fact("note", "%s", note)
	}
	facts.Flush()
	out.printf("\n")
	if r.hasStats() {
		printStats(out, r.Tensors)
	} else if tree {
		printTree(out, r.Tensors)
	} else {
		printTable(out, r.Tensors)
	}
	return out.err
}

func (r *inspection) printModel(fact func(key, format string, args ...any)) {
	if r.Model == nil {
		fact("model", "not recognised: %s", r.ModelNote)
		return
	}
	for i, line := range r.Model.lines() {
		key := ""
		if i == 0 {
			key = "model"
		}
		fact(key, "%s", line)
	}
}

func printTable(w io.Writer, tensors []tensorEntry) {
	_ = table.Write(w, len(tensors), func(i int) []string { return cellsOf(&tensors[i], printable(tensors[i].Name)) })
}

// cellsOf returns the row of a tensor under a name.
func cellsOf(t *tensorEntry, name string) []string {
	cells := []string{name, t.DType, tensor.ShapeString(t.Shape), size(t.Bytes)}
	if t.SHA256 != "" {
		cells = append(cells, t.SHA256)
	}
	return cells
}

// maxIndent is the depth from which on a tree is not indented further, so that its size is that of the names.
const maxIndent = 40

// printTree prints the tensors in the order of the checkpoint, with the common parts of their names as
// headings.
func printTree(to io.Writer, tensors []tensorEntry) {
	w := bufio.NewWriterSize(to, 64<<10)
	defer w.Flush()
	var open []string
	first := 0 // of the tensors below the last heading
	flush := func(end int) {
		_ = table.Write(w, end-first, func(i int) []string {
			t := &tensors[first+i]
			return cellsOf(t, indent(len(open))+printable(t.Name[strings.LastIndexByte(t.Name, '.')+1:]))
		})
		first = end
	}
	for i, t := range tensors {
		path := strings.Split(t.Name, ".")
		shared := 0
		for shared < len(path)-1 && shared < len(open) && path[shared] == open[shared] {
			shared++
		}
		if shared < len(path)-1 || shared < len(open) {
			flush(i)
		}
		for depth := shared; depth < len(path)-1; depth++ {
			fmt.Fprintf(w, "%s%s\n", indent(depth), printable(path[depth]))
		}
		open = path[:len(path)-1]
	}
	flush(len(tensors))
}

func indent(depth int) string { return strings.Repeat("  ", min(depth, maxIndent)) }

// printJSON prints the inspection as JSON, one tensor after another: there may be so many that the whole text does not
// fit into the memory that a command may take.
func (r *inspection) printJSON(w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	var text bytes.Buffer
	head := *r
	head.Tensors = []tensorEntry{}
	if err := printJSON(&text, &head); err != nil {
		return err
	}
	const end = "[]\n}\n"
	before, ok := strings.CutSuffix(text.String(), end)
	if !ok || len(r.Tensors) == 0 {
		_, err := w.Write(text.Bytes())
		return err
	}
	out.WriteString(before + "[")
	for i := range r.Tensors {
		text.Reset()
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		e.SetIndent("    ", "  ")
		if err := e.Encode(&r.Tensors[i]); err != nil {
			return err
		}
		out.WriteString(separators[min(i, 1)])
		out.Write(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
	}
	out.WriteString("\n  ]\n}\n")
	return out.Flush()
}

// separators are what is before the first item of a list, and before each other.
var separators = [2]string{"\n    ", ",\n    "}

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
