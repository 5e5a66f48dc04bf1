package model

import (
	"fmt"
	"iter"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// promise is a parameter that the adapter's configuration says it changes.
type promise struct {
	parameter string
	field     string // of the configuration
	full      bool   // trained in full
}

// ReasonPartialAdapter is the reason for refusing an adapter that lacks tensors of target modules only, which
// Options.PartialAdapter would accept.
const ReasonPartialAdapter tensor.Reason = "partial adapter"

// refuseIncomplete refuses an adapter that lacks tensors of modules that its configuration names, as one that was saved
// without gathering its shards. PEFT warns about them and keeps the base's weights in their place. If partial is set,
// target modules may lack theirs, and lacks names them. It is called after all changes were made.
func (g *merger) refuseIncomplete(changes []peft.Change, tied, partial bool) (lacks string, err error) {
	config := g.adapter.Config
	kept := map[string]bool{} // by parameter, whether the change replaces it
	rooted, rows := false, false
	for i := range changes {
		c := &changes[i]
		name := strings.TrimPrefix(c.Parameter, g.model.Family.Roots[HuggingFace])
		rooted = rooted || name != c.Parameter
		rows = rows || c.Rows != nil
		kept[name] = kept[name] || c.Value != nil
	}
	var missing []string
	fields := map[string]bool{}
	miss := func(name, field string) {
		missing = append(missing, tensor.QuoteName(name))
		fields[field] = true
	}
	for p := range g.promised(config, rooted) {
		full, changed := kept[strings.TrimPrefix(p.parameter, g.model.Family.Roots[HuggingFace])]
		if p.parameter == g.model.Family.HeadName() && tied && config.SharesHead {
			continue
		}
		if !changed || p.full && !full {
			miss(p.parameter, p.field)
		}
	}
	if config.TrainsTokens() && !rows {
		miss(g.model.Family.nameOf(parameter{g.model.Family.rule(g.model.Family.Embedding), -1}, HuggingFace), "trainable_token_indices")
	}
	if len(missing) == 0 {
		return "", nil
	}
	var from []string
	for _, field := range []string{"target_modules", "modules_to_save", "bias", "trainable_token_indices"} {
		if fields[field] {
			from = append(from, field)
		}
	}
	what, stay := "parameters", "stay"
	if len(missing) == 1 {
		what, stay = "parameter", "stays"
	}
	lacks = fmt.Sprintf("lacks the tensors of %d %s that its configuration says it changes (%s): %s", len(missing), what, strings.Join(from, ", "), tensor.JoinNames(missing))
	onlyTargets := len(from) == 1 && fields["target_modules"]
	if onlyTargets && partial {
		return lacks + ", which " + stay + " as in the base", nil
	}
	bad := tensor.Bad("%s", lacks).In(g.adapter.Path)
	if onlyTargets {
		return "", bad.Because(ReasonPartialAdapter)
	}
	return "", bad.Advise("save the adapter again, complete; if it is as it was meant, correct %s in its configuration", strings.Join(from, " and "))
}

// promised gives the parameters that a configuration names, under the names of transformers, one after another: there may be very many.
func (g *merger) promised(config *peft.Config, rooted bool) iter.Seq[promise] {
	f := g.model.Family
	promiseOf := func(name string, matrix bool) (p promise, ok bool) {
		module := name[:max(strings.LastIndexByte(name, '.'), 0)]
		isWeight := strings.HasSuffix(name, ".weight")
		switch isBias := strings.HasSuffix(name, ".bias"); { // PEFT saves no other biases, such as those of the gates
		case config.Saves(module):
			return promise{name, "modules_to_save", true}, true
		case isWeight && matrix && config.TargetsKnown() && config.Adapts(module):
			return promise{name, "target_modules", false}, true
		case isBias && (config.Bias == "all" || config.Bias == "lora_only" && config.TargetsKnown() && config.Adapts(module)):
			return promise{name, "bias", true}, true
		}
		return promise{}, false
	}
	return func(yield func(promise) bool) {
		for _, p := range g.model.parameters() {
			name := f.nameOf(p, HuggingFace)
			if rooted {
				name = f.Roots[HuggingFace] + name
			}
			if promised, ok := promiseOf(name, len(g.model.sizes.shapeIn(p.rule, HuggingFace)) > 1); ok && !yield(promised) {
				return
			}
		}
		if promised, ok := promiseOf(f.HeadName(), true); rooted && ok {
			yield(promised)
		}
	}
}
