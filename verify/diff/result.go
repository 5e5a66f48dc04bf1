// Package diff holds two checkpoints side by side, of any formats and of any model: which tensors
// are the same, by how much the others differ, and what was done to them.
//
// Models of the Griffin family are compared through the rules where their layouts differ, so that an
// original and its conversion are equal. An explanation is checked on every element before it is made.
package diff

import (
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
	"github.com/griffin-ckpt/griffin/verify/internal/float"
)

// Result is how two checkpoints differ.
type Result struct {
	// Equal says that neither has anything that the other lacks, and that all of it is the same: within
	// the tolerance where one was given, otherwise bit for bit.
	Equal   bool               `json:"equal"`
	Griffin string             `json:"griffin"` // version of the tool
	A       Side               `json:"a"`
	B       Side               `json:"b"`
	Summary Summary            `json:"summary"`
	Config  []ConfigDifference `json:"config"`  // what the configurations say differently, by its meaning
	Tensors []TensorDiff       `json:"tensors"` // every pair, and what has no counterpart; what matters most first
	Notes   []string           `json:"notes,omitempty"`
}

// Side is one of the checkpoints.
type Side struct {
	Path       string `json:"path"`
	Format     string `json:"format"`           // of the container: "torch-zip", "safetensors", …
	Layout     string `json:"layout,omitempty"` // "flax", "torch" or "huggingface" of a model of the family
	Prefix     string `json:"prefix,omitempty"` // of its tensors' names, that was seen through
	Tensors    int    `json:"tensors"`          // that were compared, of those that --only leaves
	Parameters int64  `json:"parameters"`       // elements of them
	Bytes      int64  `json:"bytes"`
}

// Summary counts tensors by what became of them.
type Summary struct {
	Tensors   int `json:"tensors"` // entries of Result.Tensors
	Equal     int `json:"equal"`
	Differ    int `json:"differs"`
	OnlyA     int `json:"only_a"`
	OnlyB     int `json:"only_b"`
	Shape     int `json:"shape"`
	DType     int `json:"dtype"`
	Renamed   int `json:"renamed"`   // pairs whose names differ and that were paired by content
	Explained int `json:"explained"` // tensors that have an explanation other than explain.Other
	Config    int `json:"config"`    // fields of the configurations

	Elements  int64 `json:"elements"`   // that were compared
	Differing int64 `json:"differing"`  // of them
	NonFinite int   `json:"non_finite"` // tensors that hold NaN or infinities on either side; known of those that differ
}

// Status is what became of a tensor.
type Status string

// The statuses. A pair of different shapes is not compared further; one of different types is, by
// the values.
const (
	Equal   Status = "equal"
	Differs Status = "differs"
	OnlyA   Status = "only_a"
	OnlyB   Status = "only_b"
	Shape   Status = "shape"
	DType   Status = "dtype"
)

// ConfigDifference is one thing that the configurations say differently.
type ConfigDifference struct {
	Field  string `json:"field"` // as config.json calls it: "attention_window_size"
	A      string `json:"a"`     // as JSON; "" where the side does not tell
	B      string `json:"b"`
	Detail string `json:"detail,omitempty"` // what it does to the model
}

// TensorDiff is what became of one tensor, or of a pair.
type TensorDiff struct {
	Name     string  `json:"name"`        // in the layout in which it was compared
	A        string  `json:"a,omitempty"` // its name in A where that is another; several are joined with " + "
	B        string  `json:"b,omitempty"`
	Status   Status  `json:"status"`
	Renamed  bool    `json:"renamed,omitempty"` // paired by content
	DType    string  `json:"dtype"`             // of A, or of the side that has it
	Shape    []int64 `json:"shape"`
	DTypeB   string  `json:"dtype_b,omitempty"` // where it is another
	ShapeB   []int64 `json:"shape_b,omitempty"`
	Elements int64   `json:"elements"`

	Metrics     *Metrics             `json:"metrics,omitempty"`     // of pairs whose elements were compared and are not all the same
	Explanation *explain.Explanation `json:"explanation,omitempty"` // of pairs that differ
}

// Metrics say how far two tensors of one shape are apart. All but Differing and Beyond are about
// values; elements that are not finite on both sides count as differing only.
type Metrics struct {
	Differing  int64   `json:"differing"`         // elements that are not the same: in their bits, or in value where the types differ
	Beyond     *int64  `json:"beyond,omitempty"`  // of them those outside the tolerance, where one was given
	MaxAbs     Number  `json:"max_abs"`           // largest |a - b|
	MeanAbs    Number  `json:"mean_abs"`          // mean |a - b| over all elements
	RelativeL2 Number  `json:"relative_l2"`       // ‖a - b‖ / ‖a‖: 0 where both are 0, Infinity where only a is
	Cosine     Number  `json:"cosine"`            // NaN where a or b is 0 throughout
	MaxULP     *uint64 `json:"max_ulp,omitempty"` // largest number of representable values from a to b; floating-point types that are the same only
	NaNA       int64   `json:"nan_a"`
	NaNB       int64   `json:"nan_b"`
	InfA       int64   `json:"inf_a"`
	InfB       int64   `json:"inf_b"`
	First      []int64 `json:"first"`   // index of the first differing element
	FirstA     Number  `json:"first_a"` // its values
	FirstB     Number  `json:"first_b"`

	Changes []Change `json:"changes"` // how large the differences are, ascending; those of 0 are left out
}

// Change counts differences: of 2^Exponent or more, and less than twice that.
type Change struct {
	Exponent int   `json:"exponent"`
	Count    int64 `json:"count"`
}

// Number is a float64 whose JSON is a string where it is not finite: NaN, Infinity, -Infinity.
type Number = float.Number
