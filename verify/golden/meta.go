package golden

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// Meta says what computed a fixture, and how.
type Meta struct {
	Implementation Implementation
	Versions       map[string]string // of the libraries: recurrentgemma, jax, torch, transformers, griffin
	DType          string            // of the activations: float32, bfloat16, float16 or float64
	Precision      reference.Precision
	Semantics      reference.Semantics
	DecodeStart    int               // 0 if decoding was not recorded
	Backend        string            // such as "cpu", "gpu NVIDIA H100", "tpu v4"; "" if not recorded
	Flags          map[string]string // of the backend's precision, such as jax_default_matmul_precision
	ModelDigest    string            // identifies the weights; "" if not recorded
	Step           string            // of the training run that the model is of; "" if not recorded
}

// Implementation is what computed a fixture.
type Implementation string

// The implementations that fixtures come from.
const (
	JAX          Implementation = "google-deepmind/recurrentgemma jax"
	Torch        Implementation = "google-deepmind/recurrentgemma torch"
	Transformers Implementation = "transformers"
	Griffin      Implementation = "griffin"
)

// IsOriginal reports whether what it computes is what a model means: transformers departs from that, and griffin computes with the settings that it is given.
func (i Implementation) IsOriginal() bool { return i == JAX || i == Torch }

// ErrNotFixture is wrapped by the error of Open for a file that is sound, but is not a golden fixture.
var ErrNotFixture = errors.New("not a golden fixture")

// versionKeys are the metadata that hold versions of libraries.
var versionKeys = []string{"recurrentgemma", "jax", "jaxlib", "flax", "torch", "transformers", "griffin", "numpy"}

// precisions maps the dtype of activations. The reference does not compute in float16: float32 is the nearest.
var precisions = map[string]reference.Precision{
	"float32": reference.Float32, "float64": reference.Float64, "bfloat16": reference.BFloat16, "float16": reference.Float32,
}

// parse reads the metadata of a fixture.
func (m *Meta) parse(all map[string]string) (err error) {
	*m = Meta{Implementation: Implementation(all["implementation"]), DType: all["dtype"], Backend: all["backend"], ModelDigest: all["model_digest"], Step: all["step"],
		Versions: map[string]string{}, Flags: maps.Clone(all)}
	for _, key := range []string{"implementation", "dtype", "backend", "model_digest", "step", "decode_start", "semantics"} {
		delete(m.Flags, key)
	}
	for _, key := range versionKeys {
		if v, ok := all[key]; ok {
			m.Versions[key] = v
			delete(m.Flags, key)
		}
	}
	if m.Semantics, err = m.parseSemantics(all["semantics"]); err != nil {
		return err
	}
	precision, ok := precisions[m.DType]
	if !ok {
		return tensor.Bad("metadata dtype is %q, not one of float32, bfloat16, float16, float64", m.DType)
	}
	m.Precision = precision
	if text, ok := all["decode_start"]; ok {
		if m.DecodeStart, err = strconv.Atoi(text); err != nil {
			return tensor.Bad("metadata decode_start %q is not a number", text)
		}
	}
	return nil
}

// parseSemantics returns the semantics that the implementation and its version have. Fixtures of griffin name them.
func (m *Meta) parseSemantics(named string) (reference.Semantics, error) {
	switch m.Implementation {
	case JAX, Torch:
		return reference.Original, nil
	case Griffin:
		s, err := reference.ParseSemantics(named)
		if err != nil {
			return 0, tensor.Bad("metadata semantics: %v", err)
		}
		return s, nil
	case Transformers:
		version := m.Versions["transformers"]
		major, _, _ := strings.Cut(version, ".")
		if i := slices.Index([]string{"4", "5"}, major); i >= 0 {
			return []reference.Semantics{reference.Transformers4, reference.Transformers5}[i], nil
		}
		return 0, tensor.Bad("the semantics of transformers %q are not known", version)
	}
	return 0, tensor.Bad("%w: its metadata name no known implementation (%q)", ErrNotFixture, string(m.Implementation))
}
