package verify

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
)

// checkRecords holds what the conversion.json of either checkpoint says against what was found, and adds it to the
// configuration's section. It is called after the weights were compared. Where there is none, nothing is said.
func (r *run) checkRecords() error {
	s := r.verdict.Config
	source, path, err := r.readRecord(r.source)
	if err != nil {
		return err
	}
	if source != nil && source.Layout == r.found.Layout.String() && r.adapter == nil { // which changes tensors
		c := recordCheck{Manifest: source, field: filepath.Base(path) + " of the source", section: s}
		c.checkDigests(r.verdict.Weights.Source)
	}
	made, path, err := r.readRecord(r.converted)
	if made == nil || err != nil {
		return err
	}
	if made.Adapter != nil && r.adapter == nil {
		r.verdict.Notes = append(r.verdict.Notes, fmt.Sprintf("%s says that the adapter %s was merged into the source: --adapter DIR puts it on", filepath.Base(path), made.Adapter.Name))
	}
	c := recordCheck{Manifest: made, field: filepath.Base(path), section: s}
	c.checkLayout(r.plan)
	c.checkSettings(r.plan)
	c.checkForm(r.plan, writtenWindow(r.converted))
	c.checkDigests(r.verdict.Weights.Converted)
	if len(c.wrong) > 0 {
		s.OK, s.Skipped = false, false
		s.Summary = strings.TrimPrefix(strings.TrimPrefix(s.Summary+"; ", skippedOriginal+"; ")+c.field+" is wrong: "+strings.Join(c.wrong, ", "), "; ")
		return nil
	}
	if s.Skipped {
		s.Skipped, s.Summary = false, ""
	} else {
		s.Summary += "; "
	}
	s.Summary += fmt.Sprintf("%s agrees with %s", c.field, c.agreed())
	return nil
}

// readRecord reads the conversion.json of a checkpoint. One that is broken is a finding, and nil.
func (r *run) readRecord(checkpoint *tensor.Checkpoint) (*manifest.Manifest, string, error) {
	m, path, err := manifest.Read(checkpoint.Source, checkpoint.Root)
	var bad *tensor.FormatError
	if !errors.As(err, &bad) {
		return m, path, err
	}
	s := r.verdict.Config
	s.OK, s.Skipped = false, false
	s.Summary += "; " + manifest.Name + " is broken"
	s.Findings = append(s.Findings, Finding{Kind: WrongField, Field: manifest.Name, Want: "the record of a conversion", Got: "a file that is none", Detail: bad.Problem})
	return nil, "", nil
}

// recordCheck is a conversion.json that is held against a checkpoint.
type recordCheck struct {
	*manifest.Manifest
	field    string // what it is called in findings
	section  *Section
	wrong    []string
	settings bool // were compared
	digests  int  // were compared
}

func (c *recordCheck) agreed() string {
	what := "the digests of " + text.Count(c.digests, "tensor")
	if c.settings {
		what = "the settings and " + what
	}
	return what
}

func (c *recordCheck) add(field string, want, got any, detail string) {
	c.wrong = append(c.wrong, field)
	c.section.OK = false
	c.section.Findings = append(c.section.Findings, Finding{Kind: WrongField, Field: c.field + ": " + field, Want: fmt.Sprint(want), Got: fmt.Sprint(got), Detail: detail})
}

func (c *recordCheck) checkLayout(p *convert.Plan) {
	if c.Layout != p.Layout.String() {
		c.add("layout", p.Layout, c.Layout, "it is of another conversion")
	}
}

// checkSettings compares what shapes do not tell. Between originals nothing may be known of it.
func (c *recordCheck) checkSettings(p *convert.Plan) {
	if c.Settings == nil || !p.SettingsKnown {
		return
	}
	c.settings = true
	const effect = "a conversion of this checkpoint would take it for the model's"
	if want, got := p.Config.AttentionWindow, c.Settings.AttentionWindow; want != got && p.Config.Has(model.Attention) {
		c.add("settings.attention_window", want, got, effect)
	}
	if want, got := p.Config.LogitsSoftCap, float64(c.Settings.LogitsSoftCap); want != got {
		c.add("settings.logits_soft_cap", want, got, effect)
	}
	if want, got := p.Config.EmbeddingScale, c.Settings.EmbeddingScale; want != got {
		c.add("settings.embedding_scale", want, got, effect)
	}
}

// checkForm compares how the record says that config.json expresses the model.
func (c *recordCheck) checkForm(p *convert.Plan, written int64) {
	if p.HF == nil {
		return
	}
	form := c.HuggingFace
	if form == nil {
		form = &manifest.HuggingFace{AttentionWindowSize: p.Config.AttentionWindow, LogitsSoftCap: p.HF.LogitsSoftCap, EmbeddingDividedBy: p.HF.EmbeddingDividedBy}
	}
	if p.Config.Has(model.Attention) {
		if form.MatchRuntime != p.HF.MatchRuntime {
			c.add("huggingface.match_runtime", orNone(p.HF.MatchRuntime), orNone(form.MatchRuntime), fmt.Sprintf(
				"attention_window_size is %d and the original's window %d: the record says which of the two numbers config.json has, and the way back goes by it", written, p.Config.AttentionWindow))
		} else if form.AttentionWindowSize != written {
			c.add("huggingface.attention_window_size", written, form.AttentionWindowSize, "config.json was changed after it was written")
		}
	}
	if form.EmbeddingDividedBy != p.HF.EmbeddingDividedBy {
		c.add("huggingface.embedding_divided_by", p.HF.EmbeddingDividedBy, form.EmbeddingDividedBy, "the way back multiplies by it")
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// checkDigests compares the SHA-256 of each tensor.
func (c *recordCheck) checkDigests(found []TensorDigest) {
	recorded := map[string]string{}
	for _, t := range c.Tensors {
		recorded[t.Name] = t.SHA256
	}
	var other []string
	var first TensorDigest
	for _, t := range found {
		sum, ok := recorded[t.Name]
		if !ok || sum == "" {
			continue // a tensor more or less is for the structure to say
		}
		c.digests++
		if sum != t.SHA256 {
			if other == nil {
				first = t
			}
			other = append(other, t.Name)
		}
	}
	if len(other) > 0 {
		slices.Sort(other)
		c.add("tensors", "sha256 "+first.SHA256+" of "+first.Name, recorded[first.Name],
			fmt.Sprintf("%s not those that the record has; it was changed or damaged after it was written, or the record is of another conversion", quantityIs(len(other), "tensor")))
	}
}

// quantityIs prints "1 tensor is", "2 tensors are".
func quantityIs(n int, noun string) string {
	return text.Count(n, noun) + " " + strings.TrimSpace(are(n, ""))
}
