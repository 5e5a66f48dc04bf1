package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// unproven says why a verdict proves nothing, although no check found the models to differ: all that fails is settings that were given, or a
// recording that is not finite or of other weights. It is "" if anything else fails. isStated says that files of the conversion state settings.
func (v *Verdict) unproven(isStated bool) string {
	if v.Quantized != nil {
		return ""
	}
	for _, s := range v.Sections() {
		if !s.OK && !s.Skipped && s.Section != v.Config {
			return ""
		}
	}
	var causes []string
	if c := v.Config; c != nil && !c.OK && !c.Skipped {
		var given []string
		for _, f := range c.Findings.All() {
			if f.Kind != GivenSetting {
				return ""
			}
			given = append(given, f.Field)
		}
		if given == nil {
			return ""
		}
		causes = append(causes, notThose(given, "conversion"))
	}
	for _, l := range v.Logits {
		found, ok := v.excused(l, isStated)
		if !ok {
			return ""
		}
		for _, cause := range found {
			if !slices.Contains(causes, cause) {
				causes = append(causes, cause)
			}
		}
	}
	return strings.Join(causes, "; ")
}

// excused says why a result proves nothing, and whether that is all that is wrong with it.
func (v *Verdict) excused(l *logits.Result, isStated bool) (causes []string, ok bool) {
	if l.OK {
		return nil, true
	}
	const otherWeights = "the recording is of other weights"
	if v.Converted != nil && l.Weights == logits.OtherWeights { // the conversion has the weights of the source
		return []string{otherWeights}, true
	}
	var given []string
	for _, f := range l.Faults {
		switch {
		case f.Kind == logits.RecordingFault:
			causes = append(causes, "the recording is not finite")
		case f.Kind == logits.WeightsFault:
			causes = append(causes, otherWeights)
		case f.Setting != nil && f.Setting.Given && !(isStated && f.Setting.Name != logits.SemanticsSetting):
			if name := string(f.Setting.Name); !slices.Contains(given, name) {
				given = append(given, name)
			}
		default:
			return nil, false
		}
	}
	if given != nil {
		causes = append(causes, notThose(given, "recording"))
	}
	return causes, causes != nil
}

// notThose says that settings that were given are not those of something.
func notThose(names []string, of string) string {
	the := make([]string, len(names))
	for i, name := range names {
		the[i] = "the " + words(logits.SettingName(name))
	}
	verbs := "was given is"
	if len(names) > 1 || names[0] == string(logits.SemanticsSetting) {
		verbs = "were given are"
	}
	return fmt.Sprintf("%s that %s not the %s's", inWords(the), verbs, of)
}

// onlyGiven lists the settings of a checkpoint alone that were given, and that nothing beside it states.
func onlyGiven(m *model.Model, given model.Settings) []string {
	if stated, err := m.Configure(model.Settings{}); err == nil {
		known := &stated.Original
		if w := given.AttentionWindow; w != nil && *w == known.AttentionWindow {
			given.AttentionWindow = nil
		}
		if x := given.LogitsSoftCap; x != nil && *x == known.LogitsSoftCap {
			given.LogitsSoftCap = nil
		}
		if x := given.EmbeddingScale; x != nil && *x == known.EmbeddingScale {
			given.EmbeddingScale = nil
		}
	}
	var all []string
	if given.Preset != "" {
		all = append(all, "the settings of preset "+given.Preset)
	}
	if w := given.AttentionWindow; w != nil && m.Config.Has(model.Attention) {
		all = append(all, fmt.Sprintf("attention window %d", *w))
	}
	if x := given.LogitsSoftCap; x != nil {
		all = append(all, fmt.Sprintf("logits soft cap %g", *x))
	}
	if x := given.EmbeddingScale; x != nil {
		all = append(all, fmt.Sprintf("embedding scale %t", *x))
	}
	return all
}

// inWords joins parts of a sentence: "a, b and c".
func inWords(parts []string) string {
	last := len(parts) - 1
	if last == 0 {
		return parts[0]
	}
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}
