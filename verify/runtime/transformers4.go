package runtime

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
)

// Transformers4 is transformers 4.57. Its semantics are those without the cache, where attention has no window.
//
// With the cache, decoding after a prompt of attention_window_size tokens attends to as many; after a shorter prompt it
// loses one token when the cache is full; a longer prompt is rolled into the cache wrongly.
var Transformers4 = &Runtime{
	Name: "transformers4", Title: "transformers 4", Semantics: reference.Transformers4,
	keys:             func(int) int { return 0 },
	dividesByZeroCap: true,
	facts: func(f *facts) {
		f.add("1 token", "with", "crashes", false)
		if f.written.Has(model.Attention) {
			f.transformers4Attention()
		} else {
			f.add("any", "without", "as the original", true)
		}
		f.add("packed rows", "either", "position 0 starts the recurrence anew, but neither convolution nor attention", false)
	},
}

func (f *facts) transformers4Attention() {
	if f.size > 2 {
		f.add(tokens(2, f.size-1), "with", fmt.Sprintf("as the original; decoding diverges from position %d on", f.size-1), true)
	}
	if f.matches() {
		f.add(tokens(f.size, f.size), "with", "as the original, decoding too", true)
	} else if f.size > 1 {
		f.add(tokens(f.size, f.size), "with", fmt.Sprintf("as the original; decoding diverges from position %d on", f.size), true)
	}
	f.add(fmt.Sprintf("more than %d tokens", f.size), "with", "wrong logits from position 0 on", false)
	f.add(fmt.Sprintf("up to %d tokens", f.window+1), "without", "as the original", true)
	f.add(fmt.Sprintf("more than %d tokens", f.window+1), "without", fmt.Sprintf("attention has no window: diverges from position %d on, whatever attention_window_size is", f.window+1), false)
}
