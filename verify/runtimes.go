package verify

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// RuntimeResult says where the source and the converted checkpoint diverge when each is run by a runtime of its layout:
// the original implementation, or for a Hugging Face directory another runtime. It is a fact about runtimes, not a
// failure: where checks fail, it is about the conversion as it should be.
type RuntimeResult struct {
	Runtime string `json:"runtime"` // name of the runtime that runs the Hugging Face side
	Summary string `json:"summary"` // one sentence
	Reason  string `json:"reason,omitempty"`

	// Part says that they diverge within the tokens, from First on (Share and Channel do not apply).
	Part  bool             `json:"part"`
	First *logits.Location `json:"first,omitempty"`
	Pass  string           `json:"pass,omitempty"` // of First: "" or "packed"

	// From is the position from which on they diverge in a document that is long enough; -1 if they never do, or if a runtime does not load a
	// directory or compute the model, as Refused says.
	From    int  `json:"from"`
	Refused bool `json:"refused,omitempty"`

	// Metrics compare the logits of both: those of the tokens from First on in each row if they diverge, or of all
	// tokens if the weights are not the same bit for bit. nil if nothing had to be run. They alone are of the
	// conversion as it is: where checks fail, they measure that.
	Metrics     *logits.Metrics `json:"metrics,omitempty"`
	MetricsFrom int             `json:"metrics_from,omitempty"` // the first token of Metrics in each row; 0 for all tokens
	SourceAs    string          `json:"source_as,omitempty"`    // name of the runtime that computed the source's logits of Metrics
	ConvertedAs string          `json:"converted_as,omitempty"` // and of that for the converted checkpoint
	// Rounding compares the logits of both as the original computes them, if the conversion is the source but for rounding and Metrics have what
	// the runtimes compute differently as well; nil otherwise.
	Rounding *logits.Metrics `json:"rounding,omitempty"`

	// Facts say what each runtime does with the Hugging Face side, which is the converted checkpoint if both are.
	Facts []runtime.Fact `json:"facts,omitempty"`
	// Mended are the parts of the converted checkpoint that Facts take as they should be, because they fail: "config.json", "tensors".
	Mended []string `json:"mended,omitempty"`
}

// compareRuntimes finds where the models diverge when each is run by a runtime of its layout.
func (c *computation) compareRuntimes(ctx context.Context) (*RuntimeResult, error) {
	hf := c.run.options.Runtime
	if hf == nil {
		hf = runtime.Transformers5
	}
	passes := c.passes()
	source, converted := c.source.RunBy(hf), c.converted.RunBy(hf)
	d, err := runtime.Compare(source, converted, passes)
	if d == nil || err != nil {
		return nil, err
	}
	right := converted.Model
	if slices.ContainsFunc(c.run.verdict.Sections(), func(s NamedSection) bool { return !s.OK && !s.onlyRecords() }) {
		if right, err = c.rightly(); err != nil {
			return nil, err
		}
		mended, err := runtime.Compare(source, right.RunBy(hf), passes)
		switch {
		case err != nil:
			return nil, err
		case !d.Refused:
			mended.Summary = "but for what fails, " + mended.Summary
			d = mended
		case !mended.Refused:
			d.Summary = d.Unloaded + ", because of what fails"
		}
	}
	if err := addLost(c, d, source, right.RunBy(hf)); err != nil {
		return nil, err
	}
	metrics, from, err := c.runtimeMetrics(ctx, &source, &converted, d, passes)
	if err != nil {
		return nil, err
	}
	r := &RuntimeResult{Runtime: hf.Name, Summary: d.Summary, Reason: d.Reason, Part: d.First != nil, Pass: d.Pass, From: d.From, Refused: d.Refused, Metrics: metrics, MetricsFrom: from}
	if metrics != nil {
		r.SourceAs, r.ConvertedAs = source.Runtime.Name, converted.Runtime.Name
	}
	if t := d.First; t != nil {
		r.First = &logits.Location{Row: t.Row, Token: t.Index, Position: t.Position}
		if metrics != nil && c.run.proven() && c.run.verdict.Weights.altered() != "" {
			a, b := runtime.Side{Model: source.Model, Runtime: runtime.Original}, runtime.Side{Model: converted.Model, Runtime: runtime.Original}
			if r.Rounding, err = logits.Distance(ctx, a.Reference(), b.Reference(), passes, 0); err != nil {
				return nil, err
			}
		}
	}
	side := right
	if side.Found.Layout != model.HuggingFace {
		side = c.source
	}
	explained, err := side.Explain()
	if err != nil && !errors.As(err, new(*tensor.FormatError)) {
		return nil, err
	}
	if r.Facts = runtime.Facts(explained); side != c.source && right != converted.Model {
		r.Mended = mendedParts(c.run.verdict)
	}
	return r, nil
}

// addLost adds to a divergence, and to the verdict, what another dtype or a directory that does not express the model exactly changes in what is computed.
func addLost(c *computation, d *runtime.Divergence, source, converted runtime.Side) error {
	v := c.run.verdict
	lost := v.Weights.lost()
	for _, side := range []runtime.Side{source, converted} {
		if side.Runtime == runtime.Original || source.Runtime == converted.Runtime {
			continue
		}
		directory, err := side.Directory()
		if err != nil {
			return err
		}
		for _, what := range directory.Lost() {
			if what != runtime.LostInDivision || v.Weights == nil || v.Weights.Divided == 0 { // else its elements were counted
				v.lost = append(v.lost, what)
			}
		}
	}
	lost = append(lost, v.lost...)
	switch {
	case d.Refused:
	case v.Weights != nil && v.Weights.Overflowed > 0:
		d.From, d.First, d.Reason = 0, nil, ""
		d.Summary = text.Count(v.Weights.Overflowed, "element") + " became infinite, so that the conversion need not compute what the source does at any position"
	case lost == nil:
	case d.From < 0: // it ends with what is the same at every position
		d.Summary += ", apart from " + inWords(lost)
	case d.From > 0 && (v.lost != nil || v.Weights.Inexact > 0):
		d.Summary += "; up to there it computes the same, apart from " + inWords(lost)
	}
	return nil
}

// rightly returns the converted model with the config.json and the names that it should have.
func (c *computation) rightly() (*runtime.Model, error) {
	r := c.run
	if r.plan.HF == nil || !r.plan.SettingsKnown {
		return c.converted, nil
	}
	wrong := &runtime.Wrong{}
	for _, f := range r.verdict.Config.Findings.All() {
		wrong.Fields = append(wrong.Fields, strings.Split(f.Field, ", ")...)
	}
	for _, f := range r.verdict.Structure.Findings.All() {
		wrong.Files, wrong.Names = wrong.Files || f.Kind == MissingFile, wrong.Names || f.Kind == RenamedTensor
	}
	return c.converted.Mended(r.plan, wrong, &c.source.Original)
}

// mendedParts lists the parts of the converted model that fail, and that rightly puts right.
func mendedParts(v *Verdict) (parts []string) {
	for _, s := range []*Section{v.Config, v.Structure} {
		for _, f := range s.Findings.All() {
			if part := mendedPart(&f); part != "" && !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// mendedPart returns the part that a finding is about, "" if nothing of it is in what a runtime loads.
func mendedPart(f *Finding) string {
	switch {
	case f.Kind == WrongField:
		return hfconfig.Name
	case f.Kind == RenamedTensor, f.Kind == MissingFile && f.Field == hfconfig.Name: // with names of the original beside it
		return "names of tensors"
	case f.Kind == MissingFile:
		return "names of files"
	case slices.Contains([]FindingKind{MissingTensor, ExtraTensor, MisshapenTensor, MistypedTensor, UntiedHead}, f.Kind):
		return "tensors"
	}
	return ""
}

// runtimeMetrics compares the logits of both sides, from a token of each row on, unless they are known to be the same or cannot be compared.
func (c *computation) runtimeMetrics(ctx context.Context, a, b *runtime.Side, d *runtime.Divergence, passes []golden.Pass) (m *logits.Metrics, first int, err error) {
	same := c.run.proven() && c.run.verdict.Weights.Rounded == 0 && c.run.verdict.Weights.Inexact == 0
	if same && d.First == nil || a.Config.VocabSize != b.Config.VocabSize || a.Config.Width != b.Config.Width || len(a.Config.BlockTypes) != len(b.Config.BlockTypes) {
		return nil, 0, nil
	}
	if d.First != nil {
		passes = slices.DeleteFunc(slices.Clone(passes), func(p golden.Pass) bool { return p.Name != d.Pass })
		if same {
			first = d.First.Index
		}
	}
	m, err = logits.Distance(ctx, a.Reference(), b.Reference(), passes, first)
	return m, first, err
}
