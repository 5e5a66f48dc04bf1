package convert

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// MatchTransformers5 is the runtime that PlanOptions.MatchRuntime takes.
const MatchTransformers5 = "transformers5"

// checkRuntime refuses runtimes that no configuration makes agree with the original.
func checkRuntime(name string) error {
	switch name {
	case "", MatchTransformers5:
		return nil
	case "transformers4", "transformers4.57":
		return &SettingsError{
			Problem: "no configuration makes transformers 4.57 agree with the original: its attention has no window in one pass, and with the cache, as it runs by default, " +
				"a prompt longer than the window gives wrong logits from position 0, decoding parts at position window - 1, and prompts of one token crash",
			Hint: "keep texts within the window there, with use_cache=False; --match-runtime transformers5 makes transformers 5 agree at every position",
		}
	}
	return &SettingsError{Problem: fmt.Sprintf("no runtime %q to match", name), Hint: "--match-runtime takes " + MatchTransformers5}
}

// readForm learns from the conversion.json of a Hugging Face directory what the numbers in its config.json
// stand for. Those that were changed since stand for themselves.
func (m *Model) readForm(c *Config, h *hfconfig.Config) error {
	m.form, m.noCap, m.looksUncapped = nil, false, huggingface.IsNoSoftCap(c.LogitsSoftCap, m.embedding().DType)
	record, _, err := manifest.Read(m.Checkpoint.Source, m.Checkpoint.Root)
	if errors.As(err, new(*tensor.FormatError)) {
		return nil // it is not used, as Convert notes
	}
	if err != nil || record == nil || record.HuggingFace == nil || record.Settings == nil || record.Layout != HuggingFace.String() {
		return err
	}
	form := *record.HuggingFace
	form.Inexact = slices.DeleteFunc(slices.Clone(form.Inexact), func(s string) bool { return len(s) > 1000 })
	form.Inexact = form.Inexact[:min(len(form.Inexact), 4)]
	m.form = &form
	if form.MatchRuntime != "" && form.AttentionWindowSize == c.AttentionWindow && form.AttentionWindowSize == record.Settings.AttentionWindow+1 {
		c.OriginalWindow = record.Settings.AttentionWindow
	}
	if record.Settings.LogitsSoftCap == 0 && float64(form.LogitsSoftCap) == c.LogitsSoftCap {
		m.noCap = true
	}
	if h.TieWordEmbeddings || record.Settings.EmbeddingScale {
		form.EmbeddingDividedBy = 0
	}
	return nil
}

// original returns in the original's terms what a Hugging Face directory has in its own.
func (m *Model) original(c Config) Config {
	if m.Layout != HuggingFace {
		return c
	}
	if c.OriginalWindow != 0 {
		c.AttentionWindow, c.OriginalWindow = c.OriginalWindow, 0
	}
	if m.noCap || m.looksUncapped {
		c.LogitsSoftCap = 0
	}
	if m.relation == headWhole || m.relation == headUnknown && m.form != nil && m.form.EmbeddingDividedBy != 0 {
		c.EmbeddingScale = false
	}
	return c
}

// Original returns in the original's terms what Complete returned: the window, soft cap and embedding scale that an
// original of the same model is run with.
func (m *Model) Original(c Config) Config { return m.original(c) }

// express settles which numbers config.json will have. p.fill goes by them.
func (p *Plan) express(o PlanOptions) error {
	c := &p.Config
	if c.Has(Attention) && c.HeadDim()%4 != 0 {
		return tensor.Bad("no Hugging Face form: half of each head of %d channels is to be rotated in pairs, which takes a multiple of 4", c.HeadDim()).
			In(p.Source.Checkpoint.Path)
	}
	f := &manifest.HuggingFace{AttentionWindowSize: c.AttentionWindow, LogitsSoftCap: manifest.Float(c.LogitsSoftCap), TieWordEmbeddings: !c.SeparateHead}
	p.HF = f
	if o.MatchRuntime != "" && c.Has(Attention) {
		if c.AttentionWindow == math.MaxInt32 {
			return &SettingsError{Problem: fmt.Sprintf("attention window %d: --match-runtime writes one more, which is too large", c.AttentionWindow)}
		}
		f.MatchRuntime, f.AttentionWindowSize = o.MatchRuntime, c.AttentionWindow+1
	}
	if !c.EmbeddingScale {
		f.EmbeddingDividedBy, f.TieWordEmbeddings = manifest.Float(huggingface.EmbeddingScale(c.Width)), false
	}
	return nil
}

// divide has the embedding of a model that does not scale it divided, and writes it whole as the
// head, unless that is another.
func (p *Plan) divide(dtype tensor.DType) {
	if p.HF == nil || p.HF.EmbeddingDividedBy == 0 || p.Source.Layout == HuggingFace && p.whole == nil {
		return // or it is divided already
	}
	for i := range p.Moves {
		move := &p.Moves[i]
		if d := &p.Dests[move.Dest]; d.Name == embeddingName {
			if !p.Config.SeparateHead {
				p.add(moves.Dest{Name: headTensor, DType: d.DType, Shape: d.Shape, Rule: d.Rule}, move.Source, move.View)
			}
			// p.add may have moved what d and move point to.
			p.Moves[i].Divide = float64(p.HF.EmbeddingDividedBy)
			p.Dests[p.Moves[i].Dest].Rule = fmt.Sprintf("divide by %g", p.Moves[i].Divide)
			return
		}
	}
}

// The tensors of transformers that a model without embedding scale has of its embedding.
const (
	embeddingName = "model.embed_tokens.weight"
	headTensor    = "lm_head.weight"
)

// checkExpressed settles what depends on the type of the weights, and refuses a model that is not
// expressed exactly, unless that is allowed.
func (p *Plan) checkExpressed(allowInexact bool) error {
	p.allowInexact = allowInexact
	f := p.HF
	if p.asIs() && p.config != nil {
		f.LogitsSoftCap = manifest.Float(p.config.read.LogitsSoftCap)
		if p.Source.form != nil {
			f.Inexact = p.Source.form.Inexact
		}
		return nil
	}
	if p.Config.LogitsSoftCap == 0 {
		softCap, cost := huggingface.NoSoftCap(p.DType)
		f.LogitsSoftCap = manifest.Float(softCap)
		if cost > 0 {
			f.Inexact = append(f.Inexact, fmt.Sprintf("transformers always caps logits, and this model does not: in %s, logits up to 40 change by as much as %.2g with the best cap, %g (all of them tried)",
				p.DType, cost, softCap))
		}
	}
	d := p.division()
	if d != nil && p.Dests[d.Dest].DType == tensor.F64 {
		return tensor.Bad("an embedding in float64 is not divided, as a model without embedding scale needs it").In(p.Source.Checkpoint.Path).Advise("--dtype float32")
	}
	if d != nil && !huggingface.IsPowerOfTwo(d.Divide) {
		to := p.Dests[d.Dest].DType
		f.Inexact = append(f.Inexact, fmt.Sprintf("transformers always scales embeddings by sqrt(width) in bfloat16, here %g, and this model does not: no power of two, so that dividing by it and multiplying again "+
			"changes %s elements by as much as a relative %.2g (all mantissas tried)", d.Divide, to, huggingface.DivisionCost(to, d.Divide)))
	}
	if len(f.Inexact) == 0 || allowInexact {
		return nil
	}
	err := tensor.Bad("no exact Hugging Face form: %s", strings.Join(f.Inexact, "; ")).In(p.Source.Checkpoint.Path)
	if p.Config.LogitsSoftCap == 0 && p.DType == tensor.F16 && len(f.Inexact) == 1 {
		return err.Advise("--dtype bfloat16 or float32 has an exact form; --allow-inexact writes this one")
	}
	return err.Advise("--allow-inexact writes the nearest there is")
}

// annotate says what is out of the ordinary.
func (p *Plan) annotate() {
	c, f := &p.Config, p.HF
	if !c.Has(Attention) {
		p.Notes = append(p.Notes, "there are no attention blocks: the attention window is of no consequence, and use_cache is false, because transformers 5 cannot cache such a model")
	}
	if f.MatchRuntime != "" {
		p.Notes = append(p.Notes, fmt.Sprintf("attention_window_size is %d, the window + 1: with it transformers 5 attends to the tokens that the original attends to, and its logits agree at every position",
			f.AttentionWindowSize))
	}
	if c.LogitsSoftCap == 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("logits_soft_cap %.0f stands for none", float64(f.LogitsSoftCap)))
	}
	if f.EmbeddingDividedBy != 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s is the embedding divided by %g, by which transformers multiplies it; the head, %s, is untied and not divided",
			embeddingName, float64(f.EmbeddingDividedBy), headTensor))
	}
	for _, cost := range f.Inexact {
		p.Notes = append(p.Notes, "not exact: "+cost)
	}
}

// CheckExact returns an error if dividing the embedding lost anything that the plan did not announce,
// as the last bits of numbers that became too small for the type. written is what Execute returned.
// Where losses are allowed, p.HF and p.Notes say them.
func (p *Plan) CheckExact(written []tensor.Written) error {
	d := p.division()
	if d == nil {
		return nil
	}
	dest := &p.Dests[d.Dest]
	lost := written[d.Dest].Inexact
	of := fmt.Sprintf("%d of %d elements of %s", lost, (&tensor.Tensor{Shape: dest.Shape}).Elements(), dest.Name)
	switch {
	case lost == 0:
		return nil
	case !p.allowInexact:
		return tensor.Bad("no exact Hugging Face form: %s, divided by %g, become too small for %s and lose their last bits", of, d.Divide, dest.DType).
			In(p.Source.Checkpoint.Path).Of(d.Source.Name).Advise("another --dtype has room for them; --allow-inexact writes it so")
	}
	cost := fmt.Sprintf("%s are not the embedding's once transformers multiplies them by %g (counted)", of, d.Divide)
	p.HF.Inexact = append(p.HF.Inexact, cost)
	p.Notes = append(p.Notes, "not exact: "+cost)
	return nil
}

// division returns the move that divides the embedding, or nil.
func (p *Plan) division() *moves.Move {
	for i := range p.Moves {
		if p.Moves[i].Divide != 0 {
			return &p.Moves[i]
		}
	}
	return nil
}
