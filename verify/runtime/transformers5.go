package runtime

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
)

// Transformers5 is transformers 5.23. Its semantics are those without the cache and with position_ids.
var Transformers5 = &Runtime{
	Name: "transformers5", Title: "transformers 5", Version: "5.23.0", Semantics: reference.Transformers5,
	keys:             func(window int) int { return window },
	dividesByZeroCap: true,
	random:           true,
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
		from, all := int64(1), "any" // the prompts that the cache keeps
		if x.recurs() {
			from, all = 2, "2 tokens and more"
		}
		if at := x.visible(x.size); at < 0 {
			x.add(all, "with", fmt.Sprintf("as the original, decoding too: attention sees %s in both", text.Count(x.size, "token")), true)
			x.add("any", "without", "as the original", true)
		} else {
			if at >= from {
				x.add(tokens(from, at), "with", fmt.Sprintf("as the original; decoding diverges from position %d on", at), true)
			}
			x.add(upTo(at), "without", "as the original", true)
			sees := fmt.Sprintf("attention sees %s, %s", text.Count(x.size, "token"), x.compareWindows(x.size))
			x.add(moreThan(at), "either", fmt.Sprintf("%s: diverges from position %d on", sees, at), false)
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
