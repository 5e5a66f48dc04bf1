// Package runtime says what each runtime computes with a model: the original implementation, and the programs that run
// Hugging Face directories. It knows whether a runtime loads a directory, where it computes something else than the
// original and why (Explain, Compare), and in which configuration it computes the same (Model.Window).
//
// A runtime is one file of this package and one entry of All. testdata/interop/runtimes.py tests what those files say:
// it makes models, asks griffin, and runs them in the real runtimes. What they say about float16, max_seq_len, other activation
// functions in candle and extra tensors in mlx-lm is from the sources of the runtimes.
package runtime

import (
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/reference"
)

// Runtime is an implementation that runs models.
type Runtime struct {
	Name      string // for programs: "transformers5"
	Title     string // for people: "transformers 5"
	Version   string // that was measured
	Semantics reference.Semantics

	// keys returns the most tokens that attention sees, the query's own included, for an attention window as
	// the configuration has it. 0 is for no limit.
	keys func(window int) int
	// dividesByZeroCap says that a soft cap of 0 gives logits that are all zero. (In the original, 0 is for no cap.)
	dividesByZeroCap bool
	// configure changes the configuration that transformers 5 takes to what the runtime takes; nil if it is the same. stated is the
	// config.json, nil if there is none.
	configure func(c *model.Config, stated *hfconfig.Config)
	// weights are the names of files of weights, or patterns of names, that the runtime looks for in a directory, in its order; nil if it reads none.
	weights []string
	// finds reports whether the runtime finds a tensor of a directory under another name than transformers saves; nil if it never does.
	finds func(d *Directory, n Misnamed) bool
	// random says that the runtime takes random weights in place of those that it does not find by their names, where others fail.
	random bool
	// explain adds what the runtime does with a directory.
	explain func(*explainer)
}

// All are the runtimes, the original first.
var All = []*Runtime{Original, Transformers4, Transformers5, MLX, Candle}

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
