package logits

import (
	"context"
	"fmt"
	"math"

	"github.com/griffin-ckpt/griffin/verify/stats"
)

// recordedNotFinite counts the elements that are not finite in a recording of one result, and that the model gives as numbers.
type recordedNotFinite struct {
	stats.NotFinite
	token, channel int  // of the first
	decoded        bool // the first
}

// add compares what was recorded of a token, or of its decoding, with what the model gives.
func (r *recordedNotFinite) add(token int, recorded []float32, computed []float64, decoded bool) {
	for i, x := range recorded {
		bad := math.IsNaN(float64(x)) || math.IsInf(float64(x), 0)
		if !bad || math.IsNaN(computed[i]) || math.IsInf(computed[i], 0) {
			continue
		}
		if r.NotFinite == (stats.NotFinite{}) {
			r.token, r.channel, r.decoded = token, i, decoded
		}
		if math.IsNaN(float64(x)) {
			r.NaN++
		} else {
			r.Inf++
		}
	}
}

// unsound reports whether the recording of any of some results has elements that are not finite and that the model gives as numbers. Such a recording
// says nothing of a block that has it as its input or output.
func (l *localiser) unsound(names ...string) bool {
	for _, name := range names {
		if s := l.measured.site(name, false); s != nil && s.notFinite.NotFinite != (stats.NotFinite{}) {
			return true
		}
	}
	return false
}

// recordingFault adds the fault of a recording that is not sound itself.
func recordingFault(l *localiser) {
	var first *siteErrors
	more := 0
	for _, s := range l.measured.sites {
		switch {
		case s.fed || !l.unsound(s.name):
		case first == nil:
			first = s
		default:
			more++
		}
	}
	if first == nil {
		return
	}
	for _, fed := range []bool{false, true} {
		if out := l.judged.outside(first.name, fed); len(out) > 0 {
			f := l.add(-1, "", RecordingFault, false, out)
			n := &first.notFinite
			f.Where = ""
			name := l.in.passOf(n.token).FullName(first.name)
			if n.decoded {
				name = "decode." + first.name
			}
			f.Cause = fmt.Sprintf("%s, which holds %s, the first at token %d of row %d, channel %d", name, n.NotFinite, l.in.inPass(n.token)%l.in.length, l.in.inPass(n.token)/l.in.length, n.channel)
			if more > 0 {
				f.Cause += fmt.Sprintf(", and so %s more of its results", map[bool]string{true: "does 1", false: fmt.Sprintf("do %d", more)}[more == 1])
			}
			return
		}
	}
}

// brokenTensor is a tensor with elements that are not finite.
type brokenTensor struct {
	name string
	stats.NotFinite
}

// findBroken looks for elements that are not finite in the tensors of a fault that gives such results and that nothing explains.
func findBroken(ctx context.Context, l *localiser, f *Fault) error {
	s := l.measured.site(f.Site, f.Proved && f.Kind != EmbeddingFault) // the embeddings are computed from the tokens
	if f.Cause != "" || s == nil || s.finite() {
		return nil
	}
	names := f.Tensors
	if names == nil && f.inBlock() {
		names = append(l.tensors(f.Block, temporalParameters(f.Kind)...), l.tensors(f.Block, mlpParameters...)...)
	}
	for _, name := range names {
		t := l.in.model.Found.Checkpoint.Tensor(name)
		if t == nil || t.DType.Size() == 0 {
			continue
		}
		s, err := stats.Of(ctx, t)
		if err != nil {
			return err
		}
		if !s.Finite() {
			f.broken = append(f.broken, brokenTensor{name, s.NotFinite()})
		}
	}
	f.blameBroken()
	return nil
}

// blameBroken makes the tensors that are not finite the cause.
func (f *Fault) blameBroken() {
	if f.broken == nil {
		return
	}
	var n stats.NotFinite
	f.Tensors = nil
	for _, t := range f.broken {
		n.NaN, n.Inf = n.NaN+t.NaN, n.Inf+t.Inf
		f.Tensors = append(f.Tensors, t.name)
	}
	switch f.Cause = f.broken[0].name; len(f.broken) {
	case 1:
		f.Cause += ", which holds "
	case 2:
		f.Cause += " and 1 more tensor, which hold "
	default:
		f.Cause += fmt.Sprintf(" and %d more tensors, which hold ", len(f.broken)-1)
	}
	f.Cause += n.String()
}
