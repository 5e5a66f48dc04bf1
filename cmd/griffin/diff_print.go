package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
)

// printDiff prints a result for people: what the two are, a summary, and a table of all that is not the
// same, folded by layer.
func printDiff(out io.Writer, r *diff.Result) error {
	w := &strings.Builder{}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	printSide(t, "A", &r.A)
	printSide(t, "B", &r.B)
	for _, c := range r.Config {
		fmt.Fprintf(t, "%s\t%s\t\n", "config", configLine(&c))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(t, "note\t%s\t\n", printable(n))
	}
	fmt.Fprintf(t, "result\t%s\t\n", summaryLine(r))
	t.Flush()
	groups := r.Groups()
	if len(groups) == 0 {
		return withoutPadding(out, w.String())
	}
	fmt.Fprintln(w)
	fmt.Fprintln(t, "STATUS\tTENSOR\tWHAT\tDIFFERING\tLARGEST\tREL. L2\tCOSINE\t")
	for i := range groups {
		fmt.Fprintln(t, groupLine(r, &groups[i]))
	}
	t.Flush()
	return withoutPadding(out, w.String())
}

// withoutPadding prints lines without the spaces that fill up a table on its right.
func withoutPadding(out io.Writer, table string) error {
	for line := range strings.Lines(table) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func printSide(w io.Writer, letter string, s *diff.Side) {
	parts := []string{s.Format}
	if s.Layout != "" {
		parts = append(parts, s.Layout+" layout")
	}
	parts = append(parts, plural(int64(s.Tensors), "tensor"), plural(s.Parameters, "parameter"), size(s.Bytes))
	if s.Prefix != "" {
		parts = append(parts, "its tensors are under \""+printable(s.Prefix)+"\"")
	}
	fmt.Fprintf(w, "%s\t%s: %s\t\n", letter, printable(s.Path), strings.Join(parts, ", "))
}

func configLine(c *diff.ConfigDifference) string {
	value := func(s string) string {
		if s == "" {
			return "nothing"
		}
		return printable(s)
	}
	line := fmt.Sprintf("%s: %s in A, %s in B", printable(c.Field), value(c.A), value(c.B))
	if c.Detail != "" {
		line += "; " + c.Detail
	}
	return line
}

// summaryLine says how many tensors became what.
func summaryLine(r *diff.Result) string {
	s := &r.Summary
	if r.Equal {
		return fmt.Sprintf("equal: %s, %s", plural(int64(s.Tensors), "tensor"), plural(s.Elements, "element"))
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{
		{s.OnlyA, "only in A"}, {s.OnlyB, "only in B"}, {s.Shape, "of another shape"}, {s.Differ, "with other values"}, {s.DType, "of another type"},
		{s.Renamed, "renamed"}, {s.Equal - s.Renamed, "equal"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", count(int64(p.n)), p.what))
		}
	}
	line := "different"
	if len(parts) > 0 {
		line += ": of " + plural(int64(s.Tensors), "tensor") + " " + strings.Join(parts, ", ")
	}
	if s.Config > 0 {
		line += "; " + plural(int64(s.Config), "field") + " of the configuration"
	}
	if s.NonFinite > 0 {
		line += fmt.Sprintf("; %s NaN or infinities", plural(int64(s.NonFinite), "tensor")+map[bool]string{true: " holds", false: " hold"}[s.NonFinite == 1])
	}
	return line
}

// groupLine is a line of the table, and one for each name where there are several.
func groupLine(r *diff.Result, g *diff.Group) string {
	x := r.Extent(g)
	where, more := g.Where(), ""
	if len(g.Names) > 1 {
		where = g.Place()
		for _, name := range g.Names {
			more += "\n\t  " + printable(name) + "\t\t\t\t\t\t"
		}
	}
	cells := []string{string(g.Status), printable(where), printable(whatCell(r, g)), "", "", "", ""}
	if x.Differing > 0 {
		cells[3] = share(x.Differing, x.Elements)
		cells[4], cells[5], cells[6] = short(x.MaxAbs), short(x.RelativeL2), cosine(x.Cosine)
	}
	return strings.Join(cells, "\t") + "\t" + more
}

// whatCell says what was done, or shows the first difference where that is not known.
func whatCell(r *diff.Result, g *diff.Group) string {
	first := &r.Tensors[g.Tensors[0]]
	switch {
	case g.What != "":
		return g.What
	case g.Status == diff.OnlyA || g.Status == diff.OnlyB:
		return fmt.Sprintf("%s %s", first.DType, tensor.ShapeString(first.Shape))
	case first.Metrics != nil && len(g.Tensors) == 1:
		m := first.Metrics
		return fmt.Sprintf("first %s: %s, %s", tensor.ShapeString(m.First), short(float64(m.FirstA)), short(float64(m.FirstB)))
	}
	return ""
}

// share prints how many of the elements differ.
func share(n, of int64) string {
	switch percent := 100 * float64(n) / float64(of); {
	case n == of:
		return "all"
	case percent < 0.1:
		return fmt.Sprintf("%s of %s", count(n), count(of))
	default:
		return fmt.Sprintf("%.3g%%", min(percent, 99.9))
	}
}

func short(x float64) string { return fmt.Sprintf("%.3g", x) }

// cosine shows the nines where two tensors point nearly the same way.
func cosine(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.6f", x)
}
