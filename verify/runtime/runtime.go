// Package runtime says what each runtime computes with a model: the original implementation, and versions of transformers
// that run Hugging Face directories. It knows where a runtime computes something else than the original (Facts, Compare),
// and in which configuration it computes the same (Model.Window).
//
// Every claim was measured with the real runtime. A runtime is one file of this package and one entry of All.
package runtime

import (
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
)

// Runtime is an implementation that runs models.
type Runtime struct {
	Name      string // for programs: "transformers5"
	Title     string // for people: "transformers 5"
	Semantics reference.Semantics

	// keys returns the most tokens that attention sees, the query's own included, for an attention window as
	// the configuration has it. 0 is for no limit.
	keys func(window int) int
	// dividesByZeroCap says that a soft cap of 0 gives logits that are all zero. (In the original, 0 is for no cap.)
	dividesByZeroCap bool
	// facts adds what the runtime does with a model.
	facts func(*facts)
}

// All are the runtimes, the original first.
var All = []*Runtime{Original, Transformers4, Transformers5}

// Names returns the names of All.
func Names() []string {
	var names []string
	for _, r := range All {
		names = append(names, r.Name)
	}
	return names
}

// Parse returns the runtime of that name.
func Parse(name string) (*Runtime, error) {
	for _, r := range All {
		if r.Name == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%q is not one of %s", name, strings.Join(Names(), ", "))
}

// Fact says what a runtime does with a model.
type Fact struct {
	Runtime string `json:"runtime"` // name of the runtime
	Prompt  string `json:"prompt"`  // which prompts
	Cache   string `json:"cache"`   // "with", "without" or "either"
	Does    string `json:"does"`
	AsOrig  bool   `json:"as_original"` // it computes the same as the original
}

// Facts says what each runtime does with a model, by length of the prompt, cache and packed rows. original is the
// model's configuration in the original's terms; written is what config.json says (see Model).
func Facts(original, written *model.Config) []Fact {
	f := &facts{original: original, written: written, window: original.AttentionWindow, size: written.AttentionWindow}
	for _, r := range All {
		f.runtime = r
		if r.dividesByZeroCap && written.LogitsSoftCap == 0 {
			f.add("any", "either", "all logits are zero, because it divides by the soft cap of 0; griffin writes a large power of two instead", false)
			continue
		}
		r.facts(f)
		if r.dividesByZeroCap && original.LogitsSoftCap == 0 {
			f.add("any, in float16", "either", fmt.Sprintf("logits lose digits: divided by %.0f, the soft cap that stands for none, they leave the range of float16", written.LogitsSoftCap), false)
		}
	}
	return f.all
}

// facts gathers the facts of one model.
type facts struct {
	original, written *model.Config
	window, size      int64 // the original's attention window, and attention_window_size of config.json

	runtime *Runtime // whose facts are being added
	all     []Fact
}

func (f *facts) add(prompt, cache, does string, asOriginal bool) {
	f.all = append(f.all, Fact{f.runtime.Name, prompt, cache, does, asOriginal})
}

// matches reports whether transformers 5 attends to the same tokens as the original.
func (f *facts) matches() bool { return f.size == f.window+1 }

// tokens writes a range of prompt lengths.
func tokens(from, to int64) string {
	if from == to {
		return count(int(from), "token")
	}
	return fmt.Sprintf("%d to %d tokens", from, to)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
