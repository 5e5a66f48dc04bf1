package hfconfig

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Refusal is a field with which a version of transformers does not load a config.json or a model, or fails in every pass. (Measured, where no
// dtype is asked for; with one, 5.23 does not read the dtype of config.json. testdata/interop/departures.py repeats it.)
type Refusal struct {
	Field string
	Value any    // as Fields has it; nil for null, and for a field that is not there
	Wants string // what transformers takes: "int or None", "the name of one of its functions"

	Newer, Older bool // transformers 5.23 and 4.57 refuse it
}

// Always reports whether both versions refuse it.
func (r *Refusal) Always() bool { return r.Newer && r.Older }

// Note says what is refused, and by which versions.
func (r *Refusal) Note() string {
	if r.Field == modelType {
		return modelType + " is not there: " + r.Effect()
	}
	return fmt.Sprintf("%s is %s; %s", r.Field, shown(r.Value), r.Detail())
}

// Detail says what transformers wants, and which versions refuse what is there.
func (r *Refusal) Detail() string {
	return fmt.Sprintf("transformers wants %s: %s", r.Wants, r.Effect())
}

// Shown is the value as JSON, cut short.
func (r *Refusal) Shown() string { return shown(r.Value) }

// Effect says which versions refuse it.
func (r *Refusal) Effect() string {
	switch {
	case r.Field == modelType:
		return "transformers does not load the model, unless the name of the directory says its type"
	case r.Always():
		return "neither transformers 5.23 nor 4.57 loads the model"
	case r.Newer:
		return "transformers 5.23 does not load the model"
	}
	return "transformers 4.57 does not load the model"
}

const modelType = "model_type"

// Refusals returns those of a config.json, in the order of the names. fields are those of the function Fields. Fields that do not load whatever their
// value are Departures.
func Refusals(fields map[string]any) []Refusal {
	var out []Refusal
	if _, ok := fields[modelType]; !ok {
		out = append(out, Refusal{modelType, nil, `"recurrent_gemma"`, true, true})
	}
	object := nested(fields)
	for _, f := range fieldTypes {
		value, ok := object[f.name]
		if kind := pythonType(value); ok && !slices.Contains(f.types, kind) {
			out = append(out, Refusal{f.name, value, typesWanted(f.name, f.types, value), true, kind == "None" && slices.Contains(neverNull, f.name) || f.name == padToken})
		}
	}
	if value, ok := object[padToken].(json.Number); ok && IsInteger(value) {
		id, err := value.Int64()
		if n := vocabularySize(fields); err != nil || id >= n || id < -n { // one below zero counts from the end
			out = append(out, Refusal{padToken, value, fmt.Sprintf("one of the %d tokens", n), true, true})
		}
	}
	if value, ok := object["head_dim"]; ok && attends(fields) && pythonType(value) != "int" {
		out = append(out, Refusal{"head_dim", value, "int", true, true})
	}
	for _, f := range nullRefused {
		if value, ok := fields[f.Field]; ok && value == nil && (f.Field == finalScale || attends(fields)) {
			out = append(out, f)
		}
	}
	if name, ok := fields["hidden_activation"].(string); ok && !slices.Contains(Activations, name) {
		out = append(out, Refusal{"hidden_activation", name, "the name of one of its functions", true, true})
	}
	out = append(out, refusedDType(fields)...)
	slices.SortStableFunc(out, func(a, b Refusal) int { return strings.Compare(a.Field, b.Field) })
	return out
}

const (
	finalScale = "final_w_init_variance_scale"
	padToken   = "pad_token_id"
)

// vocabularySize returns vocab_size as transformers takes it.
func vocabularySize(fields map[string]any) int64 {
	if n, ok := fields["vocab_size"].(json.Number); ok {
		if size, err := n.Int64(); err == nil {
			return size
		}
	}
	return defaultVocabulary
}

// nullRefused has what is refused of null in fields that may have any type, most of them where there are attention blocks. 4.57 reads parameters of the
// rotary embedding at the top level, and 5.23 in rope_parameters.
var nullRefused = []Refusal{
	{Field: finalScale, Wants: "a number", Newer: true, Older: true},
	{Field: "rope_parameters.rope_theta", Wants: "a number", Newer: true},
	{Field: "rope_parameters.partial_rotary_factor", Wants: "a number", Newer: true},
	{Field: "rope_parameters.rope_type", Wants: `"default"`, Newer: true},
	{Field: "rope_theta", Wants: "a number", Older: true},
	{Field: "partial_rotary_factor", Wants: "a number", Older: true},
}

// attends reports whether a config.json states attention blocks.
func attends(fields map[string]any) bool {
	list, ok := fields["block_types"].([]any)
	return !ok || slices.Contains(list, any(Attention))
}

// Activations are the names of functions that transformers 5.23 has. 4.57 lacks NewActivations.
var Activations = []string{"gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh", "gelu_pytorch_tanh", "hardswish", "laplace", "leaky_relu",
	"linear", "mish", "prelu", "quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "sqrtsoftplus", "swish", "tanh", "xielu"}

// neverNull are the fields in which transformers 4.57 does not accept null: it fails when it loads or runs the model. 5.23 checks the types of
// fields, and accepts null in none that must have another type.
var neverNull = []string{"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "conv1d_width", "attention_window_size", "logits_soft_cap",
	"rms_norm_eps", "w_init_variance_scale", "hidden_activation", "block_types"}

// typesWanted says which values a field may have: a float that is written as an integer needs only a point.
func typesWanted(name string, types []string, value any) string {
	if isZeroCap(name, value) {
		return "a float other than 0.0, with which all logits are zero"
	}
	if types[0] == "float" && IsInteger(value) {
		return fmt.Sprintf("%s.0", value)
	}
	return strings.Join(types, " or ")
}

// dtypes has the dtypes in which transformers loads models, by their names in torch.
var dtypes = map[string]tensor.DType{"float16": tensor.F16, "half": tensor.F16, "bfloat16": tensor.BF16, "float32": tensor.F32, "float": tensor.F32, "float64": tensor.F64, "double": tensor.F64}

// otherDTypes are the names of the other dtypes of torch. transformers 5.23 does not load a model in them, and 4.57 does, because it takes float32.
var otherDTypes = strings.Fields("bool uint8 int8 int16 short int32 int int64 long uint16 uint32 uint64 complex32 chalf complex64 cfloat complex128 cdouble " +
	"float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 qint8 quint8 qint32 quint4x2 quint2x4 " +
	"bits8 bits16 bits1x8 bits2x4 bits4x2 int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7")

// DTypeNames are the names of the field that states the dtype. transformers 5.23 and 4.57 take the first of them that is not null.
var DTypeNames = []string{"dtype", "torch_dtype"}

// NamesDType reports whether a value, as a field of DTypeNames has it, is a name that torch has for a dtype.
func NamesDType(value any, dtype tensor.DType) bool {
	name, ok := value.(string)
	known, has := dtypes[name]
	return ok && has && known == dtype
}

// TakenDType returns the name and the value of the field whose dtype transformers takes; "" if there is none.
func TakenDType(fields map[string]any) (name string, value any) {
	object := nested(fields)
	for _, name := range DTypeNames {
		if value := object[name]; value != nil {
			return name, value
		}
	}
	return "", nil
}

// LoadedDType returns the dtype in which transformers 5.23 loads a model, as its config.json says; Invalid if that does not say it.
func LoadedDType(fields map[string]any) tensor.DType {
	_, value := TakenDType(fields)
	if parts, ok := value.(map[string]any); ok {
		value = parts[""]
	}
	name, _ := value.(string)
	return dtypes[name]
}

// IsDType reports whether a field is not there, or null, or names a dtype in which transformers loads models, of the model or of its parts.
func IsDType(fields map[string]any, name string) bool {
	return len(refusedDType(map[string]any{"dtype": nested(fields)[name]})) == 0
}

// refusedDType returns the Refusal of the dtype that transformers takes, or nothing.
func refusedDType(fields map[string]any) []Refusal {
	name, value := TakenDType(fields)
	r := Refusal{name, value, "a floating-point type of torch", true, false}
	switch v := value.(type) {
	case nil:
		return nil
	case string:
		if _, ok := dtypes[v]; ok {
			return nil
		}
		r.Older = !slices.Contains(otherDTypes, v)
	case map[string]any: // of parts of the model
		part, ok := v[""]
		known, isName := part.(string)
		if _, has := dtypes[known]; !ok || isName && has {
			return nil
		}
		r.Value = part
	case []any:
		r.Older = true
	}
	return []Refusal{r}
}

// shown writes a value as JSON, cut short.
func shown(value any) string {
	switch v := value.(type) {
	case map[string]any:
		return "an object"
	case json.Number:
		return tensor.Clip(string(v))
	}
	text, err := json.Marshal(value)
	if err != nil {
		return tensor.Clip(fmt.Sprint(value))
	}
	return tensor.Clip(string(text))
}
