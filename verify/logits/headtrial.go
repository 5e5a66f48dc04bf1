package logits

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
)

// headTrial runs the head with changes and compares the result of a fault with the fixture.
type headTrial struct {
	*localiser
	fault *Fault
}

// explain looks for a hypothesis under which the final norm or the logits are inside.
func (h *headTrial) explain() error {
	f := h.fault
	if !h.in.fed {
		return nil
	}
	all := append(epsilons(h.localiser), normHypotheses(reference.Outer, reference.FinalNorm, "")...)
	if f.Site == "logits" {
		var err error
		if all, err = h.softCaps(); err != nil {
			return err
		}
		if !h.in.hasSite("final_norm") {
			all = append(all, epsilons(h.localiser)...)
		}
	}
	var found []hypothesis
	for _, x := range all {
		inside, err := h.inside(x)
		if err != nil {
			return err
		}
		if inside {
			found = append(found, x)
		}
	}
	if len(found) == 0 {
		return nil
	}
	x := found[0]
	if found = slices.DeleteFunc(found, func(x hypothesis) bool { return x.setting == nil || x.setting.Name != SoftCapSetting }); len(found) > 1 {
		x = withSetting(h.setting(SoftCapSetting, x.setting.Value, severalSoftCaps(found)), "", nil)
	}
	f.Cause, f.Setting = x.cause, x.setting
	if x.setting != nil {
		f.Tensors = nil
		h.keep(x)
	}
	return nil
}

// wrongAlone reports whether the logits are outside where the head is given the final norm that was recorded, because that of the model is not it.
func (h *headTrial) wrongAlone() (bool, error) {
	if s := h.measured.site("logits", true); s == nil || h.unsound("final_norm") || !s.finite() || slices.Max(s.rmsScale) == 0 {
		return false, nil // logits that are not finite, or all zero, do not show what rounding does
	}
	inside, err := h.inside(unchanged)
	return !inside, err
}

// recordedNorm makes a final norm pass on what it is given, which is the norm of a token that was recorded: its scale is 1, and so is the mean square.
func recordedNorm(m *reference.Model, norm []float32) *reference.Model {
	square := 0.0
	for _, x := range norm {
		square += float64(x) * float64(x)
	}
	own, v := *m, variantOf(m.Config.Variant)
	v.NormEpsilon = 1 - square/float64(len(norm))
	own.Config.Variant, own.Weights = &v, zeroedWeights(m.Weights, reference.Outer, reference.FinalNorm)
	return &own
}

// severalSoftCaps names the soft caps with which the logits may have been recorded, which are too small to tell them apart.
func severalSoftCaps(found []hypothesis) string {
	var recorded []string
	for _, x := range found {
		if x.setting.Recorded == "0" {
			return "a larger one, or none"
		}
		recorded = append(recorded, x.setting.Recorded)
	}
	return strings.Join(recorded, " or ")
}

// softCaps lists the soft caps with which the logits may have been recorded: none, those of published models and of the other checkpoint, and the one that
// the recording shows.
func (h *headTrial) softCaps() ([]hypothesis, error) {
	others := []float64{0, 30, 50}
	if h.other != nil {
		others = append(others, h.other.ConfigUnder(h.in.semantics).LogitsSoftCap)
	}
	shown, err := h.shownSoftCap()
	if err != nil {
		return nil, err
	}
	softCap := h.in.model.ConfigUnder(h.in.semantics).LogitsSoftCap
	var all []hypothesis
	for i, other := range append(others, shown) {
		if other != softCap && !slices.Contains(others[:min(i, len(others))], other) {
			all = append(all, h.withSoftCap(softCap, other))
		}
	}
	return all, nil
}

func (h *headTrial) withSoftCap(softCap, recorded float64) hypothesis {
	return withSetting(h.setting(SoftCapSetting, h.in.softCapText(softCap), strconv.FormatFloat(recorded, 'g', -1, 64)), "", func(m *reference.Model) {
		m.Config.LogitsSoftCap, m.Semantics = recorded, reference.Original
	})
}

// softCapText writes a soft cap of the model. It is 0 for a model without one, whatever number its config.json has instead.
func (in *input) softCapText(softCap float64) string {
	if in.model.Original.LogitsSoftCap == 0 {
		softCap = 0
	}
	return strconv.FormatFloat(softCap, 'g', -1, 64)
}

// shownSoftCap returns the soft cap, of two digits, that makes the largest logit what was recorded; 0 if there is none, or if one that is 10%
// larger or smaller would explain the logits as well.
func (h *headTrial) shownSoftCap() (float64, error) {
	var plain, recorded float64 // the largest logit
	err := h.run(h.withSoftCap(0, 0), func(_ int, x []float32, y []float64) bool {
		for i := range y {
			if math.Abs(y[i]) > plain {
				plain, recorded = math.Abs(y[i]), math.Abs(float64(x[i]))
			}
		}
		return true
	})
	if err != nil || !(recorded > 0 && recorded < plain) {
		return 0, err
	}
	low, high := recorded, math.MaxFloat32 // what is capped increases with the cap
	for range 100 {
		if c := math.Sqrt(low * high); c*math.Tanh(plain/c) < recorded {
			low = c
		} else {
			high = c
		}
	}
	shown, err := strconv.ParseFloat(strconv.FormatFloat(low, 'g', 2, 64), 64)
	for _, other := range []float64{shown / 1.1, shown * 1.1} {
		if inside, bad := h.inside(h.withSoftCap(0, other)); bad != nil || inside {
			return 0, bad
		}
	}
	return shown, err
}

// headTokens is how many tokens a hypothesis about the head is tried on beside the worst of each pass, because the vocabulary is large.
const headTokens = 16

// tried lists the tokens that a hypothesis is tried on.
func (h *headTrial) tried() []int {
	var tokens []int
	for t := 0; t < len(h.in.tokens); t += max(1, len(h.in.tokens)/headTokens) {
		tokens = append(tokens, t)
	}
	worst := h.fault.Worst.Row*h.in.length + h.fault.Worst.Token
	for t := worst; t < len(h.in.tokens); t += h.in.fixture.Passes[0].Batch * h.in.length {
		tokens = append(tokens, t)
	}
	return tokens
}

// inside reports whether the result of a fault is inside under a hypothesis.
func (h *headTrial) inside(x hypothesis) (bool, error) {
	s, inside := h.measured.site(h.fault.Site, true), true
	err := h.run(x, func(t int, x []float32, y []float64) bool {
		e := tokenError(x, y)
		inside = e.share(h.judged.envelope.allowed(s, t)) <= 1
		return inside
	})
	return inside, err
}

// run runs the head under a hypothesis on some tokens, given the fixture's output of the last block; or for logits behind a wrong final norm, the
// fixture's. compare is called with what was recorded of
// the result of a fault and what is computed, until it returns false.
func (h *headTrial) run(x hypothesis, compare func(t int, recorded []float32, computed []float64) bool) error {
	in, err := h.in.read(hidden(h.in.blocks()))
	if err != nil {
		return err
	}
	m := *h.reference
	changed, _ := x.change(&m, nil)
	more, normed := true, h.fault.Site == "logits" && len(h.judged.outside("final_norm", true)) > 0
	for _, t := range h.tried() {
		p := h.in.passOf(t)
		if !more || p.Width(h.fault.Site) == 0 {
			continue
		}
		values := make([]float32, p.Width(h.fault.Site))
		if err := p.ReadAt(values, h.fault.Site, h.in.inPass(t)*len(values)); err != nil {
			return err
		}
		run, input := changed, forward.Tokens(&in.Activations, t, 1)
		if normed {
			if p.Width("final_norm") == 0 {
				continue
			}
			input = &reference.Activations{Batch: 1, Length: 1, Width: p.Width("final_norm"), Float32: make([]float32, p.Width("final_norm"))}
			if err := p.ReadAt(input.Float32, "final_norm", h.in.inPass(t)*input.Width); err != nil {
				return err
			}
			run = recordedNorm(changed, input.Float32)
		}
		err := run.Run(h.ctx, reference.Pass{Tokens: h.in.tokens[t:][:1], Batch: 1, First: h.in.blocks(), Input: input,
			SkipLogits: h.fault.Site != "logits", Observe: func(o reference.Observation) error {
				if o.Name() == h.fault.Site {
					more = compare(t, values, o.Float64)
				}
				return nil
			}})
		if err != nil {
			return err
		}
	}
	return nil
}
