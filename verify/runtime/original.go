package runtime

import (
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/reference"
)

// Original is google-deepmind/recurrentgemma 1.0.1, in JAX and in torch. It does not read Hugging Face directories; what is said of it
// is said of the checkpoint in its own layout.
var Original = &Runtime{
	Name: "original", Title: "the original", Version: "1.0.1", Semantics: reference.Original,
	keys: func(window int) int { return window + 1 },
	explain: func(x *explainer) {
		if len(x.Beyond) > 0 {
			x.refuses("it cannot compute the model: %s", strings.Join(x.Beyond, "; "))
		}
		if x.wrong() {
			return
		}
		does := "no attention: nothing depends on a window"
		if x.attends() {
			does = fmt.Sprintf("attention sees %d tokens: its own and %d before it", x.window+1, x.window)
		}
		x.add("any", "either", does, true)
		x.add("packed rows", "without", "position 0 starts recurrence, convolution and attention anew", true)
	},
}
