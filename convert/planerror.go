package convert

import (
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// PlanError is the complete list of what is wrong with the tensors of a model. It is broken
// input: errors.As finds a *tensor.FormatError in it.
type PlanError struct {
	Source     string // path of the checkpoint
	Conflict   string // what the shapes contradict each other in, or ""
	Missing    []Problem
	Unexpected []Problem
	Misshapen  []Problem
	Mistyped   []Problem

	canKeep bool // some of the unexpected can be kept
}

// Problem is one tensor and what is wrong with it.
type Problem struct {
	Tensor string // its full name in the source
	Detail string // "" where there is nothing to add
}

func (e *PlanError) lists() []struct {
	what     string
	problems []Problem
} {
	return []struct {
		what     string
		problems []Problem
	}{{"missing", e.Missing}, {"unexpected", e.Unexpected}, {"misshapen", e.Misshapen}, {"mistyped", e.Mistyped}}
}

func (e *PlanError) empty() bool {
	return e.Conflict == "" && len(e.Missing)+len(e.Unexpected)+len(e.Misshapen)+len(e.Mistyped) == 0
}

// Summary says how many problems of each kind there are, in one line.
func (e *PlanError) Summary() string {
	var parts []string
	if e.Conflict != "" {
		parts = append(parts, e.Conflict)
	}
	for _, l := range e.lists() {
		if n := len(l.problems); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, l.what))
		}
	}
	return "not a whole Griffin model: " + strings.Join(parts, ", ")
}

// Error returns the summary and below it all problems, a line each.
func (e *PlanError) Error() string {
	var b strings.Builder
	if e.Source != "" {
		b.WriteString(e.Source + ": ")
	}
	b.WriteString(e.Summary())
	for _, l := range e.lists() {
		for _, p := range l.problems {
			fmt.Fprintf(&b, "\n  %-10s  %s", l.what, tensor.QuoteName(p.Tensor))
			if p.Detail != "" {
				b.WriteString(": " + p.Detail)
			}
		}
	}
	return b.String()
}

// Unwrap returns the same as a *tensor.FormatError without the lists.
func (e *PlanError) Unwrap() error {
	bad := tensor.Bad("%s", e.Summary()).In(e.Source)
	if e.canKeep {
		bad.Advise("--extra keep takes tensors along that are no parameter of the family")
	}
	return bad
}
