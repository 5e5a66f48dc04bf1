package runtime

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/reference"
)

// Transformers4 is transformers 4.57. Its semantics are those without the cache, where attention has no window.
//
// It reads rope_theta, partial_rotary_factor and attention_window_size at the top level of config.json only, and ignores sliding_window,
// rope_parameters and layer_types.
//
// With the cache, decoding after a prompt of attention_window_size tokens attends to as many; after a shorter prompt it
// loses one token when the cache is full; a longer prompt is rolled into the cache wrongly.
var Transformers4 = &Runtime{
	Name: "transformers4", Title: "transformers 4", Version: "4.57.3", Semantics: reference.Transformers4,
	keys:             func(int) int { return 0 },
	dividesByZeroCap: true,
	explain: func(x *explainer) {
		x.caps()
		if x.Written.SeparateHead && x.Fields["tie_word_embeddings"] != false {
			x.diverges(0, "ignores the output head of its own, because tie_word_embeddings is not false")
		}
		if x.attends() {
			x.transformers4Rotation()
		}
		if x.wrong() {
			return
		}
		if x.recurs() {
			x.add("1 token", "with", "crashes in the first call, and later starts from the convolution state that the previous call left", false)
		} else {
			x.add("1 token", "with", "the first call keeps no keys: decoding diverges from position 1 on", false)
		}
		if x.attends() {
			x.transformers4Attention()
		} else {
			x.add("any", "without", "as the original", true)
		}
		x.add("packed rows", "either", "position 0 starts the recurrence anew, but neither convolution nor attention", false)
		x.losesCap()
	},
}

func (x *explainer) transformers4Rotation() {
	factor, theta := x.numberOr("partial_rotary_factor", 0.5), x.numberOr("rope_theta", 10000)
	switch {
	case factor != 0.5:
		x.diverges(0, "every pass fails, because it cuts heads in half whatever partial_rotary_factor is, here %g", factor)
	case factor != x.rotaryFactor():
		x.diverges(1, "ignores rope_parameters: rotates half of each head, where partial_rotary_factor is %g there", x.rotaryFactor())
	}
	if theta != x.theta() {
		x.diverges(1, "ignores rope_parameters: rotates with the base %g, where rope_theta is %g there", theta, x.theta())
	}
}

// transformers4Attention says what the cache changes. Without it there is no window; with it, attention sees size tokens.
func (x *explainer) transformers4Attention() {
	size := int64(x.numberOr("attention_window_size", hfconfig.DefaultWindow))
	if size > 2 {
		x.add(tokens(2, size-1), "with", fmt.Sprintf("as the original; decoding diverges from position %d on", min(size-1, x.window+1)), true)
	}
	switch at := x.visible(size); {
	case at < 0:
		x.add(tokens(size, size), "with", "as the original, decoding too", true)
	case size > 1:
		x.add(tokens(size, size), "with", fmt.Sprintf("as the original; decoding diverges from position %d on", at), true)
	}
	x.add(fmt.Sprintf("more than %d tokens", size), "with", "wrong logits from position 0 on", false)
	x.add(fmt.Sprintf("up to %d tokens", x.window+1), "without", "as the original", true)
	does := fmt.Sprintf("attention has no window: diverges from position %d on, whatever attention_window_size is", x.window+1)
	x.add(fmt.Sprintf("more than %d tokens", x.window+1), "without", does, false)
	x.sees(x.window+1, "attention has no window, whatever attention_window_size is")
}
