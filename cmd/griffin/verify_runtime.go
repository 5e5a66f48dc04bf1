package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// explainRuntime prints what each runtime computes with a model. It reads no weights but those of an
// output head.
func explainRuntime(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("--explain-runtime takes one checkpoint, got %s", plural(int64(c.NArg()), "path"))
	}
	m, err := openModel(c, c.Args().First())
	if err != nil {
		return err
	}
	defer m.Checkpoint.Close()
	facts := m.Facts()
	if c.IsSet("runtime") {
		facts = slices.DeleteFunc(facts, func(f runtime.Fact) bool { return f.Runtime != c.String("runtime") })
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, facts)
	}
	if w := m.Window(); w != nil {
		fmt.Fprintf(c.App.Writer, "%s\n\n", w.Summary)
	}
	if err := printFacts(c.App.Writer, facts); err != nil {
		return err
	}
	if w := m.Original.AttentionWindow; m.Config.Has(model.Attention) && m.Config.AttentionWindow == w {
		fmt.Fprintf(c.App.Writer, "\ngriffin convert --match-runtime transformers5 writes attention_window_size %d, with which transformers 5 attends to the same tokens as the original\n", w+1)
	}
	return nil
}

// printFacts prints a table of facts.
func printFacts(to io.Writer, facts []runtime.Fact) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUNTIME\tPROMPT\tCACHE\tAS THE ORIGINAL\tWHAT IT DOES")
	for _, f := range facts {
		same := "no"
		if f.AsOrig {
			same = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.Runtime, f.Prompt, f.Cache, same, f.Does)
	}
	return w.Flush()
}
