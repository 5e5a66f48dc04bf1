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
// packed rows: recurrentgemma 1.0.1, transformers 4.57 and 5.23, as they were measured.
func ExplainRuntime(c *convert.Config) []RuntimeFact {
	facts := explainOriginal(c)
	facts = append(facts, explainTransformers4(c)...)
	return append(facts, explainTransformers5(c)...)
}

func explainOriginal(c *convert.Config) []RuntimeFact {
	facts := []RuntimeFact{{"original", "any", "either", "no attention: nothing depends on a window", true}}
	if c.Has(convert.Attention) {
		facts[0].Does = fmt.Sprintf("attention sees %d tokens: its own and %d before it", c.AttentionWindow+1, c.AttentionWindow)
	}
	return append(facts, RuntimeFact{"original", "packed rows", "without", "position 0 starts recurrence, convolution and attention anew", true})
}

func explainTransformers4(c *convert.Config) []RuntimeFact {
	const name = "transformers4"
	if f := zeroCap(c, name); f != nil {
		return f
	}
	w := c.AttentionWindow
	facts := []RuntimeFact{{name, "1 token", "with", "crashes", false}}
	if c.Has(convert.Attention) {
		facts = append(facts,
			RuntimeFact{name, fmt.Sprintf("2 to %d tokens", w), "with", fmt.Sprintf("as the original; decoding parts at position %d", w-1), true},
			RuntimeFact{name, fmt.Sprintf("more than %d tokens", w), "with", "wrong logits from position 0 on", false},
			RuntimeFact{name, fmt.Sprintf("up to %d tokens", w+1), "without", "as the original", true},
			RuntimeFact{name, fmt.Sprintf("more than %d tokens", w+1), "without", fmt.Sprintf("attention has no window: parts at position %d", w+1), false})
	} else {
		facts = append(facts, RuntimeFact{name, "any", "without", "as the original", true})
	}
	return append(facts, RuntimeFact{name, "packed rows", "either", "position 0 starts the recurrence anew, but neither convolution nor attention", false})
}

func explainTransformers5(c *convert.Config) []RuntimeFact {
	const name = "transformers5"
	if f := zeroCap(c, name); f != nil {
		return f
	}
	w := c.AttentionWindow
	var facts []RuntimeFact
	switch {
	case !c.Has(convert.Attention):
		facts = append(facts, RuntimeFact{name, "any", "with", "fails: a model without attention blocks cannot use the cache", false},
			RuntimeFact{name, "any", "without", "as the original", true})
	case c.Has(convert.Recurrent) && c.LRUWidth != c.Width:
		facts = append(facts, RuntimeFact{name, "1 token", "with", fmt.Sprintf("crashes, since the recurrence is %d wide and the model %d", c.LRUWidth, c.Width), false})
	case c.Has(convert.Recurrent):
		facts = append(facts, RuntimeFact{name, "1 token", "with", "starts from the convolution state that the previous call left", false})
	}
	if c.Has(convert.Attention) {
		facts = append(facts, RuntimeFact{name, fmt.Sprintf("2 to %d tokens", w), "with", fmt.Sprintf("as the original; decoding parts at position %d", w), true},
			RuntimeFact{name, fmt.Sprintf("up to %d tokens", w), "without", "as the original", true},
			RuntimeFact{name, fmt.Sprintf("more than %d tokens", w), "either", fmt.Sprintf("attention sees %d tokens, one less than the original: parts at position %d", w, w), false},
			RuntimeFact{name, "packed rows", "without", "position 0 starts the recurrence anew, and attention where position_ids come without a mask; the convolution runs on", false},
			RuntimeFact{name, "packed rows", "with", "position 0 starts the recurrence anew, but neither convolution nor attention", false})
		return facts
	}
	return append(facts, RuntimeFact{name, "packed rows", "without", "position 0 starts the recurrence anew; the convolution runs on", false})
}

// zeroCap is all there is to say of a soft cap of 0.
func zeroCap(c *convert.Config, name string) []RuntimeFact {
	if c.LogitsSoftCap != 0 {
		return nil
	}
	return []RuntimeFact{{name, "any", "either", "all logits are zero, since it divides by the soft cap of 0 (griffin convert writes a large power of two instead)", false}}
}
