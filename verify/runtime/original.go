package runtime

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
)

// Original is google-deepmind/recurrentgemma 1.0.1, in JAX and in torch.
var Original = &Runtime{
	Name: "original", Title: "the original", Semantics: reference.Original,
	keys: func(window int) int { return window + 1 },
	facts: func(f *facts) {
		does := "no attention: nothing depends on a window"
		if f.original.Has(model.Attention) {
			does = fmt.Sprintf("attention sees %d tokens: its own and %d before it", f.window+1, f.window)
		}
		f.add("any", "either", does, true)
		f.add("packed rows", "without", "position 0 starts recurrence, convolution and attention anew", true)
	},
}
