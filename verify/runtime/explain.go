package runtime

import (
	"fmt"
	"math"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
)

// Explanation says what a runtime does with a directory.
type Explanation struct {
	Runtime string `json:"runtime"` // name of the runtime
	Loads   bool   `json:"loads"`   // it loads the directory
	// DivergesAt is the first position at which a prompt that is read at once, without cache, gets other logits than the
	// original's, beyond rounding and what Directory.Lost names; nil for never, if the directory is not loaded, or if there is nothing to compare with.
	DivergesAt  *int     `json:"diverges_at"`
	NotCompared bool     `json:"not_compared,omitempty"` // the original does not compute the model, and it computes what config.json states
	Reasons     []string `json:"reasons"`                // sentences: why it does not load, where it diverges, what it ignores
	Cases       []Fact   `json:"cases"`                  // what caches, lengths of the prompt and packed rows change

	random bool // it does not load the weights, and runs all the same
}

// unloaded says what the runtime does with a directory that it does not load. of is " of the source", or "" for the only directory.
func (e *Explanation) unloaded(of string) string {
	switch {
	case e.random && of == "":
		return "takes random weights instead of the directory's"
	case e.random:
		return "takes random weights instead of those" + of
	}
	return "does not load the directory" + of
}

// Fact says what a runtime does with some prompts.
type Fact struct {
	Runtime string `json:"runtime"` // name of the runtime
	Prompt  string `json:"prompt"`  // which prompts
	Cache   string `json:"cache"`   // "with", "without" or "either"
	Does    string `json:"does"`
	AsOrig  bool   `json:"as_original"` // it computes the same as the original, but for what Does says that it is apart from
}

// Explain says what each runtime does with a directory.
func Explain(d *Directory) []Explanation {
	var all []Explanation
	for _, r := range All {
		all = append(all, r.Explain(d))
	}
	return all
}

// Explain says what the runtime does with a directory.
func (r *Runtime) Explain(d *Directory) Explanation { return r.examine(d).Explanation }

func (r *Runtime) examine(d *Directory) *explainer {
	x := &explainer{Directory: d, runtime: r, window: d.Original.AttentionWindow, size: d.Written.AttentionWindow, own: -1,
		Explanation: Explanation{Runtime: r.Name, Loads: true, Reasons: []string{}, Cases: []Fact{}}}
	if problem := d.weightsNotFound(r); problem != "" {
		x.refuses("%s", problem)
	} else if d.lacksConfig && r.weights != nil {
		x.refuses("there is no config.json")
	} else if d.unnamed && r.weights != nil {
		x.refuses("it does not find these names: the tensors have the names of the original beside config.json")
		x.random = r.random
	} else if problem := namesNotFound("it", d.misnamed(r)); problem != "" && r.weights != nil {
		x.refuses("%s", problem)
		x.random = r.random
	}
	explainQuantized(x)
	r.explain(x)
	switch lost := apart(x); {
	case lost == "" || !x.Loads || x.NotCompared:
	case x.DivergesAt == nil:
		x.reason("the same as the original%s", lost)
	case *x.DivergesAt > 0:
		x.reason("up to there the same as the original%s", lost)
	}
	return x
}

// Explain says what each runtime does with the directory of the model, or with that of a plain conversion of it.
func (m *Model) Explain() ([]Explanation, error) {
	d, err := m.Directory()
	if err != nil {
		return nil, err
	}
	problem, err := NamesNotFound(m.Found)
	if err != nil {
		return nil, err
	}
	d.unnamed = problem != ""
	return Explain(d), nil
}

// explainer gathers what one runtime does with a directory.
type explainer struct {
	*Directory
	Explanation

	runtime *Runtime
	window  int64 // of the original
	size    int64 // attention_window_size, as transformers 5 reads it
	own     int   // the first position at which something else than the window is at fault; -1 for none
}

// reason adds a sentence that changes neither Loads nor DivergesAt.
func (x *explainer) reason(format string, args ...any) {
	x.Reasons = append(x.Reasons, fmt.Sprintf(format, args...))
}

// refuses says that the directory does not load, and why.
func (x *explainer) refuses(format string, args ...any) {
	if x.Loads {
		x.Reasons = nil // others do not matter
	}
	x.Loads, x.DivergesAt, x.random = false, nil, false
	x.reason(format, args...)
}

// diverges says from which position on the logits are others, and why: a scale, a constant, a rotation or a tensor.
func (x *explainer) diverges(at int, format string, args ...any) {
	if !x.Loads {
		return
	}
	if x.own < 0 || at < x.own {
		x.own = at
	}
	x.sees(int64(x.own), format, args...)
}

// sees says from which position on attention sees other tokens.
func (x *explainer) sees(at int64, format string, args ...any) {
	position := int(at)
	if x.DivergesAt == nil || position < *x.DivergesAt {
		x.DivergesAt = &position
	}
	x.reason(format, args...)
}

// wrong reports whether the runtime does not compute this model at all, whatever the prompt, or the original does not. It adds that as the only case.
func (x *explainer) wrong() bool {
	if !x.Loads {
		x.add("any", "either", x.unloaded(""), false)
		return true
	}
	switch {
	case x.own < 0 && x.uncomputed:
		x.NotCompared = true
		x.reason(notCompared)
		x.add("any", "either", notCompared, false)
		return true
	case x.own < 0:
		return false
	}
	cache := "either"
	if x.own > 0 && x.runtime.Semantics == reference.Transformers4 { // its cache is wrong in other ways too
		cache = "without"
	}
	x.add("any", cache, fmt.Sprintf("diverges from position %d on: %s", x.own, strings.Join(x.Reasons, "; ")), false)
	return true
}

const notCompared = "not compared: the original does not compute the model"

// add adds a case.
func (x *explainer) add(prompt, cache, does string, asOriginal bool) {
	if asOriginal {
		end := strings.IndexAny(does+";", ":;") // of what is the same
		does = does[:end] + apart(x) + does[end:]
	}
	x.Cases = append(x.Cases, Fact{x.runtime.Name, prompt, cache, does, asOriginal})
}

// needs says which of the fields that the runtime needs at the top level of config.json are not there.
func (x *explainer) needs(names ...string) {
	if missing := x.missing(names...); len(missing) > 0 {
		x.refuses("it needs %s at the top level of config.json", strings.Join(missing, ", "))
	}
}

// refusesFields says which fields of config.json keep a version of transformers from loading the directory: those that it refuses.
func (x *explainer) refusesFields(isRefused func(*hfconfig.Refusal) bool) {
	for _, r := range hfconfig.Refusals(x.Fields) {
		switch {
		case !isRefused(&r):
		case r.Field == "model_type":
			x.refuses("it needs model_type in config.json, or it takes the family from the name of the directory")
		default:
			x.refuses("it wants %s of config.json to be %s, and has %s there", r.Field, r.Wants, r.Shown())
		}
	}
}

// visible returns how many tokens attention sees in a long document if it sees keys of them, and the position from which on that is
// another number than in the original; -1 for never.
func (x *explainer) visible(keys int64) (at int64) {
	if keys == x.window+1 {
		return -1
	}
	return min(keys, x.window+1)
}

// compareWindows says how the number of tokens that attention sees, keys, differs from the original's.
func (x *explainer) compareWindows(keys int64) string {
	switch d := x.window + 1 - keys; {
	case d == 1:
		return "one less than the original"
	case d > 1:
		return fmt.Sprintf("%d less than the original", d)
	case d == -1:
		return "one more than the original"
	default:
		return fmt.Sprintf("%d more than the original", -d)
	}
}

// caps says what the runtime makes of a missing soft cap if it always divides by it.
func (x *explainer) caps() {
	if x.runtime.dividesByZeroCap && x.Written.LogitsSoftCap == 0 {
		none, _ := huggingface.NoSoftCap(x.DType)
		x.diverges(0, "all logits are zero, because it divides by logits_soft_cap, which is 0 in config.json; %.0f there would stand for none", none)
	}
}

// ZeroLogits says why all logits of a model are zero as a runtime of the semantics computes them; "" if they are not.
func ZeroLogits(m *Model, s reference.Semantics) string {
	for _, r := range All {
		if r.Semantics == s && r.dividesByZeroCap && m.ConfigUnder(s).LogitsSoftCap == 0 {
			return fmt.Sprintf("all logits are zero, because the soft cap of logits is 0 and %s divides by it", r.Title)
		}
	}
	return ""
}

// losesCap adds what becomes of logits in float16 if a large soft cap stands for none. does is about them, with %.0f for the cap.
func (x *explainer) losesCap(does string) {
	if x.Original.LogitsSoftCap == 0 && x.Written.LogitsSoftCap != 0 {
		x.add("any, in float16", "either", fmt.Sprintf("logits "+does, x.Written.LogitsSoftCap), false)
	}
}

// losesDigits is that of a runtime that takes the cap in float32.
const losesDigits = "lose digits: divided by %.0f, the soft cap that stands for none, they leave the range of float16"

// scalesInType says what becomes of embeddings whose factor is held in their own type.
func (x *explainer) scalesInType() {
	width := x.Original.Width
	have, want := x.runtime.Semantics.EmbeddingScale(int(width), x.DType), huggingface.EmbeddingScale(width)
	if math.Abs(have/want-1) > negligible {
		x.diverges(0, "multiplies embeddings by %.6g, sqrt(%d) in %s, where the original rounds it to bfloat16, %.6g; with bfloat16 weights both take that", have, width, x.DType, want)
	}
}

// Facts returns the cases of all runtimes.
func Facts(all []Explanation) []Fact {
	var facts []Fact
	for _, e := range all {
		facts = append(facts, e.Cases...)
	}
	return facts
}

// tokens writes a range of prompt lengths.
func tokens(from, to int64) string {
	if from == to {
		return text.Count(from, "token")
	}
	return fmt.Sprintf("%d to %d tokens", from, to)
}

func upTo(n int64) string { return "up to " + text.Count(n, "token") }

func moreThan(n int64) string { return "more than " + text.Count(n, "token") }
