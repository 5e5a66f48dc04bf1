package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/table"
	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// inspectionForm says how the tensors of an inspection are printed as text.
type inspectionForm struct {
	tree bool // else a table
	all  bool // a row for each tensor, not for equal tensors of several layers
}

// inspectionFormOf returns the form that the flags ask for.
func inspectionFormOf(c *cli.Context) inspectionForm {
	return inspectionForm{tree: c.Bool("tree"), all: c.Bool("all")}
}

// print prints the inspection as text: facts, then the tensors in natural order.
func (r *inspection) print(w io.Writer, form inspectionForm) error {
	out := &lines{w: w}
	out.printf("%s\n", r.Path)
	facts := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	r.facts(func(key, value string) { fmt.Fprintf(facts, "  %s\t%s\n", key, text.Printable(value)) })
	facts.Flush()
	out.printf("\n")
	rows := folded(r.Tensors, form.all, r.kinds())
	if r.hasStats() {
		printStats(out, rows)
	} else if form.tree {
		printTree(out, rows)
	} else {
		printTable(out, rows)
	}
	return out.err
}

// facts calls fact for each line about the checkpoint and the model in it. An empty key continues the fact before it.
func (r *inspection) facts(fact func(key, value string)) {
	fact("format", r.Format)
	for _, d := range r.Details {
		fact(d.Key, d.Value)
	}
	if r.Model == nil {
		fact("model", "not recognised: "+cmp.Or(r.modelHint, r.ModelNote))
	} else {
		for i, line := range r.Model.lines() {
			fact(map[bool]string{true: "model"}[i == 0], line)
		}
	}
	if q := r.Quantized; q != nil {
		fact("quantised", q.text)
		for _, note := range q.Notes {
			fact("", note)
		}
	}
	var elements int64 // as they are stored
	for _, d := range r.DTypes {
		elements += d.Parameters
	}
	fact("tensors", fmt.Sprintf("%s, %s, %s", text.Count(int64(len(r.Tensors)), "tensor"), text.Count(elements, "element"), size(r.Bytes)))
	for _, d := range r.DTypes {
		fact("", fmt.Sprintf("%s: %s, %s", d.DType, text.Count(int64(d.Tensors), "tensor"), size(d.Bytes)))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		fact("metadata", fmt.Sprintf("%s = %s", key, r.Metadata[key]))
	}
	for _, note := range r.Notes {
		fact("note", note)
	}
}

func printTable(w io.Writer, tensors []tensorEntry) {
	_ = table.Write(w, len(tensors), func(i int) []string { return cellsOf(&tensors[i], text.Printable(tensors[i].Name)) })
}

// cellsOf returns the row of a tensor under a name.
func cellsOf(t *tensorEntry, name string) []string {
	cells := []string{name, t.DType, tensor.ShapeString(t.Shape), size(t.Bytes)}
	if t.layers > 1 {
		cells = append(cells, fmt.Sprintf("x %d", t.layers))
	}
	if sum := t.sum(); sum != "" {
		cells = append(cells, sum)
	}
	return cells
}

// sum returns the digest of the tensor that is printed, "" if none was asked for.
func (t *tensorEntry) sum() string { return cmp.Or(t.SHA256, t.BLAKE3) }

// mostRows is more than the number of tensors of a model. More are printed as they come, in little memory.
const mostRows = 20_000

// folded returns the rows of a table of tensors, in natural order of their names. Unless all is set, tensors of several layers that have the
// same dtype and shape, and neither digest nor statistics, are one row: model.layers.{0-1,3}.mlp.bias, or model.layers.{recurrent}.mlp.bias
// of all layers of a kind. Of more tensors than a model has, which would take much memory, it returns the tensors.
func folded(tensors []tensorEntry, all bool, kinds []string) []tensorEntry {
	if len(tensors) > mostRows {
		return tensors
	}
	byName := func(a, b tensorEntry) int { return tensor.CompareNames(a.Name, b.Name) }
	sorted := slices.SortedStableFunc(slices.Values(tensors), byName)
	if all {
		return sorted
	}
	type group struct{ list, rest, dtype, shape, origin string }
	layers := map[group][]int{}
	rows := map[group]int{} // indices in out
	var out []tensorEntry
	for _, t := range sorted {
		list, layer, rest := diff.SplitLayer(t.Name)
		if layer < 0 || t.SHA256 != "" || t.BLAKE3 != "" || t.Stats != nil {
			out = append(out, t)
			continue
		}
		g := group{list, rest, t.DType, tensor.ShapeString(t.Shape), t.origin}
		if layers[g] == nil {
			rows[g] = len(out)
			out = append(out, t)
		}
		layers[g] = append(layers[g], layer)
	}
	for g, i := range rows {
		if n := len(layers[g]); n > 1 {
			set := "{" + layerSet(layers[g], kinds) + "}"
			out[i].Name, out[i].layers = g.list+"."+set+"."+g.rest, n
			out[i].order = g.list + "." + strconv.Itoa(layers[g][0]) + set + "." + g.rest // after those of one layer
		}
	}
	slices.SortStableFunc(out, func(a, b tensorEntry) int {
		return tensor.CompareNames(cmp.Or(a.order, a.Name), cmp.Or(b.order, b.Name))
	})
	return out
}

// layerSet names layers, ascending: "recurrent" if they are all of one kind and not in one range, or else ranges, of which the first few are
// shown: 0-1,3-4,6-7,….
func layerSet(layers []int, kinds []string) string {
	const most = 4
	parts := diff.Ranges(layers)
	if last := layers[len(layers)-1]; len(parts) > 1 && last < len(kinds) {
		n := 0
		for i, kind := range kinds {
			if kind != kinds[last] {
				continue
			}
			if !slices.Contains(layers, i) {
				n = -1
				break
			}
			n++
		}
		if n == len(layers) {
			return kinds[last]
		}
	}
	if len(parts) > most {
		parts = append(parts[:most-1], "…")
	}
	return strings.Join(parts, ",")
}

// maxIndent is the depth from which on a tree is not indented further, so that its size is that of the names.
const maxIndent = 40

// printTree prints the tensors in their order, with the common parts of their names as
// headings.
func printTree(to io.Writer, tensors []tensorEntry) {
	w := bufio.NewWriterSize(to, 64<<10)
	defer w.Flush()
	totals := totalsOf(tensors)
	var open []string
	first := 0 // of the tensors below the last heading
	flush := func(end int) {
		_ = table.Write(w, end-first, func(i int) []string {
			t := &tensors[first+i]
			return cellsOf(t, indent(len(open))+text.Printable(t.Name[strings.LastIndexByte(t.Name, '.')+1:]))
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
			fmt.Fprintf(w, "%s%s%s\n", indent(depth), text.Printable(path[depth]), totals.below(path[:depth+1]))
		}
		open = path[:len(path)-1]
	}
	flush(len(tensors))
}

// subtrees has the totals of the tensors below each heading of a tree.
type subtrees map[string]*struct{ tensors, bytes int64 }

// totalsOf adds up rows of tensors. It returns nil for more than mostRows.
func totalsOf(tensors []tensorEntry) subtrees {
	if len(tensors) > mostRows {
		return nil
	}
	totals := subtrees{}
	for _, t := range tensors {
		n := int64(max(t.layers, 1))
		for i, depth := 0, 0; i < len(t.Name) && depth < maxIndent; i++ {
			if t.Name[i] != '.' {
				continue
			}
			depth++
			if totals[t.Name[:i]] == nil {
				totals[t.Name[:i]] = new(struct{ tensors, bytes int64 })
			}
			totals[t.Name[:i]].tensors += n
			totals[t.Name[:i]].bytes += n * t.Bytes
		}
	}
	return totals
}

// below describes what is below a heading, if it is known.
func (s subtrees) below(path []string) string {
	total := s[strings.Join(path, ".")]
	if total == nil {
		return ""
	}
	return fmt.Sprintf("  (%s, %s)", text.Count(total.tensors, "tensor"), size(total.bytes))
}

func indent(depth int) string { return strings.Repeat("  ", min(depth, maxIndent)) }

// describeValues reads every tensor and fills in its statistics, the digests that are shown, and those that only the page uses.
// NaN and infinities are noted at the top too, where they are seen at once.
func (r *inspection) describeValues(ctx context.Context, ckpt *tensor.Checkpoint, shown, used digest.Algorithms, stderr io.Writer) error {
	err := r.readAll(ctx, ckpt, stderr, func(ctx context.Context, t *tensor.Tensor, entry *tensorEntry) error {
		if shown|used == 0 {
			s, err := stats.Of(ctx, t)
			if err == nil {
				entry.Stats = &packedStats{t.DType, s.Pack()}
			}
			return err
		}
		hash := digest.New(shown | used)
		s, err := stats.OfAlso(ctx, t, hash)
		if err != nil {
			return err
		}
		entry.Stats = &packedStats{t.DType, s.Pack()}
		sum := hash.Sum(t.Bytes())
		entry.Sum, entry.read = sum.Only(shown), sum.Only(used)
		return nil
	})
	if err != nil {
		return err
	}
	r.noteBroken()
	return nil
}

// kinds returns the kind of each layer, nil if no model was recognised.
func (r *inspection) kinds() []string {
	if r.Model == nil {
		return nil
	}
	return r.Model.BlockTypes
}

// noteBroken notes which tensors hold NaN or infinities. Those of several layers that hold the same are one note.
func (r *inspection) noteBroken() {
	const most = 20 // notes
	found := report.FindNotFinite(len(r.Tensors), func(i int) string { return r.Tensors[i].Name }, func(i int) *stats.Stats { return r.Tensors[i].Stats.get() }, r.kinds())
	for _, f := range found[:min(most, len(found))] {
		r.Notes = append(r.Notes, f.Text)
	}
	if len(found) > most {
		r.Notes = append(r.Notes, fmt.Sprintf("NaN or infinities of %s more: --json has them", text.Count(int64(len(found)-most), "kind")))
	}
	if len(found) > 0 {
		r.Notes = append(r.Notes, "range, mean, std and histogram are those of the finite values")
	}
}

// writeReport writes the statistics as an HTML page. The inspection has no tensors afterwards.
func (r *inspection) writeReport(c *cli.Context, path string, ckpt *tensor.Checkpoint) error {
	s := &report.Values{Path: r.Path, Griffin: convert.ToolVersion(), BlockTypes: r.kinds()}
	r.facts(func(key, value string) { s.Facts = append(s.Facts, report.Fact{Name: key, Value: value}) })
	known := map[string]digest.Sum{}
	for i := range r.Tensors {
		if t := &r.Tensors[i]; t.read != (digest.Sum{}) {
			known[t.Name] = t.read
		}
	}
	sum, err := weightsDigest(c, ckpt, c.String("model"), known)
	if err != nil {
		return err
	}
	s.Facts = append(s.Facts, report.Fact{Name: "weights", Value: sum, Code: true})
	s.Tensors = make([]report.TensorValues, 0, len(r.Tensors))
	for i, t := range ckpt.Tensors() {
		values := r.Tensors[i].Stats.get()
		if i >= report.MaxRows {
			values.Histogram = stats.Histogram{}
		}
		s.Tensors = append(s.Tensors, report.TensorValues{Name: t.Name, DType: t.DType, Shape: t.Shape, Stats: values})
	}
	r.Tensors = nil
	return report.WriteStats(path, s, origin())
}

func (r *inspection) hasStats() bool { return len(r.Tensors) > 0 && r.Tensors[0].Stats != nil }

// printStats prints one line for each tensor: its statistics, and a histogram of its values from the
// least to the largest.
func printStats(w io.Writer, tensors []tensorEntry) {
	title := []string{"tensor", "min", "max", "mean", "std", "|max|", "zeros", "NaN", "Inf", "dtype", "shape", "histogram"}
	digested := tensors[0].sum() != ""
	if digested {
		title = append(title, "digest")
	}
	_ = table.Write(w, 1+len(tensors), func(i int) []string {
		if i == 0 {
			return title
		}
		t := &tensors[i-1]
		s := t.Stats.get()
		row := []string{text.Printable(t.Name), figure(s.Min), figure(s.Max), figure(s.Mean), figure(s.Std),
			figure(s.AbsMax), text.Grouped(s.Zeros), text.Grouped(s.NaN), text.Grouped(s.Inf), t.DType, tensor.ShapeString(t.Shape), sparkline(s.Histogram.Counts)}
		if digested {
			row = append(row, t.sum())
		}
		return row
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
