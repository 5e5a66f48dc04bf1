package diff

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
	"github.com/griffin-ckpt/griffin/verify/internal/float"
)

// Result is how two checkpoints differ.
type Result struct {
	// Equal is true if neither checkpoint has anything that the other lacks, under another name or not at
	// all, and everything is the same: within the tolerance if there is one, otherwise bit for bit. A quantised
	// copy equals only a copy of the same scheme.
	Equal     bool               `json:"equal"`
	Verdict   string             `json:"verdict"`             // as it is printed, with what was allowed and left out
	Tolerance string             `json:"tolerance,omitempty"` // as ParseTolerance reads it; "" for the same bits
	Only      []string           `json:"only,omitempty"`      // patterns of the names of the tensors that were compared
	Map       string             `json:"map,omitempty"`       // file of the rules by which A's tensors were renamed first
	Griffin   string             `json:"griffin"`             // version of the tool
	A         Side               `json:"a"`
	B         Side               `json:"b"`
	Summary   Summary            `json:"summary"`
	Config    []ConfigDifference `json:"config"`  // how the configurations differ in meaning
	Tensors   []TensorDiff       `json:"tensors"` // every pair, and every tensor without counterpart; what matters most first
	Notes     []string           `json:"notes,omitempty"`

	aligned bool // layers of B have the numbers of those of A that they are compared with
}

// Answer is the result in a few words, with what was allowed and left out: "equal", "different",
// "equal within rel=0.5 (192 elements differ bitwise)", "equal in the 53 of 484 tensors that were selected".
func (r *Result) Answer() string { return r.answer(r.Allowed()) }

// Kind is Answer without the numbers of elements, which differ between the steps of a training run: "equal within rel=0.5".
func (r *Result) Kind() string { return r.answer(r.Within()) }

func (r *Result) answer(allowed string) string {
	if !r.Equal {
		return "different"
	}
	words := strings.TrimSpace("equal " + allowed)
	if selection := r.Selection(); selection != "" {
		words += " in " + selection
	}
	if r.Map != "" {
		words += ", renamed by " + text.Printable(filepath.Base(r.Map))
	}
	if n := r.Summary.LeftOut; n > 0 {
		words += ", without " + text.Agree(n, "tensor", "that was", "that were") + " not read"
	}
	return words
}

// Selection says how many tensors were selected with Only: "the 53 of 484 tensors that were selected"; "" if nothing was.
func (r *Result) Selection() string {
	if len(r.Only) == 0 {
		return ""
	}
	n := r.Summary.Tensors
	return fmt.Sprintf("the %s of %s that were selected", text.Grouped(int64(n)), text.Count(n+r.Summary.Unselected, "tensor"))
}

// Within is Allowed without numbers: "within rel=0.5".
func (r *Result) Within() string {
	within, _, _ := strings.Cut(r.Allowed(), " (")
	return within
}

// Allowed says what the tensors that are equal owe to the tolerance: "within rel=0.5 (192 elements differ bitwise)"; "" if they
// owe nothing to it.
func (r *Result) Allowed() string {
	differing, dtypes := int64(0), int64(0)
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if !t.Same() {
			continue
		}
		if t.Metrics != nil {
			differing += t.Metrics.Differing
		}
		if t.DTypeB != "" {
			dtypes++
		}
	}
	var parts []string
	if differing > 0 {
		parts = append(parts, text.Agree(differing, "element", "differs bitwise", "differ bitwise"))
	}
	if dtypes > 0 {
		parts = append(parts, text.Agree(dtypes, "tensor", "has another dtype", "have another dtype"))
	}
	if r.Tolerance == "" || parts == nil {
		return ""
	}
	return fmt.Sprintf("within %s (%s)", r.Tolerance, strings.Join(parts, ", "))
}

// NotAllowed says how many elements are outside the tolerance: "9 of 16 elements that differ bitwise are beyond rel=0.5"; "" if
// none is.
func (r *Result) NotAllowed() string {
	s := &r.Summary
	switch {
	case s.Beyond == nil || *s.Beyond == 0:
		return ""
	case s.Differing == 1:
		return "the only element that differs bitwise is beyond " + r.Tolerance
	case *s.Beyond == 1:
		return fmt.Sprintf("1 of %s elements that differ bitwise is beyond %s", text.Grouped(s.Differing), r.Tolerance)
	}
	return fmt.Sprintf("%s of %s elements that differ bitwise are beyond %s", text.Grouped(*s.Beyond), text.Grouped(s.Differing), r.Tolerance)
}

// QuantizedCopy says which side is a quantised copy that the other is not; "" if none is.
func (r *Result) QuantizedCopy() string {
	var parts []string
	for i, s := range [2]string{r.A.Quantized, r.B.Quantized} {
		if s != "" && r.A.Quantized != r.B.Quantized {
			parts = append(parts, "AB"[i:i+1]+" is a quantised copy, which is not the same model")
		}
	}
	return strings.Join(parts, "; ")
}

// Side is one of the checkpoints.
type Side struct {
	Path       string `json:"path"`
	Format     string `json:"format"`              // of the container: "torch-zip", "safetensors", …
	Step       string `json:"step,omitempty"`      // of a training run, if one was selected or found in the directory Path
	Layout     string `json:"layout,omitempty"`    // "flax", "torch", "huggingface", or "unknown" if its tensors do not show it; "" if it is no model of the family
	Prefix     string `json:"prefix,omitempty"`    // removed from the names of its tensors
	Quantized  string `json:"quantized,omitempty"` // what a quantised copy is; its tensors are compared dequantised
	Tensors    int    `json:"tensors"`             // as they are compared, with those that patterns leave out
	Parameters int64  `json:"parameters"`          // their elements
	Bytes      int64  `json:"bytes"`               // their size

	// Tensors of the checkpoint, if another number is compared, in another layout or dequantised.
	Stored int `json:"stored_tensors,omitempty"`

	Digest     string   `json:"-"` // of the weights, as runtime.DigestOf has it; "" if the caller has not set it
	ConfigFile string   `json:"-"` // digest of config.json; "" if there is none, or if the caller has not set it
	BlockTypes []string `json:"-"` // kinds of the blocks of a model of the family, nil for others
}

// InLayout returns the format with the layout, if it is known.
func (s *Side) InLayout() string {
	if s.Layout == "" || s.Layout == model.UnknownLayout.String() {
		return s.Format
	}
	return s.Format + ", " + s.Layout + " layout"
}

// CountTensors returns the number of tensors that the checkpoint has, and as how many they were compared if that is another.
func (s *Side) CountTensors() string {
	if s.Stored == 0 {
		return text.Count(s.Tensors, "tensor")
	}
	return text.Count(s.Stored, "tensor") + ", compared as " + text.Grouped(int64(s.Tensors))
}

// Summary counts tensors by their status.
type Summary struct {
	Tensors   int `json:"tensors"` // entries of Result.Tensors
	Equal     int `json:"equal"`
	Differ    int `json:"differs"`
	OnlyA     int `json:"only_a"`
	OnlyB     int `json:"only_b"`
	Shape     int `json:"shape"`
	DType     int `json:"dtype"`
	Changed   int `json:"dtype_changed"` // of those, tensors for which TensorDiff.ChangedToo holds
	Renamed   int `json:"renamed"`       // pairs whose names differ and that were paired by content
	Explained int `json:"explained"`     // tensors that have an explanation other than explain.Other
	Config    int `json:"config"`        // entries of Result.Config

	Unselected int `json:"unselected,omitempty"` // tensors that match none of the patterns, which are no entries
	LeftOut    int `json:"left_out,omitempty"`   // tensors that either checkpoint has, that were selected and that were not read, such as sparse ones

	Elements  int64  `json:"elements"`         // that were compared
	Differing int64  `json:"differing"`        // of them, elements that are not the same, within the tolerance or not
	Beyond    *int64 `json:"beyond,omitempty"` // of those, elements outside the tolerance, if there is one
	NonFinite int    `json:"non_finite"`       // differing tensors that have NaN or infinities on either side
}

// Status is the result of comparing a tensor.
type Status string

// The statuses. A pair of different shapes is not compared further. A pair of different dtypes is compared
// by value; of a pair of which one side is quantised, the values differ, whatever the dtypes are.
const (
	Equal   Status = "equal"
	Differs Status = "differs"
	OnlyA   Status = "only_a"
	OnlyB   Status = "only_b"
	Shape   Status = "shape"
	DType   Status = "dtype"
)

// ConfigDifference is a field in which the configurations differ.
type ConfigDifference struct {
	Field string `json:"field"` // its name in config.json: "attention_window_size"
	A     string `json:"a"`     // as JSON; "" if the side does not have it
	B     string `json:"b"`

	// The side does not state the field: its value is what transformers takes for it.
	DefaultA bool `json:"default_a,omitempty"`
	DefaultB bool `json:"default_b,omitempty"`

	Detail string `json:"detail,omitempty"` // what it does to the model
}

// OnlyFile says that only one side has a config.json, "the file config.json is only in A", if that is the difference; "" if it is a field.
func (c *ConfigDifference) OnlyFile() string {
	switch {
	case c.Field != hfconfig.Name:
		return ""
	case c.B == "":
		return "the file " + c.Field + " is only in A"
	}
	return "the file " + c.Field + " is only in B"
}

// TensorDiff is the result for one tensor, or for a pair.
type TensorDiff struct {
	Name     string  `json:"name"`        // in the layout of comparison
	A        string  `json:"a,omitempty"` // its name in A, if it is another
	B        string  `json:"b,omitempty"`
	Status   Status  `json:"status"`
	Renamed  bool    `json:"renamed,omitempty"` // the names differ, and the pair was found by its content
	aligned  bool    // the layers of a renamed pair belong together, so that another number in B is not part of the new name
	DType    string  `json:"dtype"` // of A, or of the side that has it
	Shape    []int64 `json:"shape"`
	DTypeB   string  `json:"dtype_b,omitempty"` // if it is another
	ShapeB   []int64 `json:"shape_b,omitempty"`
	Elements int64   `json:"elements"`
	CopyOf   string  `json:"copy_of,omitempty"` // of a layer without counterpart: the tensor of A of which it is a copy, by its name in A

	Metrics     *Metrics             `json:"metrics,omitempty"`     // if elements were compared and some are different
	Quantized   *Quantized           `json:"quantized,omitempty"`   // of pairs of which one side is quantised
	Explanation *explain.Explanation `json:"explanation,omitempty"` // of pairs that differ
}

// Metrics are how far two tensors of one shape are apart. All but Differing and Beyond are about values.
// An element that is NaN on one side only makes the distances NaN; one that is infinite on one side only, or has another
// sign, makes them infinite. Elements that are not finite and the same on both sides count in no distance.
type Metrics struct {
	Differing  int64   `json:"differing"`         // elements whose bits differ, or whose values differ if the dtypes do
	Beyond     *int64  `json:"beyond,omitempty"`  // of them those outside the tolerance, if there is one
	MaxAbs     Number  `json:"max_abs"`           // largest |a - b|
	MeanAbs    Number  `json:"mean_abs"`          // mean |a - b| over all elements
	RelativeL2 Number  `json:"relative_l2"`       // ‖a - b‖ / ‖a‖: 0 if both are 0, Infinity if only a is
	Cosine     Number  `json:"cosine"`            // NaN if a or b is 0 throughout
	MaxULP     *uint64 `json:"max_ulp,omitempty"` // largest number of representable values from a to b; only if the dtypes are one floating-point dtype
	NaNA       int64   `json:"nan_a"`
	NaNB       int64   `json:"nan_b"`
	InfA       int64   `json:"inf_a"`
	InfB       int64   `json:"inf_b"`
	First      []int64 `json:"first"`   // index of the first differing element
	FirstA     Number  `json:"first_a"` // its values
	FirstB     Number  `json:"first_b"`

	// FirstIntegers are the values of 64-bit integers that FirstA and FirstB only have rounded.
	FirstIntegers []string `json:"first_integers,omitempty"`

	Changes Changes `json:"changes"` // a histogram of |a - b|, ascending, without 0
}

// Quantized is how far a quantised matrix is from the original on the other side.
type Quantized struct {
	Scheme string `json:"scheme"`
	Error  Number `json:"error"`  // ‖copy - original‖ / ‖original‖
	Least  Number `json:"least"`  // the least that the scheme allows
	Ratio  Number `json:"ratio"`  // Error / Least, 1 if both are 0
	Blocks int64  `json:"blocks"` // parts with a scale of their own
	Far    int64  `json:"far"`    // of them, farther from the original than the scheme explains
}

// Change counts the differences of at least 2^Exponent and less than twice that.
type Change struct {
	Exponent int   `json:"exponent"`
	Count    int64 `json:"count"`
}

// Number is a float64 whose JSON is a string if it is not finite: NaN, Infinity, -Infinity.
type Number = float.Number
