package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/griffin-ckpt/griffin/formats/tensor"
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
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range tensors {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s", printable(t.Name), t.DType, tensor.ShapeString(t.Shape), size(t.Bytes))
		if sum := t.Hex(); sum != "" {
			fmt.Fprintf(table, "\t%s", sum)
		}
		fmt.Fprintln(table)
	}
	table.Flush()
}

// printTree prints the tensors in the order of the checkpoint, with the common parts of their names as
// headings.
func printTree(w io.Writer, tensors []tensorEntry) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var open []string
	for _, t := range tensors {
		path := strings.Split(t.Name, ".")
		shared := 0
		for shared < len(path)-1 && shared < len(open) && path[shared] == open[shared] {
			shared++
		}
		for depth := shared; depth < len(path)-1; depth++ {
			fmt.Fprintf(table, "%s%s\n", strings.Repeat("  ", depth), printable(path[depth]))
		}
		open = path[:len(path)-1]
		fmt.Fprintf(table, "%s%s\t%s\t%s\t%s", strings.Repeat("  ", len(open)), printable(path[len(open)]),
			t.DType, tensor.ShapeString(t.Shape), size(t.Bytes))
		if sum := t.Hex(); sum != "" {
			fmt.Fprintf(table, "\t%s", sum)
		}
		fmt.Fprintln(table)
	}
	table.Flush()
}
