package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// printConversion prints what a conversion did, or with --dry-run what it would do.
func printConversion(w io.Writer, r *convert.Result) error {
	out := &lines{w: w}
	if r.DryRun {
		printPlan(out, r)
	}
	facts := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fact := func(key, format string, args ...any) {
		fmt.Fprintf(facts, "  %s\t%s\n", key, printable(fmt.Sprintf(format, args...)))
	}
	if r.DryRun {
		out.printf("%s would be converted to %s\n", printable(r.Source), printable(r.Destination))
	} else {
		out.printf("%s -> %s\n", printable(r.Source), printable(r.Destination))
	}
	fact("source", "%s, %s layout", r.Format, r.Layout)
	weights := fmt.Sprintf("%s, %s, %s, %s", plural(int64(len(r.Tensors)), "tensor"), plural(r.Parameters, "parameter"), r.DType, size(r.Bytes))
	if r.Shards > 0 {
		weights += " in " + plural(int64(r.Shards), "file")
	}
	fact("weights", "%s", weights)
	fact("written", "%s, %s layout", r.OutputFormat, r.OutputLayout)
	if r.Settings != nil {
		fact("settings", "%s", settingsLine(r))
	}
	if len(r.Left) > 0 {
		var names []string
		for _, name := range r.Left {
			names = append(names, tensor.QuoteName(name))
		}
		fact("left", "%s of the source that %s not belong to the model: %s", plural(int64(len(r.Left)), "tensor"), agree(len(r.Left), "does", "do"), tensor.JoinNames(names))
	}
	if r.Proof != nil {
		fact("proven", "%s", proofLine(r.Proof))
	}
	for _, note := range r.Notes {
		fact("note", "%s", note)
	}
	if !r.DryRun {
		fact("time", "%.1f s, %s/s", r.Seconds, size(int64(float64(r.Bytes)/max(r.Seconds, 1e-3))))
	}
	facts.Flush()
	return out.err
}

// settingsLine returns the settings of the model and where they come from.
func settingsLine(r *convert.Result) string {
	s := r.Settings
	from := "given"
	switch {
	case s.Preset != "":
		from = "preset " + s.Preset
	case r.Layout == model.HuggingFace.String():
		from = "config.json"
	}
	return fmt.Sprintf("attention window %d, logits soft cap %g, embedding scale %t (%s)",
		s.AttentionWindow, float64(s.LogitsSoftCap), s.EmbeddingScale, from)
}

// printPlan prints the tensors and the files that would be written.
func printPlan(w io.Writer, r *convert.Result) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range r.Tensors {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", printable(t.Name), t.DType, tensor.ShapeString(t.Shape),
			t.Rule, printable(strings.Join(t.From, ", ")))
	}
	fmt.Fprintln(table)
	for _, f := range r.Files {
		fmt.Fprintf(table, "%s\t%s\n", f.Name, size(f.Bytes))
	}
	fmt.Fprintln(table)
	table.Flush()
}

// proofLine returns what --verify compared.
func proofLine(p *proof.Proof) string {
	return fmt.Sprintf("%s, %s, %s", plural(int64(p.Tensors), "tensor"), plural(p.Elements, "element"), size(p.Bytes))
}
