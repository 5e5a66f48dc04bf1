package runtime

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
)

// Transformers5 is transformers 5.23. Its semantics are those without the cache and with position_ids.
var Transformers5 = &Runtime{
	Name: "transformers5", Title: "transformers 5", Semantics: reference.Transformers5,
	keys:             func(window int) int { return window },
	dividesByZeroCap: true,
	facts: func(f *facts) {
		c := f.written
		switch {
		case !c.Has(model.Attention):
			f.add("any", "with", "fails: a model without attention blocks cannot use the cache", false)
			f.add("any", "without", "as the original", true)
			f.add("packed rows", "without", "position 0 starts the recurrence anew; the convolution runs on", false)
			return
		case c.Has(model.Recurrent) && c.LRUWidth != c.Width:
			f.add("1 token", "with", fmt.Sprintf("crashes, because the recurrence is %d wide and the model %d", c.LRUWidth, c.Width), false)
		case c.Has(model.Recurrent):
			f.add("1 token", "with", "starts from the convolution state that the previous call left", false)
		}
		if f.matches() {
			f.add("2 tokens and more", "with", fmt.Sprintf("as the original, decoding too: attention sees %d tokens in both", f.size), true)
			f.add("any", "without", "as the original", true)
		} else {
			f.add(fmt.Sprintf("2 to %d tokens", f.size), "with", fmt.Sprintf("as the original; decoding diverges from position %d on", f.size), true)
			f.add(fmt.Sprintf("up to %d tokens", f.size), "without", "as the original", true)
			f.add(fmt.Sprintf("more than %d tokens", f.size), "either", fmt.Sprintf("attention sees %d tokens, one less than the original: diverges from position %d on", f.size, f.size), false)
		}
		f.add("packed rows", "without", "position 0 starts the recurrence anew, and attention where position_ids come without a mask; the convolution runs on", false)
		f.add("packed rows", "with", "position 0 starts the recurrence anew, but neither convolution nor attention", false)
	},
}
