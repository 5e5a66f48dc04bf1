package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/report"
)

// manyGroups are more than a reader takes in at once, so that a sentence precedes them.
const manyGroups = 8

// printDiff prints a result as text: the two checkpoints, a summary, and the tensors that differ, in
// groups, the most important first.
func printDiff(w io.Writer, r *diff.Result) error {
	var b strings.Builder
	printSide(&b, "A", &r.A)
	printSide(&b, "B", &r.B)
	for i := range r.Config {
		diffLine(&b, "config", configLine(&r.Config[i]))
	}
	for _, n := range r.Notes {
		diffLine(&b, "note", text.Printable(n))
	}
	diffLine(&b, "result", summaryLine(r))
	groups := r.Groups()
	if words := report.WhatWasDone(r); len(groups) > manyGroups && words != "" {
		diffLine(&b, "summary", text.Printable(words))
	}
	err := printOutcomes(w, func(w io.Writer) error {
		_, err := io.WriteString(w, b.String())
		return err
	})
	if err != nil || len(groups) == 0 {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10) // there may be very many
	out.WriteString("\n")
	for i := range groups {
		b.Reset()
		where := r.Where(&groups[i])
		for k := range where {
			where[k] = text.Printable(where[k])
		}
		status := string(groups[i].Status)
		if r.Tensors[groups[i].Tensors[0]].Renamed {
			status = "renamed"
		}
		diffLine(&b, status, strings.Join(where, "\n"+strings.Repeat(" ", 13)))
		if line := details(r, &groups[i]); line != "" {
			diffLine(&b, "", "  "+line)
		}
		if _, err := out.WriteString(b.String()); err != nil {
			return err
		}
	}
	return out.Flush()
}

func diffLine(b *strings.Builder, key, text string) {
	b.WriteString(strings.TrimRight(fmt.Sprintf("%-7s  %s", key, text), " ") + "\n")
}

// details describes what was done to the tensors of a group, and how far they are apart.
func details(r *diff.Result, g *diff.Group) string {
	x := r.Extent(g)
	first := &r.Tensors[g.Tensors[0]]
	var parts []string
	if g.Change != "" {
		change := text.Printable(g.Change)
		if words := x.ChangedWords(); words != "" {
			change += ", " + words
		}
		parts = append(parts, change)
	}
	if g.Status == diff.OnlyA || g.Status == diff.OnlyB {
		parts = append(parts, text.Count(int64(len(g.Tensors)), "tensor")+", "+text.Count(x.Elements, "element"))
	}
	if x.Differing > 0 && g.Status != diff.Equal {
		distances := "distances that are not finite"
		if x.MaxAbs-x.MaxAbs == 0 { // finite
			distances = fmt.Sprintf("largest %s, relative L2 %s%s, cosine %s", short(x.MaxAbs), upTo(g), short(x.RelativeL2), cosine(x.Cosine))
		}
		parts = append(parts, share(x.Differing, x.Elements)+", "+distances)
		if r.Summary.Beyond != nil {
			parts = append(parts, text.Grouped(x.Beyond)+" beyond "+r.Tolerance)
		}
	}
	if words := x.LeastError(len(g.Tensors)); words != "" {
		parts = append(parts, words)
	}
	if m := first.Metrics; m != nil && m.Differing > 0 && len(g.Tensors) == 1 {
		parts = append(parts, fmt.Sprintf("first at %s: %s, %s", tensor.ShapeString(m.First), firstOf(m, 0), firstOf(m, 1)))
	}
	for _, special := range []struct {
		name string
		n    [2]int64
	}{{"NaN", x.NaN}, {"infinite", x.Inf}} {
		if special.n != [2]int64{} {
			parts = append(parts, fmt.Sprintf("%s: %s in A, %s in B", special.name, text.Grouped(special.n[0]), text.Grouped(special.n[1])))
		}
	}
	return strings.Join(parts, "; ")
}

// upTo precedes the largest figure of several tensors.
func upTo(g *diff.Group) string {
	if len(g.Tensors) > 1 {
		return "up to "
	}
	return ""
}

func printSide(b *strings.Builder, letter string, s *diff.Side) {
	parts := []string{ofStep(text.Printable(s.Step), s.InLayout()), s.CountTensors(), text.Count(s.Parameters, "element"), size(s.Bytes)}
	if s.Quantized != "" {
		parts = append(parts, "quantised: "+text.Printable(s.Quantized))
	}
	if s.Prefix != "" { // last, since it ends in a dot
		parts = append(parts, "prefix "+text.Printable(s.Prefix))
	}
	diffLine(b, letter, text.Printable(s.Path)+": "+strings.Join(parts, ", "))
}

func configLine(c *diff.ConfigDifference) string {
	value := func(value, side string, isDefault bool) string {
		switch {
		case value == "":
			return "missing in " + side
		case isDefault:
			return fmt.Sprintf("no such field in %s, which stands for %s", side, text.Printable(value))
		}
		return text.Printable(value) + " in " + side
	}
	line := fmt.Sprintf("%s: %s, %s", text.Printable(c.Field), value(c.A, "A", c.DefaultA), value(c.B, "B", c.DefaultB))
	if c.Detail != "" {
		line += "; " + c.Detail
	}
	return line
}

// summaryLine returns the numbers of tensors by their status.
func summaryLine(r *diff.Result) string {
	s := &r.Summary
	if r.Equal {
		return fmt.Sprintf("%s: %s, %s%s", r.Answer(), text.Count(int64(s.Tensors), "tensor"), text.Count(s.Elements, "element"), notFinite(s))
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{
		{s.OnlyA, "only in A"}, {s.OnlyB, "only in B"}, {s.Shape, "of another shape"}, {s.Differ, "with other values"}, {s.Changed, "of another dtype and with other values"},
		{s.DType - s.Changed, "of another dtype"},
		{s.Renamed, "renamed"}, {s.Equal - s.Renamed, strings.TrimSpace("equal " + r.Allowed())},
	} {
		switch {
		case p.n == 0:
		case len(parts) == 0:
			parts = append(parts, text.Count(int64(p.n), "tensor")+" "+p.what)
		default:
			parts = append(parts, text.Grouped(int64(p.n))+" "+p.what)
		}
	}
	line := "different"
	if selection := r.Selection(); selection != "" {
		line += " in " + selection
	}
	line += ": " + strings.Join(parts, ", ")
	if words := r.NotAllowed(); words != "" {
		line += "; " + words
	}
	fields := 0
	for _, c := range r.Config {
		if only := c.OnlyFile(); only != "" {
			line += "; " + only
		} else {
			fields++
		}
	}
	if fields > 0 {
		line += "; " + text.Count(int64(fields), "config field") + agree(fields, " differs", " differ")
	}
	if words := r.QuantizedCopy(); words != "" {
		line += "; " + words
	}
	return line + notFinite(s)
}

// notFinite counts the tensors that are not the same, bit for bit, and have NaN or infinities.
func notFinite(s *diff.Summary) string {
	if s.NonFinite == 0 {
		return ""
	}
	return "; " + text.Count(int64(s.NonFinite), "tensor") + agree(s.NonFinite, " has", " have") + " NaN or infinities"
}

// share returns how many of the elements differ.
func share(n, of int64) string {
	const few = 10
	switch percent := 100 * float64(n) / float64(of); {
	case n == of:
		return "all " + text.Count(of, "element")
	case n < few || percent < 0.1:
		return fmt.Sprintf("%s of %s", text.Grouped(n), text.Count(of, "element"))
	default:
		return fmt.Sprintf("%.3g%% of %s", min(percent, 99.9), text.Count(of, "element"))
	}
}

func short(x float64) string { return fmt.Sprintf("%.3g", x) }

// exact returns a value with enough digits to distinguish it from its neighbours in float32.
func exact(x diff.Number) string { return strconv.FormatFloat(float64(x), 'g', 9, 64) }

// firstOf returns the first differing value of A (side 0) or B (side 1).
func firstOf(m *diff.Metrics, side int) string {
	if len(m.FirstIntegers) > 0 {
		return m.FirstIntegers[side]
	}
	return exact([]diff.Number{m.FirstA, m.FirstB}[side])
}

// cosine returns a cosine with enough digits to show how close to 1 it is.
func cosine(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.7g", x)
}
