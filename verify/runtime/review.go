package runtime

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
)

// Review holds a directory that is to be written against runtimes that it is to match. It returns in one sentence each where these
// still differ from the original and what becomes of the others, or without any to match where transformers 5 diverges. A runtime that
// cannot load the directory or diverges in a prompt that is read at once is a *convert.OptionError, because no configuration mends it.
func Review(d *Directory, match convert.Runtimes) ([]string, error) {
	all := Explain(d)
	if d.uncomputed && match != convert.NoRuntime {
		return nil, &convert.OptionError{Option: "MatchRuntime", Problem: "the original implementation does not compute the model, and has no logits to match: " + strings.Join(d.Beyond, "; ")}
	}
	if match == convert.NoRuntime {
		return noteTransformers5(d, all), nil
	}
	if err := checkMatch(d, all, match); err != nil {
		return nil, err
	}
	var notes []string
	for _, e := range all {
		title := e.title()
		switch {
		case e.Runtime == Original.Name:
		case slices.Contains(match.Names(), e.Runtime):
			notes = append(notes, d.ifAssumed()+title+" computes the logits of the original at every position, apart from "+strings.Join(append([]string{"rounding"}, d.Lost()...), " and ")+e.remains())
		case !e.Loads:
			notes = append(notes, fmt.Sprintf("%s %s: %s", title, e.unloaded(""), strings.Join(e.Reasons, "; ")))
		case e.DivergesAt != nil:
			notes = append(notes, fmt.Sprintf(d.ifAssumed()+"%s loads the directory and diverges from the original from position %d on: %s", title, *e.DivergesAt, strings.Join(e.Reasons, "; ")))
		}
	}
	return notes, nil
}

// WindowAlone reports whether transformers 5 would agree with the original if attention_window_size were one more than the window.
func (d *Directory) WindowAlone() bool {
	x := Transformers5.examine(d)
	return x.Loads && x.DivergesAt != nil && x.own < 0
}

// title returns the name for people of the runtime.
func (e *Explanation) title() string {
	for _, r := range All {
		if r.Name == e.Runtime {
			return r.Title
		}
	}
	return e.Runtime
}

// remains lists the cases in which a runtime that agrees otherwise does not.
func (e *Explanation) remains() string {
	var cases []string
	for _, f := range e.Cases {
		if !f.AsOrig {
			prompt := f.Prompt
			if f.Cache != "either" {
				prompt += " " + f.Cache + " cache"
			}
			cases = append(cases, fmt.Sprintf("%s: %s", prompt, f.Does))
		}
	}
	if cases == nil {
		return ""
	}
	return "; what remains: " + strings.Join(cases, "; ")
}

// ifAssumed begins a sentence that is true only if the attention window is that of the original.
func (d *Directory) ifAssumed() string {
	if d.assumed {
		return fmt.Sprintf("if %d is the original's attention window, ", d.Original.AttentionWindow)
	}
	return ""
}

// noteTransformers5 says where transformers 5 diverges.
func noteTransformers5(d *Directory, all []Explanation) []string {
	i := slices.IndexFunc(all, func(e Explanation) bool { return e.Runtime == Transformers5.Name })
	if e := all[i]; e.Loads && e.DivergesAt != nil {
		return []string{fmt.Sprintf(d.ifAssumed()+"transformers 5 diverges from the original from position %d on: %s", *e.DivergesAt, strings.Join(e.Reasons, "; "))}
	}
	return nil
}

// checkMatch refuses runtimes that do not agree.
func checkMatch(d *Directory, all []Explanation, match convert.Runtimes) error {
	var problems []string
	for _, e := range all {
		switch {
		case !slices.Contains(match.Names(), e.Runtime), e.agrees():
		case !e.Loads:
			problems = append(problems, fmt.Sprintf("%s does not load the model: %s", e.Runtime, strings.Join(e.Reasons, "; ")))
		default:
			problem := fmt.Sprintf("%s diverges from position %d on: %s", e.Runtime, *e.DivergesAt, strings.Join(e.Reasons, "; "))
			if *e.DivergesAt > 1 {
				problem += fmt.Sprintf("; it agrees in documents of %s", upTo(int64(*e.DivergesAt)))
			}
			problems = append(problems, problem)
		}
	}
	if problems == nil {
		return nil
	}
	err := &convert.OptionError{Option: "MatchRuntime", Problem: "no configuration makes these agree with the original: " + strings.Join(problems, "; ")}
	if others := matching(d); others != nil {
		err.Hint = "a configuration for " + strings.Join(others, ",") + " can be written"
	}
	return err
}

// agrees reports whether the runtime computes the original's logits in every prompt that is read at once.
func (e *Explanation) agrees() bool { return e.Loads && e.DivergesAt == nil }

// matching returns the names of the runtimes for which there is a configuration with which they agree.
func matching(d *Directory) []string {
	larger := *d
	larger.Written.AttentionWindow = d.Original.AttentionWindow + 1
	var names []string
	for _, e := range Explain(&larger) {
		if e.Runtime != Original.Name && e.agrees() {
			names = append(names, e.Runtime)
		}
	}
	return names
}
