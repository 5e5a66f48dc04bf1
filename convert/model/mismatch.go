package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// MismatchError lists everything that is wrong with the tensors of a model. It is an error of the
// checkpoint: errors.As finds a *tensor.FormatError in it.
type MismatchError struct {
	Family     string // name of the family
	Path       string // of the checkpoint
	Conflict   string // how the shapes contradict each other, or ""
	Missing    []Problem
	Unexpected []Problem
	Misshapen  []Problem
	Mistyped   []Problem
	Model      *Model // that has the problems

	extra bool // Options.KeepExtra would accept some of Unexpected
}

// Problem is one tensor and what is wrong with it.
type Problem struct {
	Tensor string // its full name in the checkpoint
	Detail string // "" if there is nothing to add
}

// WholeBlock is the Detail of a block, or of several, that have no tensors.
const WholeBlock = "the whole block"

// Problems are the problems of one kind.
type Problems struct {
	What string // "missing", "unexpected", "misshapen" or "mistyped"
	List []Problem
}

// Lists returns the problems by their kind.
func (e *MismatchError) Lists() []Problems {
	return []Problems{{"missing", e.Missing}, {"unexpected", e.Unexpected}, {"misshapen", e.Misshapen}, {"mistyped", e.Mistyped}}
}

func (e *MismatchError) empty() bool {
	return e.Conflict == "" && len(e.Missing)+len(e.Unexpected)+len(e.Misshapen)+len(e.Mistyped) == 0
}

// Summary returns the number of problems of each kind in one line.
func (e *MismatchError) Summary() string {
	var parts []string
	if e.Conflict != "" {
		parts = append(parts, e.Conflict)
	}
	for _, l := range e.Lists() {
		if n := len(l.List); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, l.What))
		}
	}
	return fmt.Sprintf("not a complete %s model: %s", e.Family, strings.Join(parts, ", "))
}

// Error returns the summary and below it all problems, a line each.
func (e *MismatchError) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Summary())
	for _, l := range e.Lists() {
		for _, p := range l.List {
			fmt.Fprintf(&b, "\n  %-10s  %s", l.What, tensor.QuoteName(p.Tensor))
			if p.Detail != "" {
				b.WriteString(": " + p.Detail)
			}
		}
	}
	return b.String()
}

// Unwrap returns the summary as a *tensor.FormatError.
func (e *MismatchError) Unwrap() error {
	bad := tensor.Bad("%s", e.Summary()).In(e.Path)
	others := *e
	others.Unexpected = nil
	if e.extra && others.empty() { // or else keeping them would not help
		bad.Because(ReasonExtraTensors)
	}
	return bad
}

// Problems returns what keeps the model from being used, as a *MismatchError; nil if all of its
// tensors are as the rules have them.
func (m *Model) Problems() error {
	c := checker{m, &MismatchError{Family: m.Family.Name, Path: m.Checkpoint.Path, Conflict: m.conflict, Model: m}}
	c.checkBlocks()
	seen := map[string]bool{} // a tensor may have two parameters
	for _, p := range m.parameters() {
		name := m.Family.nameOf(p, m.Layout)
		if !seen[name] {
			seen[name] = true
			c.checkTensor(p, name)
		}
	}
	c.checkExtra()
	c.checkHeads()
	if c.problems.empty() {
		return nil
	}
	return c.problems
}

// checker adds the problems of a model to a MismatchError.
type checker struct {
	*Model
	problems *MismatchError
}

// checkBlocks finds gaps in the numbers of the blocks, and blocks of unknown kind.
func (c checker) checkBlocks() {
	next := 0
	for i, b := range c.blocks {
		if b > next {
			name := fmt.Sprintf("%s%s%d", c.Prefix, c.Family.Blocks[c.Layout], next)
			if b > next+1 {
				name += fmt.Sprintf(" to %d", b-1)
			}
			c.problems.Missing = append(c.problems.Missing, Problem{name, WholeBlock})
		}
		if c.Config.BlockTypes[i] == UnknownKind {
			c.problems.Missing = append(c.problems.Missing, c.kindOf(b))
		}
		next = b + 1
	}
}

// kindOf says that a block has no tensors of a kind.
func (c checker) kindOf(block int) Problem {
	var kinds, tails []string
	for _, kind := range c.Family.Kinds {
		kinds = append(kinds, string(kind))
	}
	for i := range c.Family.Rules {
		if tail := c.Family.Rules[i].At[c.Layout].Tail; tail != "" && c.Family.Rules[i].Scope.kind != "" {
			tails = append(tails, tail)
		}
	}
	part := tails[0][:strings.IndexByte(tails[0], '.')+1]
	if slices.ContainsFunc(tails, func(tail string) bool { return !strings.HasPrefix(tail, part) }) {
		part = ""
	}
	return Problem{fmt.Sprintf("%s%s%d.%s*", c.Prefix, c.Family.Blocks[c.Layout], block, part), "the tensors of a block that is " + strings.Join(kinds, " or ")}
}

// checkTensor checks the tensors that have the name of a parameter.
func (c checker) checkTensor(p parameter, name string) {
	t := c.found.first[name]
	want := c.sizes.shapeIn(p.rule, c.Layout)
	known := c.sizes.knows(p.rule)
	if t == nil {
		detail := ""
		if known {
			detail = tensor.ShapeString(want)
		}
		c.problems.Missing = append(c.problems.Missing, Problem{c.Prefix + name, detail})
		return
	}
	for _, second := range c.found.more[name] {
		c.problems.Unexpected = append(c.problems.Unexpected, Problem{second.Name, "a second " + name + ", beside " + tensor.QuoteName(t.Name)})
	}
	if (known || len(want) != len(t.Shape)) && !slices.Equal(want, t.Shape) {
		c.problems.Misshapen = append(c.problems.Misshapen, Problem{t.Name, c.whyMisshapen(t, want, known)})
	}
	c.checkType(t)
}

// IsWeightType reports whether the elements of a type can be the weights of a model.
func IsWeightType(d tensor.DType) bool {
	return slices.Contains([]tensor.DType{tensor.F64, tensor.F32, tensor.BF16, tensor.F16}, d)
}

func (c checker) checkType(t *tensor.Tensor) {
	if !IsWeightType(t.DType) {
		c.problems.Mistyped = append(c.problems.Mistyped, Problem{t.Name, fmt.Sprintf("%s; weights are float64, float32, bfloat16 or float16", t.DType)})
	}
}

func (c checker) whyMisshapen(t *tensor.Tensor, want []int64, known bool) string {
	have := tensor.ShapeString(t.Shape)
	if !known {
		return fmt.Sprintf("%s, not of %d axes", have, len(want))
	}
	why := fmt.Sprintf("%s, not %s", have, tensor.ShapeString(want))
	if len(want) == 2 && len(t.Shape) == 2 && t.Shape[0] == want[1] && t.Shape[1] == want[0] {
		why += "; it looks transposed"
		switch {
		case strings.HasSuffix(t.Name, ".kernel"):
			why += " (a Flax kernel is [in, out], a torch weight [out, in])"
		case strings.HasSuffix(t.Name, ".weight") && c.Layout == Torch:
			why += " (a torch weight is [out, in], a Flax kernel [in, out])"
		}
	}
	return why
}

// checkExtra checks the tensors that are not parameters of the family.
func (c checker) checkExtra() {
	inOrder := func(a, b *tensor.Tensor) int { return tensor.CompareNames(a.Name, b.Name) }
	for _, t := range slices.SortedStableFunc(slices.Values(c.Extra), inOrder) {
		if !c.KeepExtra {
			c.problems.Unexpected = append(c.problems.Unexpected, Problem{t.Name, c.whyExtra(t)})
			c.problems.extra = true
		} else if t.DType.Size() == 0 {
			c.problems.Mistyped = append(c.problems.Mistyped, Problem{t.Name, fmt.Sprintf("%s; its elements are not whole bytes", t.DType)})
		}
	}
}

func (c checker) whyExtra(t *tensor.Tensor) string {
	rest := strings.TrimPrefix(t.Name, c.Prefix)
	for i := range c.Family.Rules {
		for l := Flax; l < layoutCount; l++ {
			if tail := c.Family.Rules[i].At[l].Tail; tail != "" && l != c.Layout && strings.HasSuffix(rest, tail) {
				return fmt.Sprintf("a name of the %s layout in a model of the %s layout", l, c.Layout)
			}
		}
	}
	return "not a parameter of the family"
}

// checkHeads checks the shapes and types of the output heads. Whether one is a copy of the embedding
// is not checked here.
func (c checker) checkHeads() {
	embedding := c.Embedding()
	if embedding == nil {
		return
	}
	for i := range c.Heads {
		h := &c.Heads[i]
		if !h.fits(embedding) {
			c.problems.Misshapen = append(c.problems.Misshapen, Problem{h.Tensor.Name, fmt.Sprintf("%s, which is not an output head for an embedding of %s",
				tensor.ShapeString(h.Tensor.Shape), tensor.ShapeString(embedding.Shape))})
		} else {
			c.checkType(h.Tensor)
		}
	}
}
