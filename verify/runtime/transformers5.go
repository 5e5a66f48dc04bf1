package runtime

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/reference"
)

// Transformers5 is transformers 5.23. Its semantics are those without the cache and with position_ids.
var Transformers5 = &Runtime{
	Name: "transformers5", Title: "transformers 5", Version: "5.23.0", Semantics: reference.Transformers5,
	keys:             func(window int) int { return window },
	dividesByZeroCap: true,
	weights:          transformersWeights,
	finds: func(d *Directory, n Misnamed) bool { // it adds the root to a name, or removes it, if it has a tensor of that name then
		return d.root+n.Stored == n.Wanted || n.Stored == d.root+n.Wanted
	},
	explain: func(x *explainer) {
		x.transformers5Loads()
		x.caps()
		if x.wrong() {
			return
		}
		switch {
		case !x.attends():
			x.add("any", "with", "fails: a model without attention blocks cannot use the cache", false)
			x.add("any", "without", "as the original", true)
			x.add("packed rows", "without", "position 0 starts the recurrence anew; the convolution runs on", false)
			x.losesCap(losesDigits)
			return
		case x.recurs() && x.Original.LRUWidth != x.Original.Width:
			x.add("1 token", "with", fmt.Sprintf("crashes in the first call, because the recurrence is %d wide and the model %d, and later starts from the convolution state that the previous call left", x.Original.LRUWidth, x.Original.Width), false)
		case x.recurs():
			x.add("1 token", "with", "starts from the convolution state that the previous call left", false)
		}
		if at := x.visible(x.size); at < 0 {
			x.add("2 tokens and more", "with", fmt.Sprintf("as the original, decoding too: attention sees %d tokens in both", x.size), true)
			x.add("any", "without", "as the original", true)
		} else {
			x.add(fmt.Sprintf("2 to %d tokens", at), "with", fmt.Sprintf("as the original; decoding diverges from position %d on", at), true)
			x.add(fmt.Sprintf("up to %d tokens", at), "without", "as the original", true)
			sees := fmt.Sprintf("attention sees %d tokens, %s", x.size, x.compareWindows(x.size))
			x.add(fmt.Sprintf("more than %d tokens", at), "either", fmt.Sprintf("%s: diverges from position %d on", sees, at), false)
			x.sees(at, "%s", sees)
		}
		if x.recurs() {
			x.add("packed rows", "without", "position 0 starts the recurrence anew, and attention where position_ids come without a mask; the convolution runs on", false)
			x.add("packed rows", "with", "position 0 starts the recurrence anew, but neither convolution nor attention", false)
		} else {
			x.add("packed rows", "without", "position 0 starts attention anew where position_ids come without a mask", x.visible(x.size) < 0)
			x.add("packed rows", "with", "position 0 does not start attention anew", false)
		}
		x.losesCap(losesDigits)
	},
}

// transformers5Loads says which fields of config.json keep it from loading the directory.
func (x *explainer) transformers5Loads() {
	for _, name := range hfconfig.Unsettable {
		if x.Stated.Has(name) {
			x.refuses("config.json has %s, which it derives from block_types and cannot set", name)
		}
	}
	x.refusesFields(func(r *hfconfig.Refusal) bool { return r.Newer })
}
