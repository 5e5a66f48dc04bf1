package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Values of the field "schema" of JSON documents. Folder schema has the JSON Schema of each; the number changes when a field changes its
// meaning.
const (
	schemaCleaning   = "griffin cleaning 1"
	schemaConversion = "griffin conversion 1"
	schemaDifference = "griffin difference 1"
	schemaError      = "griffin error 1"
	schemaGeneration = "griffin generation 1"
	schemaInspection = "griffin inspection 1"
	schemaPerplexity = "griffin perplexity 1"
	schemaRecording  = "griffin recording 1"
	schemaRuntimes   = "griffin runtimes 1"
	schemaStep       = "griffin step 1"
	schemaVerdict    = "griffin verdict 1"
)

// document is a result as JSON, with the name of its schema as the first field.
type document struct {
	schema string
	value  any // a struct with fields
}

// MarshalJSON implements json.Marshaler.
func (d document) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(strictjson.WithLists(d.value)); err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, "{%q:%q,", "schema", d.schema), bytes.TrimPrefix(b.Bytes(), []byte("{"))...), nil
}

// printJSON prints a result as indented JSON, without HTML escapes. Arrays of numbers take one line. Long lists are written item by
// item: the text of all may not fit into the memory that a command may take.
func printJSON(w io.Writer, schema string, v any) error { return strictjson.WriteTo(w, schema, v) }

// explanations are what verify --explain-runtime prints.
type explanations struct {
	Runtimes     []runtime.Explanation `json:"runtimes"`
	OfConversion bool                  `json:"of_conversion,omitempty"` // the checkpoint is an original, and Runtimes are of the directory that convert makes of it
}

// cleaning is what clean prints.
type cleaning struct {
	Removed []string `json:"removed"` // paths
}

// failure is an error as JSON, on one line of standard error.
type failure struct {
	Error      string `json:"error"`
	Hint       string `json:"hint,omitempty"` // what to do about it
	ExitStatus int    `json:"exit_status"`
	Stack      string `json:"stack,omitempty"` // of a fault of griffin

	mismatch *model.MismatchError // in the error, or nil
}

// failureOf describes an error.
func failureOf(err error) failure {
	f := failure{Error: message(err), Hint: hintOf(err), ExitStatus: exitCode(err)}
	errors.As(err, &f.mismatch)
	if f.ExitStatus == exitInterrupted {
		f.Error, f.Hint = "interrupted", ""
	}
	var fault *task.PanicError
	if errors.As(err, &fault) {
		f.Stack = string(fault.Stack)
	}
	return f
}

// mostLines is the number of lines of an error that are printed as text.
const mostLines = 20

// foldedMismatch returns the error with those tensors of several layers that have the same problem as one line.
func foldedMismatch(e *model.MismatchError) string {
	first, _, _ := strings.Cut(e.Error(), "\n")
	return strings.Join(append([]string{first}, foldedProblems(e)...), "\n  ")
}

// foldedProblems returns what is wrong with the tensors of a model, a line each, those of several layers with the same problem as one.
func foldedProblems(e *model.MismatchError) (lines []string) {
	items := &diff.Items{}
	var names, details []string
	var kinds []diff.Status
	listed := map[string]bool{}
	for _, l := range e.Lists() {
		for _, p := range l.List {
			names, details, kinds = append(names, p.Tensor), append(details, p.Detail), append(kinds, diff.Status(l.What))
			listed[p.Tensor] = true
		}
	}
	for _, t := range e.Model.Checkpoint.Tensors() { // the other tensors of the layers
		if !listed[t.Name] {
			names = append(names, t.Name)
		}
	}
	for _, kind := range e.Model.Config.BlockTypes {
		items.BlockTypes = append(items.BlockTypes, string(kind))
	}
	items.Len, items.Name = len(names), func(i int) string { return names[i] }
	items.What = func(i int) (diff.Status, string, bool) {
		if i >= len(kinds) {
			return "", "", false
		}
		return kinds[i], details[i], true
	}
	for _, g := range items.Groups() {
		where := items.Where(&g)
		for i := range where {
			where[i] = text.Printable(tensor.Clip(where[i]))
		}
		line := fmt.Sprintf("%-10s  %s", g.Status, strings.Join(where, "\n"+strings.Repeat(" ", 14)))
		if g.Change != "" {
			line += ": " + g.Change
		}
		lines = append(lines, line)
	}
	return lines
}

// show prints the failure as text or as JSON.
func (f failure) show(w io.Writer, asJSON bool) {
	if asJSON {
		f.printJSON(w)
		return
	}
	f.print(w)
}

// print writes the failure as text: the error, its stack and the hint. An error that lists very many things is cut.
func (f failure) print(w io.Writer) {
	message := f.Error
	if f.mismatch != nil {
		message = strings.Replace(message, f.mismatch.Error(), foldedMismatch(f.mismatch), 1)
	}
	lines := strings.Split(message, "\n")
	fmt.Fprintf(w, "griffin: %s\n", strings.Join(lines[:min(len(lines), mostLines)], "\n"))
	if more := len(lines) - mostLines; more > 0 {
		fmt.Fprintf(w, "  … %s more (--json)\n", text.Grouped(int64(more)))
	}
	if f.Stack != "" {
		fmt.Fprintf(w, "%s\n", f.Stack)
	}
	if f.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", f.Hint)
	}
}

// printJSON writes the failure as one line of JSON.
func (f failure) printJSON(w io.Writer) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(document{schemaError, f})
}

// wantsJSON reports whether a command line asks for JSON, whatever else is wrong with it.
func wantsJSON(args []string) bool {
	json := false
	for _, arg := range args {
		if arg == "--" {
			break
		}
		switch name, value, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "="); {
		case name == "-json" || name == "json" && strings.HasPrefix(arg, "-"):
			json = value != "false"
		}
	}
	return json
}
