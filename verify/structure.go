package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The output head of a Hugging Face directory. Both transformers tie it to the embedding, so that
// it need not be there.
const (
	headName      = "lm_head.weight"
	embeddingName = "model.embed_tokens.weight"
)

// headState is what a converted checkpoint has for an output head.
type headState uint8

const (
	headAbsent headState = iota
	headCopied           // there is one of the embedding's shape and type; the proof of the weights compares it
	headOther            // there is one that cannot be a copy
)

// planFor returns what a conversion of the source has to be. It is told from the converted
// checkpoint whether tensors kept their dtypes or were all given one: whichever leaves fewer of
// them wrong.
func planFor(m *convert.Model, s convert.Settings, converted *tensor.Checkpoint) (*convert.Plan, error) {
	keep, err := convert.NewPlan(m, convert.PlanOptions{Settings: s})
	if err != nil {
		return nil, err
	}
	elements, known := map[tensor.DType]int64{}, false
	for _, d := range keep.Dests {
		known = known || converted.Tensor(d.Name) != nil
	}
	for _, t := range converted.Tensors() {
		elements[t.DType] += t.Elements()
	}
	most := tensor.Invalid
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16} { // what convert writes
		if elements[d] > elements[most] {
			most = d
		}
	}
	if most == tensor.Invalid {
		return keep, nil
	}
	one, err := convert.NewPlan(m, convert.PlanOptions{Settings: s, DType: most})
	if err != nil {
		return nil, err
	}
	if mistyped(one, converted) < mistyped(keep, converted) || !known { // where no name is right the types still tell
		return one, nil
	}
	return keep, nil
}

func mistyped(p *convert.Plan, converted *tensor.Checkpoint) (n int) {
	for _, d := range p.Dests {
		if t := converted.Tensor(d.Name); t != nil && t.DType != d.DType {
			n++
		}
	}
	return n
}

// checkStructure lists the tensors that a plan demands and a converted checkpoint does not have so,
// and those that it has besides.
func checkStructure(p *convert.Plan, converted *tensor.Checkpoint) (*Section, headState) {
	c := &structure{plan: p, converted: converted, sources: sourcesOf(p), section: &Section{Findings: []Finding{}}}
	known := map[string]bool{headName: true}
	for i := range p.Dests {
		known[p.Dests[i].Name] = true
		c.check(i)
	}
	for _, t := range converted.Tensors() {
		if !known[t.Name] {
			c.extra = append(c.extra, t)
		}
	}
	c.pair()
	head := c.head()
	c.section.OK = len(c.section.Findings) == 0
	c.section.Summary = c.summary()
	return c.section, head
}

type structure struct {
	plan      *convert.Plan
	converted *tensor.Checkpoint
	sources   [][]string // names of the source's tensors, by index into plan.Dests
	section   *Section
	missing   []int // indices into plan.Dests
	extra     []*tensor.Tensor
}

// sourcesOf returns the full names of the tensors that each destination is made of.
func sourcesOf(p *convert.Plan) [][]string {
	names := make([][]string, len(p.Dests))
	for _, m := range p.Moves {
		if !slices.Contains(names[m.Dest], m.Source.Name) {
			names[m.Dest] = append(names[m.Dest], m.Source.Name)
		}
	}
	return names
}

func (c *structure) add(kind FindingKind, dest int, want, got, detail string) {
	d := c.plan.Dests[dest]
	c.section.Findings = append(c.section.Findings, Finding{Kind: kind, Tensor: d.Name, SourceName: strings.Join(c.sources[dest], " + "),
		ConvertedName: d.Name, Want: want, Got: got, Detail: detail})
}

// check looks at one tensor that the plan demands.
func (c *structure) check(dest int) {
	d := c.plan.Dests[dest]
	t := c.converted.Tensor(d.Name)
	if t == nil {
		c.missing = append(c.missing, dest)
		c.add(MissingTensor, dest, describeTensor(d.DType, d.Shape), "", "")
		return
	}
	if !slices.Equal(t.Shape, d.Shape) {
		detail := ""
		switch reversed := slices.Clone(t.Shape); {
		case t.Elements() != (&tensor.Tensor{Shape: d.Shape}).Elements():
		case len(d.Shape) == 2:
			if slices.Reverse(reversed); slices.Equal(reversed, d.Shape) {
				detail = "it looks transposed"
			}
		default:
			detail = "it has as many elements"
		}
		c.add(MisshapenTensor, dest, tensor.ShapeString(d.Shape), tensor.ShapeString(t.Shape), detail)
	}
	if t.DType != d.DType {
		c.add(MistypedTensor, dest, d.DType.String(), t.DType.String(), "")
	}
}

// pair says of tensors that are too many which missing one they may be, and the other way round.
func (c *structure) pair() {
	taken := map[string]bool{}
	for _, t := range c.extra {
		detail := ""
		if i := c.alike(t, taken); i >= 0 {
			name := c.plan.Dests[i].Name
			taken[name] = true
			detail = fmt.Sprintf("it has the shape of %s, which is missing: perhaps it was renamed", name)
			for k := range c.section.Findings {
				if f := &c.section.Findings[k]; f.Kind == MissingTensor && f.Tensor == name {
					f.Detail = fmt.Sprintf("perhaps it was renamed %s", t.Name)
				}
			}
		}
		c.section.Findings = append(c.section.Findings, Finding{Kind: ExtraTensor, Tensor: t.Name, ConvertedName: t.Name,
			Got: describeTensor(t.DType, t.Shape), Detail: detail})
	}
}

// alike returns the missing tensor of t's type and shape whose name is most like t's, or -1.
func (c *structure) alike(t *tensor.Tensor, taken map[string]bool) int {
	best, most := -1, len(t.Name)/2
	for _, i := range c.missing {
		d := c.plan.Dests[i]
		if taken[d.Name] || t.DType != d.DType || !slices.Equal(t.Shape, d.Shape) {
			continue
		}
		if n := commonEnds(t.Name, d.Name); n > most {
			best, most = i, n
		}
	}
	return best
}

// commonEnds counts the bytes at the beginning and at the end that both names have.
func commonEnds(a, b string) int {
	n := min(len(a), len(b))
	front := 0
	for front < n && a[front] == b[front] {
		front++
	}
	back := 0
	for back < n-front && a[len(a)-1-back] == b[len(b)-1-back] {
		back++
	}
	return front + back
}

// head looks at the output head, which is left out or a copy of the embedding.
func (c *structure) head() headState {
	t := c.converted.Tensor(headName)
	if t == nil {
		return headAbsent
	}
	for i, d := range c.plan.Dests {
		if d.Name != embeddingName {
			continue
		}
		if t.DType == d.DType && slices.Equal(t.Shape, d.Shape) {
			c.section.Notes = append(c.section.Notes, headName+" is there, as a second copy of the embedding; it is compared too")
			return headCopied
		}
		c.section.Findings = append(c.section.Findings, Finding{Kind: UntiedHead, Tensor: headName, ConvertedName: headName, SourceName: strings.Join(c.sources[i], " + "),
			Want: describeTensor(d.DType, d.Shape), Got: describeTensor(t.DType, t.Shape), Detail: "the head is tied: it is left out, or a copy of the embedding"})
	}
	return headOther
}

func (c *structure) summary() string {
	if c.section.OK {
		return quantity(len(c.plan.Dests), "tensor") + ", all of the names, shapes and types that the source demands"
	}
	kinds := map[FindingKind]int{}
	for _, f := range c.section.Findings {
		kinds[f.Kind]++
	}
	var parts []string
	for _, k := range []FindingKind{MissingTensor, ExtraTensor, MisshapenTensor, MistypedTensor} {
		if kinds[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", kinds[k], k))
		}
	}
	if kinds[UntiedHead] > 0 {
		parts = append(parts, "an output head that is no copy of the embedding")
	}
	return "of " + quantity(len(c.plan.Dests), "tensor") + ": " + strings.Join(parts, ", ")
}

func describeTensor(d tensor.DType, shape []int64) string {
	return d.String() + " " + tensor.ShapeString(shape)
}
