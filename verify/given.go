package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// trust says which settings a run takes for a source that states none, if those that were given are not those of the conversion.
type trust uint8

const (
	trustRecord trust = iota // those that conversion.json records, if no config.json has others; otherwise those that were given
	trustGiven               // those that were given
	trustStated              // those that config.json has, if there is no conversion.json
)

// contradiction is a setting that was given, and that is another one in the conversion, with which the run was made.
type contradiction struct {
	name         logits.SettingName
	given, found string
	files        []string // of the conversion that have it
}

// replaceGiven takes the settings of the conversion in place of those that were given, where they contradict each other. What is compared then is
// not also wrong because of what was given.
func replaceGiven(r *run) {
	if r.converted == nil || r.convertedModel == nil || r.trust == trustGiven {
		return
	}
	if stated, err := r.sourceModel.StatedConfig(); stated != nil || err != nil {
		return // a setting that contradicts it is refused
	}
	configured, err := r.sourceModel.Configure(r.options.Settings)
	if err != nil {
		return // settings are missing, as planning says
	}
	found, files := foundSettings(r)
	if found == nil {
		return
	}
	given, preset, s := configured.Original, r.given.Preset != "", model.SettingsOf(&configured.Original)
	replace := func(name logits.SettingName, was, is any, isGiven bool, take func()) {
		if isGiven && was != is {
			r.contradicted = append(r.contradicted, contradiction{name, fmt.Sprint(was), fmt.Sprint(is), files})
			take()
		}
	}
	if given.Has(model.Attention) {
		replace(logits.WindowSetting, given.AttentionWindow, found.AttentionWindow, preset || r.given.AttentionWindow != nil,
			func() { s.AttentionWindow, r.given.AttentionWindow = &found.AttentionWindow, nil })
	}
	replace(logits.SoftCapSetting, given.LogitsSoftCap, found.LogitsSoftCap, preset || r.given.LogitsSoftCap != nil,
		func() { s.LogitsSoftCap, r.given.LogitsSoftCap = &found.LogitsSoftCap, nil })
	replace(logits.ScaleSetting, given.EmbeddingScale, found.EmbeddingScale, preset || r.given.EmbeddingScale != nil,
		func() { s.EmbeddingScale, r.given.EmbeddingScale = &found.EmbeddingScale, nil })
	if len(r.contradicted) > 0 {
		r.options.Settings, r.given.Preset = s, ""
	}
}

// foundSettings returns the configuration with the settings that the files of the conversion have, and the names of these files; nil if there are none
// to be trusted, or if the files contradict each other.
func foundSettings(r *run) (*model.Config, []string) {
	stated, err := r.convertedModel.StatedConfig()
	if err != nil {
		return nil, nil
	}
	if r.record.Record != nil && r.record.Settings != nil {
		known := r.record.Settings
		c := &model.Config{AttentionWindow: known.AttentionWindow, LogitsSoftCap: float64(known.LogitsSoftCap), EmbeddingScale: known.EmbeddingScale}
		switch {
		case r.record.Layout != r.convertedModel.Layout.String() || !inRange(known):
			return nil, nil
		case stated == nil:
			return c, []string{manifest.Name}
		case expresses(stated, r.record.Record, r.convertedModel):
			return c, []string{manifest.Name, hfconfig.Name}
		}
		return nil, nil
	}
	if r.trust != trustStated || stated == nil {
		return nil, nil
	}
	configured, err := r.convertedModel.Configure(model.Settings{})
	if err != nil {
		return nil, nil
	}
	c := &configured.Original
	if w := r.given.AttentionWindow; w != nil && c.AttentionWindow == *w+1 { // to match transformers 5
		c.AttentionWindow--
	}
	return c, []string{hfconfig.Name}
}

// expresses reports whether a config.json has the settings that a record has.
func expresses(stated *hfconfig.Config, record *manifest.Record, m *model.Model) bool {
	known, window := record.Settings, record.Settings.AttentionWindow
	if form := record.HuggingFace; form != nil {
		if set, err := convert.ParseRuntimes(form.MatchRuntime); err == nil && set&(convert.Transformers5|convert.MLX) != 0 {
			window++
		}
	}
	softCap := stated.LogitsSoftCap
	if huggingface.IsNoSoftCap(softCap, m.Embedding().DType) {
		softCap = 0
	}
	return (stated.AttentionWindowSize == window || !m.Config.Has(model.Attention)) && softCap == float64(known.LogitsSoftCap) && stated.TieWordEmbeddings == known.EmbeddingScale
}

// nextTrust returns what another run should trust, because the recording shows that this one trusted what is wrong.
func nextTrust(r *run) trust {
	blames := func(l *logits.Result, names func(s *logits.Setting) bool) bool {
		return slices.ContainsFunc(l.Faults, func(f *logits.Fault) bool { return f.Setting != nil && names(f.Setting) })
	}
	replaced := func(s *logits.Setting) bool {
		return slices.ContainsFunc(r.contradicted, func(c contradiction) bool { return c.name == s.Name })
	}
	switch all := r.verdict.Logits; {
	case r.contradicted != nil && slices.ContainsFunc(all, func(l *logits.Result) bool { return blames(l, replaced) }):
		return trustGiven
	case r.trust == trustRecord && r.contradicted == nil && len(all) == 2 && all[1].OK && blames(all[0], func(s *logits.Setting) bool { return s.Given && s.Name != logits.SemanticsSetting }):
		return trustStated
	}
	return r.trust
}

// doubtful returns the settings that were given, unless the recording shows that they are right.
func doubtful(r *run) model.Settings {
	if r.trust == trustGiven {
		return model.Settings{}
	}
	return r.options.Settings
}

// addContradicted makes the settings that were given, and that are not those of the conversion, findings of the configuration.
func addContradicted(r *run) {
	if len(r.contradicted) == 0 {
		return
	}
	s := r.verdict.Config
	var said []string
	for _, c := range r.contradicted {
		f := Finding{Kind: GivenSetting, Field: string(c.name), Want: c.found, Got: c.given, Detail: "what was given is wrong, or the conversion was made with a wrong one; the weights do not show which"}
		if all := r.verdict.Logits; len(all) > 0 && !slices.ContainsFunc(all, func(l *logits.Result) bool { return !l.OK }) {
			f.Detail = "with " + c.found + " the model computes what was recorded, so that the conversion need not be wrong"
		}
		f.Detail = fmt.Sprintf("%s of the conversion %s %s; ", strings.Join(c.files, " and "), map[bool]string{true: "has", false: "have"}[len(c.files) == 1], c.found) + f.Detail
		s.add(f)
		said = append(said, fmt.Sprintf("%s %s instead of %s", words(c.name), c.given, c.found))
	}
	said = []string{"given " + strings.Join(said, ", ")}
	if !s.Skipped {
		said = append(said, s.Summary)
	}
	s.OK, s.Skipped, s.Summary = false, false, strings.Join(said, "; ")
}

// words is the name of a setting in a sentence.
func words(name logits.SettingName) string { return strings.ReplaceAll(string(name), "_", " ") }
