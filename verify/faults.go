package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// Fault is a fault of the logits, or several that say the same, with what other checks found.
type Fault struct {
	*logits.Fault
	Check    string   // the check whose findings cause it: "weights" or "configuration"; then they are one failure. "" if none does
	Findings []int    // indexes of those
	Look     []string // the tensors that may be at fault, without those that are proven; with the names in the other checkpoint: "NAME (OTHER)"; many are folded

	proven   []string // the tensors of the fault that are proven
	recorded bool     // those are what was recorded
	settings []string // that may cause it then, because its weights do not
	blocks   []model.BlockType
	layers   layerNames
}

// Faults returns the faults of a result, in order. Those that have the same cause are folded, and those of which wrong weights are the cause if
// there are many.
func (v *Verdict) Faults(l *logits.Result) []*Fault {
	all := faultsOf(v, l, false)
	n := 0
	for _, f := range all {
		if f.Check == byWeights {
			n++
		}
	}
	if n > maxConsequences+1 {
		return faultsOf(v, l, true)
	}
	return all
}

// faultsOf is Verdict.Faults. Those that different weights cause are folded too if anyWeights is set.
func faultsOf(v *Verdict, l *logits.Result, anyWeights bool) []*Fault {
	together := map[string][]*logits.Fault{}
	groups := groupsOfWeights(v, l)
	for _, f := range l.Faults {
		cause := ""
		switch placed := v.place(l, f); placed.Check {
		case byWeights: // faults stand with the first finding that causes them
			isCause := func(g FindingGroup) bool { return slices.Contains(g.Findings, placed.Findings[0]) }
			if cause = byWeights; !anyWeights {
				cause = fmt.Sprint(byWeights, slices.IndexFunc(groups, isCause))
			}
		case byConfig:
			cause = fmt.Sprint(placed.Findings)
		}
		together[cause] = append(together[cause], f)
	}
	var all []*Fault
	for cause, faults := range together {
		for _, f := range l.Fold(faults, cause != "" || l.Weights == logits.SameWeights) {
			all = append(all, v.place(l, f))
		}
	}
	order := func(f *Fault) int { return slices.Index(l.Faults, f.Members()[0]) }
	slices.SortFunc(all, func(a, b *Fault) int { return order(a) - order(b) })
	return all
}

// groupsOfWeights groups the findings of the weights, for a result that has faults.
func groupsOfWeights(v *Verdict, l *logits.Result) []FindingGroup {
	if v.Weights == nil || len(l.Faults) == 0 {
		return nil
	}
	return v.GroupFindings(v.Weights.Findings)
}

// The names of the checks that may cause faults of the logits.
const (
	byWeights = "weights"
	byConfig  = "configuration"
)

// place looks among the findings of other checks for what causes a fault.
func (v *Verdict) place(l *logits.Result, f *logits.Fault) *Fault {
	placed := &Fault{Fault: f, blocks: l.Blocks, layers: v.layers[l]}
	if placed.Findings = v.wrongWeights(f); placed.Findings != nil {
		placed.Check = byWeights
		return placed
	}
	var suspects []string
	for _, name := range f.Tensors {
		if isProven(v, l, name) {
			placed.proven = append(placed.proven, name)
		} else {
			suspects = append(suspects, name)
		}
	}
	if placed.Findings = v.wrongConfig(l, placed); placed.Findings != nil {
		placed.Check = byConfig
	}
	if placed.recorded = l.Weights == logits.SameWeights && len(placed.proven) > 0 && f.Cause == "" && placed.Check == ""; placed.recorded {
		placed.settings = v.candidates(l, f)
	}
	if placed.Look = v.TensorNames(suspects); len(suspects) > mostNamed {
		placed.Look = few(fold(suspects, l.Blocks, placed.layers))
	}
	return placed
}

// wrongWeights returns the indexes of the findings of the weights that are about tensors of a fault of the logits.
func (v *Verdict) wrongWeights(f *logits.Fault) []int {
	if v.Weights == nil {
		return nil
	}
	var all []int
	for i := range v.Weights.Findings.Len() {
		finding := v.Weights.Findings.At(i)
		isNamed := func(name string) bool {
			return name == finding.Tensor || name == finding.ConvertedName || slices.Contains(strings.Split(finding.SourceName, " + "), name)
		}
		if slices.ContainsFunc(f.Tensors, isNamed) {
			all = append(all, i)
		}
	}
	return all
}

// sourceIsRight reports whether a result is that of the converted checkpoint, and the source computes what was recorded.
func sourceIsRight(v *Verdict, l *logits.Result) bool {
	return v.Weights != nil && v.sideOf(l) == "converted" && slices.ContainsFunc(v.Logits, func(o *logits.Result) bool { return o.OK && v.sideOf(o) == "source" })
}

// isProven reports whether a tensor of a result is what was recorded, by its digest, or identical to one with which the source computes it.
func isProven(v *Verdict, l *logits.Result, name string) bool {
	if l.Weights == logits.SameWeights {
		return true
	}
	if !sourceIsRight(v, l) {
		return false
	}
	for i := range v.Weights.Converted.Len() {
		if t := v.Weights.Converted.At(i); t.Name == name {
			return t.OK
		}
	}
	return false
}

// wrongConfig returns the indexes of the findings of the configuration that cause a fault of the converted checkpoint: that of the setting that
// explains it, or if nothing does and all of its tensors are proven, those of fields that its half of a block computes with.
func (v *Verdict) wrongConfig(l *logits.Result, f *Fault) []int {
	if v.Config == nil || !sourceIsRight(v, l) || f.Setting == nil && (f.Cause != "" || len(f.proven) < len(f.Tensors)) {
		return nil
	}
	var all []int
	for i := range v.Config.Findings.Len() {
		if causes(v.Config.Findings.At(i).Field, f.Fault) {
			all = append(all, i)
		}
	}
	return all
}

// causes reports whether a wrong field of config.json may cause a fault.
func causes(field string, f *logits.Fault) bool {
	attention := f.Kind == logits.AttentionFault && f.Half != logits.MLPHalf
	inBlock := f.Kind == logits.AttentionFault || f.Kind == logits.RecurrentFault
	if f.Setting != nil {
		switch name := f.Setting.Name; name {
		case logits.WindowSetting:
			return field == "attention_window_size"
		case logits.SoftCapSetting:
			return field == "logits_soft_cap"
		default: // also within rope_parameters
			return strings.Contains(field, string(name))
		}
	}
	switch {
	case field == "rms_norm_eps":
		return inBlock || f.Kind == logits.FinalNormFault
	case field == "hidden_activation":
		return inBlock && !(attention && f.Half == logits.TemporalHalf)
	case field == "num_attention_heads":
		return inBlock && f.Half != logits.MLPHalf
	case field == "attention_window_size", field == "head_dim", strings.Contains(field, "rope_theta"), strings.Contains(field, "partial_rotary_factor"):
		return attention
	case field == "logits_soft_cap", field == "tie_word_embeddings":
		return f.Kind == logits.LogitsFault
	}
	return false
}

// Proof says what is known of a fault whose weights are those that were recorded; "" of others.
func (f *Fault) Proof() string {
	const same = "its weights are those that were recorded"
	which := strings.Join(f.settings, ", ")
	if len(f.settings) > 1 {
		which = "one of " + which
	}
	switch {
	case !f.recorded:
		return ""
	case which == "":
		return same
	case f.Places == 0: // a wrong field shows in all blocks of a kind
		return fmt.Sprintf("%s, so that the configuration (%s) or the recording is wrong", same, which)
	}
	return same + ", so that the configuration is wrong: " + which
}

// candidates lists the fields of config.json that may cause a fault: those that may cause all that it stands for, or else any of it, but for those
// that explain other faults. An original has only settings that were given.
func (v *Verdict) candidates(l *logits.Result, f *logits.Fault) []string {
	subject := v.Source
	if v.sideOf(l) == "converted" {
		subject = v.Converted
	}
	if subject == nil || subject.Layout != model.HuggingFace.String() {
		return []string{"the settings that were given"}
	}
	var all, some []string
	for _, field := range []string{"rms_norm_eps", "hidden_activation", "num_attention_heads", "head_dim", "rope_theta", "partial_rotary_factor", "attention_window_size", "logits_soft_cap", "tie_word_embeddings"} {
		if slices.ContainsFunc(l.Faults, func(other *logits.Fault) bool { return other.Setting != nil && causes(field, other) }) {
			continue
		}
		n := 0
		for _, member := range f.Members() {
			if causes(field, member) {
				n++
			}
		}
		if n > 0 {
			some = append(some, field)
		}
		if n == len(f.Members()) {
			all = append(all, field)
		}
	}
	if all == nil {
		return some
	}
	return all
}

// causeNames names the findings that cause a fault; "" if there are none.
func (v *Verdict) causeNames(f *Fault) string {
	names := make([]string, len(f.Findings))
	for i, k := range f.Findings {
		if f.Check == byWeights {
			names[i] = v.Weights.Findings.At(k).Tensor
		} else {
			names[i] = v.Config.Findings.At(k).Field
		}
	}
	return listed(few(fold(names, f.blocks, f.layers)))
}

// few are the first names of a list, and how many more there are: "3 more".
func few(names []string) []string {
	if len(names) <= mostFolded+1 {
		return names
	}
	return append(names[:mostFolded:mostFolded], fmt.Sprintf("%d more", len(names)-mostFolded))
}

// listed is a few names in a sentence.
func listed(names []string) string {
	if last := len(names) - 1; last == mostFolded && strings.HasSuffix(names[last], " more") {
		return inWords(names)
	}
	return strings.Join(names, ", ")
}

// faultLine says where a fault is, and what to look at.
func (v *Verdict) faultLine(f *Fault) string {
	switch {
	case f.Check == byWeights:
		return f.Symptom() + "; because of the weights of " + v.causeNames(f)
	case f.Check == byConfig && f.Setting != nil:
		return f.Detail
	case f.Check == byConfig:
		return f.Symptom() + "; because of " + v.causeNames(f) + ": its weights are identical to the source's"
	case f.recorded:
		return f.Detail + "; " + f.Proof()
	case len(f.Look) == 0 && len(f.proven) > 0:
		return f.Detail + "; its weights are identical to the source's"
	case len(f.Look) == 0:
		return f.Detail
	}
	return f.Detail + "; look at " + listed(f.Look)
}

// The most tensors of a fault that are named one by one, and the most names of those that are folded.
const (
	mostNamed  = 3
	mostFolded = 6
)

// consequences has a line for each fault of the logits that the failures of a check cause, and for how many places each stands.
func (v *Verdict) consequences(check string) (all []string, places []int) {
	for _, l := range v.Logits {
		of := "in the logits"
		if LogitsOfSide(v) {
			of += " of the " + v.sideOf(l) + " checkpoint"
		}
		for _, f := range v.Faults(l) {
			if f.Check == check {
				all, places = append(all, of+": "+v.faultLine(f)), append(places, max(1, f.Places))
			}
		}
	}
	return all, places
}
