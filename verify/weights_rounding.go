package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// unitRoundoff is the largest relative error of rounding to a dtype.
var unitRoundoff = map[tensor.DType]float64{tensor.F16: 0x1p-11, tensor.BF16: 0x1p-8, tensor.F32: 0x1p-24, tensor.F64: 0x1p-53}

// differsByRounding reports whether no element of b is farther from that of a, of the same dtype, than the two roundings of a value as large as the largest of
// a may be apart. So far apart are sums that were rounded once and that were rounded twice, as where a LoRA adapter is merged by its own library.
func differsByRounding(ctx context.Context, a, b *tensor.Tensor) (bool, error) {
	roundoff := unitRoundoff[a.DType]
	if roundoff == 0 || a.DType != b.DType {
		return false, nil
	}
	var largest, distance float64
	err := eachPair(ctx, a, b, func(x, y float64) {
		largest = math.Max(largest, math.Abs(x)) // NaN if one of them is
		distance = math.Max(distance, math.Abs(x-y))
	})
	return err == nil && distance <= 2*roundoff*largest && !math.IsInf(largest, 0), err
}

// eachPair calls f with the elements of two tensors of the same dtype and shape, in order.
func eachPair(ctx context.Context, a, b *tensor.Tensor, f func(x, y float64)) (err error) {
	const most = 1 << 13
	values, size := tensor.ValuesOf(a.DType), a.DType.Size()
	var streams [2]io.ReadCloser
	var raw [2][]byte
	var numbers [2][]float64
	for i, t := range []*tensor.Tensor{a, b} {
		if streams[i], err = t.Data.Stream(0); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, streams[i].Close()) }()
		raw[i], numbers[i] = make([]byte, most*size), make([]float64, most)
	}
	for left := a.Elements(); left > 0; {
		n := min(left, most)
		left -= n
		for i := range streams {
			if err := tensor.ReadFull(streams[i], raw[i][:n*size]); err != nil {
				return err
			}
			values.Decode(numbers[i][:n], raw[i][:n*size])
		}
		for k := range n {
			f(numbers[0][k], numbers[1][k])
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// retyped are tensors of a converted checkpoint that have another dtype than the conversion gave the others, or than the source has: that
// dtype, by their names in the converted checkpoint. Rounding to another dtype is no error, of single tensors as of all.
type retyped map[string]tensor.DType

// takeDTypes makes a plan one that gives such tensors the dtypes that they have, so that their elements are compared.
func takeDTypes(p *convert.Plan, converted *tensor.Checkpoint, r *renaming) retyped {
	found := retyped{}
	for i := range p.Dests {
		d := &p.Dests[i]
		t := converted.Tensor(r.name(d.Name))
		if t == nil || t.DType == d.DType || unitRoundoff[t.DType] == 0 || unitRoundoff[d.DType] == 0 || slices.Contains(p.Extra, i) {
			continue
		}
		unprovable := func(m moves.Move) bool {
			return unitRoundoff[m.Source.DType] == 0 || m.Divide != 0 && t.DType == tensor.F64
		}
		if !slices.ContainsFunc(p.MovesOf(i), unprovable) {
			found[t.Name] = d.DType
			d.DType = t.DType
		}
	}
	return found
}

// note says in a section which tensors have other dtypes.
func (x retyped) note(v *Verdict, p *convert.Plan, r *renaming) {
	var all []int32 // indexes into p.Dests
	for i := range p.Dests {
		if _, ok := x[r.name(p.Dests[i].Name)]; ok {
			all = append(all, int32(i))
		}
	}
	if all == nil || v.another {
		return
	}
	s := v.Structure
	summarise := func(dtypes string) {
		s.Summary = strings.Replace(s.Summary, "names, shapes and types as expected", "names and shapes as expected; "+dtypes, 1)
	}
	wanted := func(d tensor.DType) string { return d.String() }
	if !p.Keep { // the plan has the dtype of most elements
		if 2*len(all) > len(p.Dests) {
			summarise("tensors have several dtypes")
			s.Notes = append(s.Notes, dtypesOfMany(p))
			return
		}
		wanted = func(d tensor.DType) string { return d.String() + ", which the others have" }
	}
	summarise(text.Agree(len(all), "tensor", "has", "have") + " another dtype")
	lines, groups, _ := v.lines(strictjson.NewList(len(all), func(k int) Finding {
		i := int(all[k])
		d := &p.Dests[i]
		name := r.name(d.Name)
		return Finding{Kind: MistypedTensor, Tensor: d.Name, SourceName: sourceNames(p.List, i), ConvertedName: name, Want: wanted(x[name]), Got: d.DType.String()}
	}), maxLines)
	if more := groups - len(lines); more > 0 {
		lines = append(lines, "tensors of another dtype are also in "+text.Count(more, "more group"))
	}
	for _, line := range lines {
		s.Notes = append(s.Notes, strings.Join(strings.Fields(line), " "))
	}
}

// dtypesOfMany says how many tensors of a plan have which dtypes, and how many of the source do: "17 tensors float16, 19 bfloat16; in the source:
// 36 tensors float32".
func dtypesOfMany(p *convert.Plan) string {
	var have, had []tensor.DType
	seen := map[*tensor.Tensor]bool{}
	for i := range p.Dests {
		have = append(have, p.Dests[i].DType)
	}
	for i := range p.Moves {
		if t := p.Moves[i].Source; !seen[t] {
			seen[t] = true
			had = append(had, t.DType)
		}
	}
	return countTypes(have) + "; in the source: " + countTypes(had)
}

// countTypes counts dtypes, in the order of their first ones: "17 tensors float16, 19 bfloat16".
func countTypes(all []tensor.DType) string {
	var kinds []tensor.DType
	count := map[tensor.DType]int{}
	for _, d := range all {
		if count[d] == 0 {
			kinds = append(kinds, d)
		}
		count[d]++
	}
	parts := make([]string, len(kinds))
	for k, d := range kinds {
		n := text.Grouped(int64(count[d]))
		if k == 0 {
			n = text.Count(count[d], "tensor")
		}
		parts[k] = n + " " + d.String()
	}
	return strings.Join(parts, ", ")
}

// acceptRounded finds the wrong tensors that were rounded to the dtype of the others and are stored in a wider one, which are not wrong.
func (w *weightsCheck) acceptRounded(ctx context.Context) error {
	w.roundedFirst = map[int]bool{}
	for k := range w.failures.Len() {
		f := w.failures.At(k)
		planned, ok := w.retyped[f.Tensor]
		if !ok || f.Dest < 0 || f.Differing == 0 {
			continue
		}
		d := &w.list.Dests[f.Dest]
		if !wider[[2]tensor.DType{planned, d.DType}] {
			continue
		}
		rounded, err := explain.Expected(d.Name, planned, d.Shape, fillingOf(w.list, f.Dest)...)
		if err != nil {
			return err
		}
		stored, err := explain.Expected(d.Name, d.DType, d.Shape, explain.Part{Source: rounded, View: tensor.RowMajor(d.Shape...)})
		if err != nil {
			return err
		}
		equal, err := equalTensors(ctx, &explain.Pair{A: stored, B: w.converted.Tensor(d.Name)})
		if err != nil {
			return err
		}
		if equal {
			w.roundedFirst[f.Dest] = true
			if w.list.MovesOf(f.Dest)[0].Source.DType == d.DType { // which the proof compared bit for bit
				w.section.Rounded += d.Elements()
			}
		}
	}
	return nil
}

// altered says how elements of the conversion are not those of the source: "rounded to bfloat16", to a dtype that does not have them all, or "whose embedding
// transformers does not restore exactly"; "" if no element could change.
func (w *WeightsSection) altered() string {
	switch {
	case w == nil:
		return ""
	case w.Rounded > 0 && !w.Kept:
		return cmp.Or(w.DTypes, "rounded to "+w.RoundedTo)
	case w.Inexact > 0:
		return "whose embedding transformers does not restore exactly"
	}
	return ""
}

// lost names what another dtype, or the division of the embedding, changed in what the conversion computes, apart from infinities.
func (w *WeightsSection) lost() (all []string) {
	if w == nil {
		return nil
	}
	switch {
	case w.Rounded > 0 && w.DTypes != "":
		all = append(all, "rounding")
	case w.Rounded == 0:
	case w.Kept:
		all = append(all, "rounding in "+w.RoundedTo)
	default:
		all = append(all, "rounding to "+w.RoundedTo)
	}
	if w.Inexact > 0 {
		all = append(all, runtime.LostInDivision)
	}
	return all
}

// countDTypes sets what was done to the tensors that were compared, if not the same to all, and returns the dtype that most elements were rounded to or are
// stored in; planned if the same was done to all.
func (w *weightsCheck) countDTypes(planned tensor.DType) tensor.DType {
	type change struct {
		to     tensor.DType
		widens bool
	}
	tensors, elements := map[change]int{}, map[change]int64{}
	for i := range w.list.Dests {
		d := &w.list.Dests[i]
		c := change{d.DType, true}
		changed := false
		for _, m := range w.list.MovesOf(i) {
			if m.Source.DType != d.DType {
				changed, c.widens = true, c.widens && (w.section.Kept || wider[[2]tensor.DType{m.Source.DType, d.DType}])
			}
		}
		if w.roundedFirst[i] {
			changed, c = true, change{w.retyped[d.Name], false}
		}
		if changed && w.state[i] != skipped {
			tensors[c]++
			elements[c] += d.Elements()
		}
	}
	most := change{to: planned}
	var parts []string
	for _, to := range []tensor.DType{tensor.F16, tensor.BF16, tensor.F32, tensor.F64} {
		for _, widens := range []bool{false, true} {
			c := change{to, widens}
			if tensors[c] == 0 {
				continue
			}
			parts = append(parts, text.Count(tensors[c], "tensor")+map[bool]string{false: " rounded to ", true: " as "}[widens]+to.String())
			if elements[c] > elements[most] {
				most = c
			}
		}
	}
	if len(parts) > 1 || tensors[most] < w.section.Tensors {
		w.section.DTypes = strings.Join(parts, ", ")
	}
	return most.to
}

// countDivided counts the elements that the list divides, and those that multiplying does not restore. It also sets what
// wrong elements should be: the proof has the source's element, not the quotient.
func (w *weightsCheck) countDivided(ctx context.Context) error {
	for i := range w.list.Moves {
		m := &w.list.Moves[i]
		if m.Divide == 0 || w.state[m.Dest] == skipped {
			continue
		}
		if k := int(w.state[m.Dest]); k != right {
			want, err := w.quotient(m.Dest, w.section.Findings.At(k).Index)
			if err != nil {
				return err
			}
			w.wants[k] = want
		}
		to := w.list.Dests[m.Dest].DType
		if m.Source.DType == to {
			w.section.Rounded -= m.View.Elements()
		}
		w.divisor = m.Divide
		w.section.Divided += m.View.Elements()
		inexact, err := countInexact(ctx, m, to)
		if err != nil {
			return err
		}
		w.section.Inexact += inexact
	}
	return nil
}

// quotient returns what an element of a divided tensor should be.
func (w *weightsCheck) quotient(dest int, index []int64) (string, error) {
	expected, err := w.expected(dest)
	if err != nil {
		return "", err
	}
	value, err := elementAt(expected, index)
	return fmt.Sprintf("%g", value), err
}

// countInexact counts the elements of a whole tensor that dividing and multiplying again does not restore.
func countInexact(ctx context.Context, m *moves.Move, to tensor.DType) (inexact int64, err error) {
	divide, err := tensor.NewDivide(m.Source.DType, to, m.Divide)
	if err != nil {
		return 0, err
	}
	stream, err := m.Source.Data.Stream(0)
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	const elements = 1 << 16
	size := m.Source.DType.Size()
	in, out := make([]byte, elements*size), make([]byte, elements*to.Size())
	for left := m.Source.Elements(); left > 0; left -= elements {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n := min(elements, left)
		if _, err := io.ReadFull(stream, in[:n*size]); err != nil {
			return 0, tensor.Bad("data ends early").Of(m.Source.Name)
		}
		_, lost := divide(out[:n*to.Size()], in[:n*size])
		inexact += lost
	}
	return inexact, nil
}
