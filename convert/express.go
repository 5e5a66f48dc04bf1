package convert

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// Reasons of a *tensor.FormatError for a model that the target cannot express.
const (
	ReasonInexact      tensor.Reason = "inexact"       // Options.AllowInexact would write it
	ReasonInexactF16   tensor.Reason = "inexact f16"   // the same; bfloat16 or float32 have an exact form
	ReasonUnderflow    tensor.Reason = "underflow"     // the same; another Options.DType may have room for the elements
	ReasonOverflow     tensor.Reason = "overflow"      // the same; without Options.DType, every element keeps its value
	ReasonOverflowF16  tensor.Reason = "overflow f16"  // the same; bfloat16 and float32 have room for the elements
	ReasonDivideF64    tensor.Reason = "divide f64"    // float64 is not divided; float32 is
	ReasonSeparateHead tensor.Reason = "separate head" // Options.Extra KeepExtra would write it

	ReasonBeyondOriginal tensor.Reason = "beyond original" // only transformers computes it
)

// express decides which numbers config.json will have.
func (p *planner) express() error {
	c := &p.Config
	if why := p.Source.Family.HuggingFace.Refuse(c); why != "" && p.Source.Layout != model.HuggingFace {
		return tensor.Bad("no Hugging Face form: %s", why).In(p.Source.Checkpoint.Path)
	}
	form := &manifest.HuggingFace{AttentionWindowSize: c.AttentionWindow, LogitsSoftCap: manifest.Float(c.LogitsSoftCap), TieWordEmbeddings: !c.SeparateHead}
	p.HF = form
	if p.options.MatchRuntime&windowed != 0 && c.Has(model.Attention) {
		if c.AttentionWindow == math.MaxInt32 {
			return &OptionError{Option: "MatchRuntime", Problem: fmt.Sprintf("attention window %d: a configuration that matches %s has one more, which is too large", c.AttentionWindow, p.options.MatchRuntime)}
		}
		form.MatchRuntime, form.AttentionWindowSize = p.options.MatchRuntime.String(), c.AttentionWindow+1
	} else if written := p.configured.Config.AttentionWindow; p.stated != nil && written != c.AttentionWindow && len(p.Source.Family.BeyondOriginal(c)) > 0 {
		form.MatchRuntime, form.AttentionWindowSize = p.configured.Form.MatchRuntime, written // with the window that it matched, runtimes would compute another model
	}
	if !c.EmbeddingScale {
		form.EmbeddingDividedBy, form.TieWordEmbeddings = manifest.Float(huggingface.EmbeddingScale(c.Width)), false
	}
	return nil
}

// divideEmbedding divides the embedding of a model that does not scale it, and writes the embedding
// itself as the head, unless there is another.
func (p *planner) divideEmbedding(head string) {
	if p.HF == nil || p.HF.EmbeddingDividedBy == 0 || p.Source.Layout == model.HuggingFace && p.unscaled == nil {
		return // not needed, or divided already
	}
	for i := range p.Moves {
		move := p.Moves[i]
		if move.Dest != p.Embedding {
			continue
		}
		d := p.Dests[p.Embedding]
		p.Moves[i].Divide = float64(p.HF.EmbeddingDividedBy)
		p.Dests[p.Embedding].Rule = fmt.Sprintf("divide by %g", p.Moves[i].Divide)
		if !p.Config.SeparateHead {
			p.add(moves.Dest{Name: head, DType: d.DType, Shape: d.Shape, Rule: d.Rule}, move.Source, move.View)
		}
		return
	}
}

// checkExpressed decides what depends on the type of the weights, and refuses a model that is not
// expressed exactly, unless that is allowed.
func (p *planner) checkExpressed() error {
	form := p.HF
	if p.copiesTensors() && p.stated != nil {
		form.LogitsSoftCap = manifest.Float(p.stated.LogitsSoftCap)
		if p.configured.Form != nil {
			form.Inexact = p.configured.Form.Inexact
		}
		return nil
	}
	if p.Config.LogitsSoftCap == 0 && !p.keepsZeroCap() {
		softCap, cost := p.noSoftCap()
		form.LogitsSoftCap = manifest.Float(softCap)
		if cost > 0 {
			form.Inexact = append(form.Inexact, fmt.Sprintf("transformers always caps logits, and this model does not: in %s, logits up to 40 change by as much as %.2g with the best cap, %.0f (all of them tried)",
				p.DType, cost, softCap))
		}
	}
	d := divisionOf(p.List)
	if d != nil && p.Dests[d.Dest].DType == tensor.F64 {
		return tensor.Bad("an embedding in float64 is not divided, as a model without embedding scale needs it").In(p.Source.Checkpoint.Path).Because(ReasonDivideF64)
	}
	if d != nil && !huggingface.IsPowerOfTwo(d.Divide) {
		to := p.Dests[d.Dest].DType
		form.Inexact = append(form.Inexact, fmt.Sprintf("transformers always scales embeddings by sqrt(width) in bfloat16, here %g, and this model does not: no power of two, so that dividing by it and multiplying again "+
			"changes %s elements by as much as a relative %.2g (all mantissas tried)", d.Divide, to, huggingface.DivisionCost(to, d.Divide)))
	}
	if len(form.Inexact) == 0 || p.allowInexact {
		return nil
	}
	err := tensor.Bad("no exact Hugging Face form: %s", strings.Join(form.Inexact, "; ")).In(p.Source.Checkpoint.Path)
	if p.Config.LogitsSoftCap == 0 && p.DType == tensor.F16 && len(form.Inexact) == 1 {
		return err.Because(ReasonInexactF16)
	}
	return err.Because(ReasonInexact)
}

// noSoftCap returns the logits_soft_cap to write for a model without a soft cap, and the largest change that it makes to logits. The number in the source's
// config.json is kept if it has no effect in the dtype of the destination either.
func (p *planner) noSoftCap() (softCap, cost float64) {
	if p.stated != nil && huggingface.IsNoSoftCap(p.stated.LogitsSoftCap, p.DType) {
		return p.stated.LogitsSoftCap, 0
	}
	return huggingface.NoSoftCap(p.DType)
}

// keepsZeroCap reports whether the source's config.json has a soft cap of 0, with which transformers computes logits that are all zero. It is kept, so that
// a conversion from the layout to itself computes what its source does.
func (p *planner) keepsZeroCap() bool { return p.stated != nil && p.stated.LogitsSoftCap == 0 }

// noteForm notes what is unusual about config.json and the weights.
func (p *planner) noteForm() {
	c, form, f := &p.Config, p.HF, p.Source.Family
	if !c.Has(model.Attention) {
		p.note(OtherNote, "there are no attention blocks: the attention window has no effect, and use_cache is false, because transformers 5 cannot cache such a model")
	}
	switch {
	case form.MatchRuntime == "":
	case len(f.BeyondOriginal(c)) > 0:
		p.note(WindowNote, "attention_window_size stays %d, one more than the window of %d, which the source records: the original does not compute the model, and with %d transformers 5 would compute other logits",
			form.AttentionWindowSize, c.AttentionWindow, c.AttentionWindow)
	default:
		p.note(WindowNote, "attention_window_size is %d, the window + 1: with it transformers 5, and mlx-lm if it loads the model, attend to the tokens that the original attends to, at every position",
			form.AttentionWindowSize)
	}
	switch {
	case p.HF.LogitsSoftCap == 0:
		p.note(OtherNote, "logits_soft_cap stays 0, as the config.json of the source has it: no soft cap in the original, but logits that are all zero in transformers")
	case c.LogitsSoftCap == 0:
		p.note(SoftCapNote, "logits_soft_cap %.0f stands for none", float64(form.LogitsSoftCap))
	}
	if form.EmbeddingDividedBy != 0 {
		p.note(OtherNote, "%s is the embedding divided by %g, by which transformers multiplies it; the head, %s, is untied and not divided",
			p.Dests[p.Embedding].Name, float64(form.EmbeddingDividedBy), f.HeadName())
	}
	for _, cost := range form.Inexact {
		p.note(OtherNote, "not exact: %s", cost)
	}
}

// checkDivision returns what dividing the embedding lost beyond what the plan announced, such as the
// last bits of numbers that became too small for the type; "" for nothing. Unless losses are
// allowed, they are a *tensor.FormatError. written is what transfer.Execute returned.
func (o *outline) checkDivision(written []tensor.Written, allowInexact bool) (cost string, err error) {
	d := divisionOf(o.List)
	if d == nil || written[d.Dest].Inexact == 0 {
		return "", nil
	}
	dest := &o.Dests[d.Dest]
	of := fmt.Sprintf("%s of %s of %s", text.Grouped(written[d.Dest].Inexact), text.Count(dest.Elements(), "element"), dest.Name)
	if !allowInexact {
		return "", tensor.Bad("no exact Hugging Face form: %s, divided by %g, become too small for %s and lose their last bits", of, d.Divide, dest.DType).
			In(o.checkpoint.Path).Of(d.Source.Name).Because(ReasonUnderflow)
	}
	return fmt.Sprintf("%s are not the embedding's once transformers multiplies them by %g (counted)", of, d.Divide), nil
}

// checkOverflow returns a *tensor.FormatError if elements became infinite, too large for their dtype. written is what transfer.Execute returned.
func (o *outline) checkOverflow(written []tensor.Written) error {
	largest, tensors := 0, 0
	for i := range written {
		if written[i].Overflowed > 0 {
			tensors++
		}
		if written[i].Largest > written[largest].Largest {
			largest = i
		}
	}
	if tensors == 0 {
		return nil
	}
	dest, w := &o.Dests[largest], &written[largest]
	others := ""
	if tensors > 1 {
		others = fmt.Sprintf("; so would be elements of %s", text.Count(tensors-1, "other tensor"))
	}
	var sources []string
	for _, m := range o.MovesOf(largest) {
		sources = append(sources, m.Source.Name)
	}
	err := tensor.Bad("%s of %s would be infinite in %s, the largest with magnitude %.6g%s",
		text.Grouped(w.Overflowed), text.Count(dest.Elements(), "element"), dest.DType, w.Largest, others).
		In(o.checkpoint.Path).Of(tensor.JoinNames(slices.Compact(sources)))
	if most := float64(math.Float32frombits(0x7f7f0000)); dest.DType == tensor.F16 && w.Largest <= most { // the largest bfloat16
		return err.Because(ReasonOverflowF16)
	}
	return err.Because(ReasonOverflow)
}
