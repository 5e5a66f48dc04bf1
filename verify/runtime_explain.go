package verify

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert"
)

// RuntimeFact is what an implementation does with a model.
type RuntimeFact struct {
	Runtime string `json:"runtime"` // "original", "transformers4" or "transformers5"
	Prompt  string `json:"prompt"`  // which prompts
	Cache   string `json:"cache"`   // "with", "without" or "either"
	Does    string `json:"does"`
	AsOrig  bool   `json:"as_original"` // it computes what the original does
}

// ExplainRuntime says what each implementation does with a model, by length of the prompt, cache and
// packed rows: recurrentgemma 1.0.1, transformers 4.57 and 5.23, as they were measured. original is what the
// original computes with, written what config.json says, as Model has them.
func ExplainRuntime(original, written *convert.Config) []RuntimeFact {
	e := explanation{original: original, written: written, w: original.AttentionWindow, size: written.AttentionWindow}
	e.byOriginal()
	for _, explain := range []struct {
		name string
		do   func(add func(prompt, cache, does string, asOriginal bool))
	}{{"transformers4", e.byTransformers4}, {"transformers5", e.byTransformers5}} {
		add := func(prompt, cache, does string, asOriginal bool) {
			e.facts = append(e.facts, RuntimeFact{explain.name, prompt, cache, does, asOriginal})
		}
		if written.LogitsSoftCap == 0 {
			add("any", "either", "all logits are zero, since it divides by the soft cap of 0 (griffin convert writes a large power of two instead)", false)
			continue
		}
		explain.do(add)
		if original.LogitsSoftCap == 0 {
			add("any, in float16", "either", fmt.Sprintf("logits lose digits: divided by the soft cap of %.0f, which stands for none, they leave float16's range", written.LogitsSoftCap), false)
		}
	}
	return e.facts
}

// explanation gathers the facts of one model.
type explanation struct {
	original, written *convert.Config
	w, size           int64 // the attention window, and attention_window_size
	facts             []RuntimeFact
}

func (e *explanation) byOriginal() {
	does := "no attention: nothing depends on a window"
	if e.original.Has(convert.Attention) {
		does = fmt.Sprintf("attention sees %d tokens: its own and %d before it", e.w+1, e.w)
	}
	e.facts = append(e.facts, RuntimeFact{"original", "any", "either", does, true},
		RuntimeFact{"original", "packed rows", "without", "position 0 starts recurrence, convolution and attention anew", true})
}

// span says how long prompts are, or "" where there are none such.
func span(from, to int64) string {
	switch {
	case from > to:
		return ""
	case from == to:
		return countOf(int(from), "token")
	}
	return fmt.Sprintf("%d to %d tokens", from, to)
}

// byTransformers4: with the cache, a prompt that fills it, of attention_window_size tokens, goes on with as many;
// a shorter one loses one when it gets there, and a longer one is rolled wrongly. Without it there is no window.
func (e *explanation) byTransformers4(add func(prompt, cache, does string, asOriginal bool)) {
	add("1 token", "with", "crashes", false)
	if !e.written.Has(convert.Attention) {
		add("any", "without", "as the original", true)
	} else {
		if short := span(2, e.size-1); short != "" {
			add(short, "with", fmt.Sprintf("as the original; decoding parts at position %d", e.size-1), true)
		}
		if e.size == e.w+1 {
			add(span(e.size, e.size), "with", "as the original, decoding too", true)
		} else if e.size > 1 {
			add(span(e.size, e.size), "with", fmt.Sprintf("as the original; decoding parts at position %d", e.size), true)
		}
		add(fmt.Sprintf("more than %d tokens", e.size), "with", "wrong logits from position 0 on", false)
		add(fmt.Sprintf("up to %d tokens", e.w+1), "without", "as the original", true)
		add(fmt.Sprintf("more than %d tokens", e.w+1), "without", fmt.Sprintf("attention has no window: parts at position %d, whatever attention_window_size says", e.w+1), false)
	}
	add("packed rows", "either", "position 0 starts the recurrence anew, but neither convolution nor attention", false)
}

func (e *explanation) byTransformers5(add func(prompt, cache, does string, asOriginal bool)) {
	c := e.written
	switch {
	case !c.Has(convert.Attention):
		add("any", "with", "fails: a model without attention blocks cannot use the cache", false)
		add("any", "without", "as the original", true)
		add("packed rows", "without", "position 0 starts the recurrence anew; the convolution runs on", false)
		return
	case c.Has(convert.Recurrent) && c.LRUWidth != c.Width:
		add("1 token", "with", fmt.Sprintf("crashes, since the recurrence is %d wide and the model %d", c.LRUWidth, c.Width), false)
	case c.Has(convert.Recurrent):
		add("1 token", "with", "starts from the convolution state that the previous call left", false)
	}
	if e.size == e.w+1 {
		add("2 tokens and more", "with", fmt.Sprintf("as the original, decoding too: attention sees %d tokens in both", e.size), true)
		add("any", "without", "as the original", true)
	} else {
		add(fmt.Sprintf("2 to %d tokens", e.size), "with", fmt.Sprintf("as the original; decoding parts at position %d", e.size), true)
		add(fmt.Sprintf("up to %d tokens", e.size), "without", "as the original", true)
		add(fmt.Sprintf("more than %d tokens", e.size), "either", fmt.Sprintf("attention sees %d tokens, one less than the original: parts at position %d", e.size, e.size), false)
	}
	add("packed rows", "without", "position 0 starts the recurrence anew, and attention where position_ids come without a mask; the convolution runs on", false)
	add("packed rows", "with", "position 0 starts the recurrence anew, but neither convolution nor attention", false)
}
