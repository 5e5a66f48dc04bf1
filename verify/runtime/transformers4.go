package runtime

import (
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
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
	random:           true,
	configure: func(c *model.Config, stated *hfconfig.Config) {
		if stated != nil && stated.Rope != stated.Rope4 {
			c.Numerics.RopeTheta, c.Numerics.RotaryFactor = stated.Rope4.Theta, stated.Rope4.PartialFactor
		}
	},
	weights: transformersWeights,
	finds:   func(d *Directory, n Misnamed) bool { return d.lacksRoot && d.root+n.Stored == n.Wanted },
	explain: func(x *explainer) {
		if f := x.Stated.HiddenActivation; slices.Contains(hfconfig.NewActivations, f) {
			x.refuses("it has no hidden_activation %s", f)
		}
		x.refusesFields(func(r *hfconfig.Refusal) bool { return r.Older })
		if x.attends() && !x.fitting() {
			x.diverges(0, "every pass fails, because the model is not as wide as %s of %d channels", text.Count(x.Stated.NumAttentionHeads, "head"), x.Stated.HeadDim)
		}
		if x.ByHead {
			x.diverges(0, "leaves the embedding without values, because only the output head is stored: every pass fails")
		}
		x.caps()
		if x.attends() {
			x.transformers4Rotation()
		}
		if x.own != 0 && x.Loads {
			transformers4OneToken(x)
		}
		if x.own > 0 {
			transformers4RotatedCache(x)
		}
		if x.wrong() {
			return
		}
		if x.attends() {
			x.transformers4Attention()
		} else {
			x.add("2 tokens and more", "with", "as the original, decoding too", true)
			x.add("any", "without", "as the original", true)
		}
		packed := "position 0 starts the recurrence anew, but neither convolution nor attention"
		if !x.recurs() {
			packed = "position 0 does not start attention anew"
		}
		x.add("packed rows", "either", packed, false)
		x.losesCap(losesDigits)
	},
}

// transformers4Rotation says what becomes of the parameters of the rotary embedding, which it reads at the top level.
func (x *explainer) transformers4Rotation() {
	newer, older := x.Stated.Rope, x.Stated.Rope4
	switch rotation := x.Stated.Rotation4(older.PartialFactor); {
	case rotation == hfconfig.RotationFails:
		x.diverges(0, "every pass fails, because it cuts heads in two whatever partial_rotary_factor is, here %g of %d channels", older.PartialFactor, x.Stated.HeadDim)
	case rotation == hfconfig.RotationBroadcasts:
		x.diverges(1, "computes with another number of channels, because it cuts heads in two and rotates pairs, and heads have 2 channels")
	case older.PartialFactor != newer.PartialFactor:
		x.diverges(1, "ignores rope_parameters: rotates %g of each head, where partial_rotary_factor is %g there", older.PartialFactor, newer.PartialFactor)
	}
	if newer.Theta != older.Theta {
		x.diverges(1, "ignores rope_parameters: rotates with the base %s, where rope_theta is %s there", hfconfig.Decimal(older.Theta), hfconfig.Decimal(newer.Theta))
	}
}

// transformers4OneToken says what becomes of a prompt of one token.
func transformers4OneToken(x *explainer) {
	does := "the first call keeps no keys: decoding diverges from position 1 on"
	if x.recurs() {
		does = "crashes in the first call, and later starts from the convolution state that the previous call left"
	}
	x.add("1 token", "with", does, false)
}

// transformers4RotatedCache says what the cache does where heads are rotated in another way.
func transformers4RotatedCache(x *explainer) {
	size, does := x.Stated.AttentionWindowSize4, fmt.Sprintf("diverges from position %d on, as without", x.own)
	if x.Stated.Rotation4(x.Stated.Rope4.PartialFactor) == hfconfig.RotationBroadcasts {
		does = "fails: the cache has room for heads of 2 channels"
	}
	if size > 1 {
		x.add(tokens(2, size), "with", does, false)
	}
	x.add(moreThan(size), "with", "wrong logits from position 0 on", false)
}

// transformers4Attention says what the cache changes. Without it there is no window; with it, attention sees size tokens.
func (x *explainer) transformers4Attention() {
	size := x.Stated.AttentionWindowSize4
	if size > 2 {
		x.add(tokens(2, min(size-1, x.window+1)), "with", fmt.Sprintf("as the original; decoding diverges from position %d on", min(size-1, x.window+1)), true)
	}
	switch at := x.visible(size); {
	case size > x.window+1:
		x.add(tokens(x.window+2, size), "with", fmt.Sprintf("attention sees all tokens: diverges from position %d on", x.window+1), false)
	case at < 0:
		x.add(tokens(size, size), "with", "as the original, decoding too", true)
	case size > 1:
		x.add(tokens(size, size), "with", fmt.Sprintf("as the original; decoding diverges from position %d on", at), true)
	}
	x.add(moreThan(size), "with", "wrong logits from position 0 on", false)
	x.add(upTo(x.window+1), "without", "as the original", true)
	does := fmt.Sprintf("attention has no window: diverges from position %d on, whatever attention_window_size is", x.window+1)
	x.add(moreThan(x.window+1), "without", does, false)
	x.sees(x.window+1, "attention has no window, whatever attention_window_size is")
}
