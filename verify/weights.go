package verify

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// checkWeights compares every element of a converted checkpoint with its source: bit for bit or, if the dtype changed,
// with the source rounded to nearest. Quantised matrices are left out, and tensors that the structure finds missing, misshapen or mistyped are left out.
func (r *run) checkWeights(ctx context.Context, head headState) (*WeightsSection, error) {
	l := r.plan.List
	if head.alone != "" {
		l.Dests = slices.Clone(l.Dests)
		l.Dests[r.plan.Embedding].Name = head.alone
	}
	for _, name := range head.copies {
		l = withHead(l, r.plan.Embedding, name)
	}
	if err := checkCovered(l); err != nil {
		return nil, err
	}
	if r.copy != nil {
		l = withoutDests(l, func(d *moves.Dest) bool { return isQuantized(r.converted, d.Name) })
	}
	l, absent := r.renaming.apply(l, append(head.copies, head.alone))
	total := int64(0)
	for _, d := range l.Dests {
		total += (&tensor.Tensor{DType: d.DType, Shape: d.Shape}).Bytes()
	}
	digests := r.digestAlgorithms()
	recorded := r.record.Record != nil && r.record.Overflowed > 0 // the conversion was allowed to
	proved, err := proof.Prove(ctx, l, r.converted, proof.Options{Sources: digests, Dests: digests, AllowOverflow: recorded, Progress: func(done int64) { r.progress("comparing weights", done, total) }})
	if err != nil {
		return nil, err
	}
	w := &weightsCheck{list: l, absent: absent, renaming: r.renaming, retyped: r.retyped, converted: r.converted, source: SourceName(r.verdict), merged: r.options.Adapter != nil, digests: proved.Digests, failures: proved.Failures, heads: head.copies,
		section: &WeightsSection{Elements: proved.Elements, Bytes: proved.Bytes, Rounded: proved.Rounded, Overflowed: proved.Overflowed}}
	if err := w.acceptRounded(ctx); err != nil {
		return nil, err
	}
	w.addFindings()
	if err := w.countDivided(ctx); err != nil {
		return nil, err
	}
	if err := w.explain(ctx, &r.plan.Config, func(done, total int64) { r.progress("explaining differences", done, total) }); err != nil {
		return nil, err
	}
	if err := w.noteNotFinite(ctx, proved.NotFinite, r.plan.Config.BlockTypes); err != nil {
		return nil, err
	}
	w.addDigests()
	w.countWidened(proved.Changed)
	w.summarise(w.countDTypes(r.plan.DType))
	return w.section, nil
}

// digestAlgorithms returns the hash functions of the digests that the proof computes: that of the options, and those of the
// conversion.json of either checkpoint.
func (r *run) digestAlgorithms() digest.Algorithms {
	a := r.options.Digest
	for _, m := range []*manifest.Record{recordOf(r.sourceModel).Record, r.record.Record} {
		if m != nil {
			a |= m.TensorAlgorithms()
		}
	}
	return a
}

// withHead returns a list that also makes a second copy of the embedding.
func withHead(l moves.List, embedding int, name string) moves.List {
	all := moves.List{Dests: slices.Clone(l.Dests), Moves: slices.Clone(l.Moves)}
	d := l.Dests[embedding]
	d.Name = name
	all.Dests = append(all.Dests, d)
	for _, m := range l.Moves {
		if m.Dest == embedding {
			m.Dest = len(all.Dests) - 1
			all.Moves = append(all.Moves, m)
		}
	}
	return all
}

// checkCovered returns an error if the list leaves out elements of a source tensor, so that the proof is about all of
// them.
func checkCovered(l moves.List) error {
	moved := map[*tensor.Tensor]map[int64]int64{} // elements, by the tensor and the first of them
	for _, m := range l.Moves {
		if moved[m.Source] == nil {
			moved[m.Source] = map[int64]int64{}
		}
		first, _ := m.View.Span()
		moved[m.Source][first] = m.View.Elements()
	}
	for t, parts := range moved {
		n := int64(0)
		for _, elements := range parts {
			n += elements
		}
		if n != t.Elements() {
			return fmt.Errorf("plan moves %d of the %d elements of %s", n, t.Elements(), t.Name)
		}
	}
	return nil
}

// weightsCheck compares the weights of a converted checkpoint with a list of moves.
type weightsCheck struct {
	list      moves.List
	converted *tensor.Checkpoint
	source    string // SourceName
	merged    bool   // an adapter, into the source
	absent    int    // tensors of the plan that are not in list, because they are missing and other tensors have their names
	renaming  *renaming
	retyped   retyped
	digests   *moves.Digests
	section   *WeightsSection

	failures  strictjson.List[proof.Failure]
	heads     []string // output heads that should be copies of the embedding
	state     []int32  // of each Dest: the index of its finding, or right or skipped
	wrong     []int32  // of each finding the index of its failure, in the order of the destination
	differing int64    // elements of all findings

	roundedFirst map[int]bool // what acceptRounded found, by index into list.Dests

	divisor float64 // of the embedding, or 0

	// What findings say beside their failures.
	wants   map[int]string // what a wrong element should be, by finding
	details map[int]string
	nan     []bool                  // the first wrong element is NaN, of each finding
	counts  map[int]stats.NotFinite // of the first findings that nothing explains
}

// The state of a Dest that has no finding.
const (
	right   = -1
	skipped = -2 // not compared, because of its structure
)

// addFindings makes findings of the failures of a proof.
func (w *weightsCheck) addFindings() {
	w.state = slices.Repeat([]int32{right}, len(w.list.Dests))
	for k := range w.failures.Len() {
		f := w.failures.At(k)
		switch {
		case f.Dest < 0: // an extra tensor, which is a finding of the structure
		case w.roundedFirst[f.Dest]:
		case f.Differing == 0:
			w.state[f.Dest] = skipped
		default:
			w.state[f.Dest] = int32(len(w.wrong))
			w.wrong = append(w.wrong, int32(k))
			w.differing += f.Differing
		}
	}
	w.wants, w.details, w.nan, w.counts = map[int]string{}, map[int]string{}, make([]bool, len(w.wrong)), map[int]stats.NotFinite{}
	w.section.Findings = strictjson.NewList(len(w.wrong), w.finding)
	w.section.details = w.details
}

// finding describes a wrong tensor.
func (w *weightsCheck) finding(k int) Finding {
	f := w.failures.At(int(w.wrong[k]))
	d := &w.list.Dests[f.Dest]
	kind := WrongWeights
	if slices.Contains(w.heads, d.Name) {
		kind = UntiedHead
	}
	out := Finding{Kind: kind, Tensor: d.Name, SourceName: sourceNames(w.list, f.Dest), ConvertedName: d.Name,
		Index: f.Index, Want: cmp.Or(w.wants[k], f.Want), Got: f.Got, Differing: f.Differing, Elements: d.Elements()}
	out.Detail, out.notFinite = w.details[k], w.counts[k]
	if w.nan[k] && out.notFinite.NaN == 0 {
		out.notFinite.NaN = uncountedNaN
	}
	out.Detail = strings.Trim(out.Detail+"; "+sayNotFinite(out.notFinite), "; ")
	return out
}

// addDetail adds to what is said of a finding.
func (w *WeightsSection) addDetail(finding int, s string) {
	f := w.Findings.At(finding)
	if before := f.uncounted(); before != "" {
		s = before + "; " + s
	}
	w.details[finding] = s
}

// maxExplained is how many wrong tensors are explained. More have one cause, which is clear by then.
const maxExplained = 500

// explain sets Finding.Detail of wrong tensors. progress is called with bytes, from several goroutines.
func (w *weightsCheck) explain(ctx context.Context, c *model.Config, progress func(done, total int64)) error {
	if len(w.wrong) == 0 {
		return nil
	}
	explained := make([]int, min(len(w.wrong), maxExplained)) // indexes into list.Dests
	for k := range explained {
		explained[k] = w.failures.At(int(w.wrong[k])).Dest
	}
	x, err := newExplanations(w, explained, c)
	if err != nil {
		return err
	}
	bytes := func(dest int) int64 { return w.converted.Tensor(w.list.Dests[dest].Name).Bytes() }
	var done atomic.Int64
	var total int64
	for _, i := range explained {
		total += bytes(i)
	}
	details, err := x.describeAll(ctx, explained, func(dest int) { progress(done.Add(bytes(dest)), total) })
	if err != nil {
		return err
	}
	for k, dest := range explained {
		if f := w.failures.At(int(w.wrong[k])); f.Overflowed == f.Differing {
			details[k] = fmt.Sprintf("became infinite, beyond the range of %s", w.list.Dests[dest].DType)
		}
	}
	for k := range w.wrong {
		if k < len(details) && details[k] != "" {
			w.details[k] = details[k]
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f := w.failures.At(int(w.wrong[k]))
		got, err := elementAt(w.converted.Tensor(f.Tensor), f.Index)
		if err != nil {
			return err
		}
		w.nan[k] = math.IsNaN(got)
		if k < len(details) {
			if w.counts[k], err = notFinite(ctx, w.converted.Tensor(f.Tensor), math.IsInf(got, 0)); err != nil {
				return err
			}
		}
	}
	return nil
}

// notFinite counts the elements of a wrong tensor that are not finite. It returns zeros without NaN, unless the first wrong element is infinite: the
// source may have the infinities.
func notFinite(ctx context.Context, t *tensor.Tensor, infinite bool) (stats.NotFinite, error) {
	if t.DType.Size() == 0 {
		return stats.NotFinite{}, nil
	}
	s, err := stats.Of(ctx, t)
	if err != nil || s.NaN == 0 && !infinite {
		return stats.NotFinite{}, err
	}
	return s.NotFinite(), nil
}

// noteNotFinite notes NaN and infinities of sources, which no comparison shows. What is wrong in the converted checkpoint is said by findings.
func (w *weightsCheck) noteNotFinite(ctx context.Context, sources []*tensor.Tensor, blocks []model.BlockType) error {
	if len(w.wrong) > 0 {
		return nil
	}
	var sum stats.NotFinite
	has := map[*tensor.Tensor]bool{}
	for _, t := range sources {
		s, err := stats.Of(ctx, t)
		if err != nil {
			return err
		}
		if n := s.NotFinite(); !s.Finite() {
			sum.NaN, sum.Inf = sum.NaN+n.NaN, sum.Inf+n.Inf
			has[t] = true
		}
	}
	if len(has) == 0 {
		return nil
	}
	var all []*tensor.Tensor
	for i := range w.list.Moves {
		all = append(all, w.list.Moves[i].Source)
	}
	slices.SortFunc(all, func(a, b *tensor.Tensor) int { return tensor.CompareNames(a.Name, b.Name) })
	all = slices.Compact(all)
	items := &diff.Items{Len: len(all), Name: func(i int) string { return all[i].Name }, BlockTypes: kindNames(blocks),
		What: func(i int) (diff.Status, string, bool) { return diff.Equal, "", has[all[i]] }}
	w.section.Notes = append(w.section.Notes, fmt.Sprintf("%s in %s of the source, and the same in the conversion: %s", sum, text.Count(len(has), "tensor"), items.Words()))
	return nil
}

// elementAt returns the value of an element of a tensor, the real part of a complex one. It is 0 for dtypes that pack
// several elements into a byte.
func elementAt(t *tensor.Tensor, index []int64) (float64, error) {
	element := int64(0)
	for k, n := range t.Shape {
		element = element*n + index[k]
	}
	size := t.DType.Size()
	if size == 0 {
		return 0, nil
	}
	raw := make([]byte, size)
	if err := tensor.ReadFullAt(t, raw, element*size); err != nil {
		return 0, err
	}
	values := tensor.ValuesOf(t.DType)
	var value [2]float64
	values.Decode(value[:values.Lanes], raw)
	return value[0], nil
}

// wider has the pairs of a dtype and one that has all of its values.
var wider = map[[2]tensor.DType]bool{{tensor.F16, tensor.F32}: true, {tensor.BF16, tensor.F32}: true, {tensor.F16, tensor.F64}: true, {tensor.BF16, tensor.F64}: true, {tensor.F32, tensor.F64}: true}

// countWidened counts the elements whose value cannot have changed with their dtype. changed reports whether that of another has.
func (w *weightsCheck) countWidened(changed bool) {
	for i := range w.list.Moves {
		if m := &w.list.Moves[i]; m.Divide == 0 && w.state[m.Dest] != skipped && wider[[2]tensor.DType{m.Source.DType, w.list.Dests[m.Dest].DType}] {
			w.section.Widened += m.View.Elements()
		}
	}
	s := w.section
	s.Kept = s.Rounded > 0 && (s.Rounded == s.Widened || !changed && len(w.roundedFirst) == 0)
}

// addDigests lists the digests of all tensors that were compared, on both sides.
func (w *weightsCheck) addDigests() {
	compared := make([]int32, 0, len(w.list.Dests)) // by index into list.Dests
	for i := range w.list.Dests {
		if w.state[i] != skipped {
			compared = append(compared, int32(i))
		}
	}
	w.section.Tensors = len(compared)
	w.section.Converted = strictjson.NewList(len(compared), func(k int) TensorDigest {
		i := int(compared[k])
		d := &w.list.Dests[i]
		return TensorDigest{Name: d.Name, DType: d.DType.String(), Shape: shapeOf(d.Shape), Sum: w.digests.Dest(i), Rule: d.Rule, From: sourcesOf(w.list, i), OK: w.state[i] == right}
	})
	var sources []*tensor.Tensor
	var wrong []bool // of each source
	index := make(map[*tensor.Tensor]int32, len(w.list.Moves))
	for i := range w.list.Moves {
		m := &w.list.Moves[i]
		k, known := index[m.Source]
		if !known {
			k = int32(len(sources))
			index[m.Source] = k
			sources, wrong = append(sources, m.Source), append(wrong, false)
		}
		wrong[k] = wrong[k] || w.state[m.Dest] != right
	}
	w.section.Source = strictjson.NewList(len(sources), func(i int) TensorDigest {
		t := sources[i]
		sum, _ := w.digests.Source(t)
		return TensorDigest{Name: t.Name, DType: t.DType.String(), Shape: shapeOf(t.Shape), Sum: sum, OK: !wrong[i]}
	})
}

// shapeOf returns a shape that JSON shows as a list, even of a scalar.
func shapeOf(shape []int64) []int64 {
	if shape == nil {
		return []int64{}
	}
	return shape
}

func (w *weightsCheck) summarise(dtype tensor.DType) {
	s := w.section
	if s.Rounded > 0 {
		s.RoundedTo = dtype.String()
	}
	left := len(w.list.Dests) - s.Tensors + w.absent // that could not be compared
	s.OK = len(w.wrong)+left == 0
	how := "identical to " + w.source + ", bit for bit"
	switch {
	case s.Rounded > 0 && s.Widened == s.Rounded:
		how = fmt.Sprintf("identical to %s; %s of them in a wider dtype, which has all values of the old one", w.source, text.Grouped(s.Widened))
	case s.Kept:
		how = fmt.Sprintf("identical to %s; %s of them in another dtype, with the same values", w.source, text.Grouped(s.Rounded))
	case s.Rounded > 0:
		how = fmt.Sprintf("identical to %s, rounded to nearest where the dtype changed (%s of %s elements)", w.source, text.Grouped(s.Rounded), text.Grouped(s.Elements))
	}
	if s.Divided > 0 {
		exact := ", exactly"
		if s.Inexact > 0 {
			exact = fmt.Sprintf("; multiplying does not restore %s of them", text.Grouped(s.Inexact))
		}
		how += fmt.Sprintf(", and the embedding's %s divided by %g%s", text.Grouped(s.Divided), w.divisor, exact)
	}
	if n := len(w.wrong); n > 0 {
		what := text.Agree(n, "tensor", "differs", "differ")
		if n == s.Tensors && s.Tensors > 1 {
			what = "every tensor differs"
		}
		how = fmt.Sprintf("%s, in %s", what, text.Count(w.differing, "element"))
	}
	compared := text.Count(s.Tensors, "tensor")
	if left > 0 {
		compared = w.uncompared(left) + " (see structure); " + text.Count(s.Tensors, "other")
	}
	s.Summary = fmt.Sprintf("%s, %s elements: %s", compared, text.Grouped(s.Elements), how) + w.renaming.summary()
	if left > 0 && s.Tensors == 0 {
		s.Summary = "no tensor could be compared"
	}
	if s.Overflowed > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s became infinite, beyond the range of %s", text.Count(s.Overflowed, "element"), dtype))
	}
}

// uncompared says why so many tensors were not compared: "2 tensors are missing, and 1 could not be compared".
func (w *weightsCheck) uncompared(n int) string {
	missing := w.absent
	for i, state := range w.state {
		if state == skipped && w.converted.Tensor(w.list.Dests[i].Name) == nil {
			missing++
		}
	}
	switch missing {
	case 0:
		return text.Count(n, "tensor") + " could not be compared"
	case n:
		return text.Agree(n, "tensor", "is", "are") + " missing"
	}
	return fmt.Sprintf("%s missing, and %s could not be compared", text.Agree(missing, "tensor", "is", "are"), text.Grouped(int64(n-missing)))
}
