package hfconfig

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The sentence about each refused field, and whether it is left to a check that finds it.
func TestRefusalNotes(t *testing.T) {
	const only5 = "transformers 5.23 does not load the model"
	for _, tt := range []struct {
		field   string
		notes   []string // all of the function Notes
		version []string // those of them that are no refusals
	}{
		{`"use_cache": 1`, []string{"use_cache is 1; transformers wants bool: " + only5}, nil},
		{`"attention_dropout": true`, []string{"attention_dropout is true; transformers wants float or int: " + only5}, nil},
		{`"bos_token_id": {"a": 1}`, []string{"bos_token_id is an object; transformers wants int or None: " + only5}, nil},
		{`"bos_token_id": {}`, []string{"bos_token_id is an object; transformers wants int or None: " + only5}, nil},
		{`"hidden_activation": "swiglu"`, []string{`hidden_activation is "swiglu"; transformers wants the name of one of its functions: neither transformers 5.23 nor 4.57 loads the model`}, nil},
		{`"logits_soft_cap": 30`, []string{"logits_soft_cap is written as the integer 30, which transformers 5.23 refuses and 4.57 reads; as a float it is 30.0"},
			[]string{"logits_soft_cap is written as the integer 30, which transformers 5.23 refuses and 4.57 reads; as a float it is 30.0"}},
		{`"logits_soft_cap": 0`, []string{"logits_soft_cap is written as the integer 0, which transformers 5.23 refuses and 4.57 reads; as a float, 0.0, it makes all logits zero"},
			[]string{"logits_soft_cap is written as the integer 0, which transformers 5.23 refuses and 4.57 reads; as a float, 0.0, it makes all logits zero"}},
		{`"use_cache": 1, "embeddings_scale_by_sqrt_dim": false`, []string{"use_cache is 1; transformers wants bool: " + only5,
			"embeddings_scale_by_sqrt_dim is false, which transformers 4.57 and 5.23 ignore: they multiply embeddings by sqrt(hidden_size)"},
			[]string{"embeddings_scale_by_sqrt_dim is false, which transformers 4.57 and 5.23 ignore: they multiply embeddings by sqrt(hidden_size)"}},
	} {
		c, err := read("{" + tt.field + "}")
		if err != nil || !slices.Equal(c.Notes, tt.notes) || !slices.Equal(c.VersionNotes(), tt.version) {
			t.Errorf("%s: %v, notes %q, want %q", tt.field, err, c.Notes, tt.notes)
		}
	}
	c, err := read(`{"layer_types": [], "use_return_dict": true, "sliding_window": 16}`)
	if err != nil || len(c.Notes) != 3 || !slices.Equal(c.VersionNotes(), c.Notes[:1]) || !strings.HasPrefix(c.Notes[0], SlidingWindow) {
		t.Errorf("%v, %q", err, c.Notes)
	}

	// Read does not read these.
	for field, want := range map[string]string{
		`"rms_norm_eps": null`:    "rms_norm_eps is null; transformers wants float: neither transformers 5.23 nor 4.57 loads the model",
		`"rms_norm_eps": "1e-06"`: `rms_norm_eps is "1e-06"; transformers wants float: ` + only5,
		`"vocab_size": 128.0`:     "vocab_size is 128.0; transformers wants int: " + only5,
	} {
		fields, err := ParseFields([]byte(`{"model_type": "recurrent_gemma", ` + field + "}"))
		if notes := Notes(fields); err != nil || !slices.Equal(notes, []string{want}) {
			t.Errorf("%s: %v, %q, want %q", field, err, notes, want)
		}
	}
	fields := map[string]any{"model_type": "recurrent_gemma", "rms_norm_eps": json.Number("1"), "rope_theta": nil}
	for i, want := range []string{"transformers wants 1.0: " + only5, "transformers wants a number: transformers 4.57 does not load the model"} {
		if r := Refusals(fields)[i]; r.Detail() != want || r.Always() {
			t.Errorf("%q, want %q", r.Detail(), want)
		}
	}
}

func TestDTypeFields(t *testing.T) {
	for _, tt := range []struct {
		value any
		dtype tensor.DType
		want  bool
	}{
		{"bfloat16", tensor.BF16, true},
		{"half", tensor.F16, true},
		{"double", tensor.F64, true},
		{"bfloat16", tensor.F16, false},
		{"torch.bfloat16", tensor.BF16, false},
		{"BF16", tensor.BF16, false},
		{"", 0, false},
		{nil, 0, false},
		{json.Number("3"), tensor.F32, false},
	} {
		if got := NamesDType(tt.value, tt.dtype); got != tt.want {
			t.Errorf("%v, %v: %v", tt.value, tt.dtype, got)
		}
	}
	for text, want := range map[string][2]bool{ // whether dtype and torch_dtype are dtypes
		`{}`: {true, true},
		`{"dtype": "bf16", "torch_dtype": "bfloat16"}`: {false, true},
		`{"dtype": null, "torch_dtype": "int8"}`:       {true, false},
		`{"torch_dtype": {"": "float32"}}`:             {true, true},
	} {
		fields, err := ParseFields([]byte(text))
		if got := [2]bool{IsDType(fields, "dtype"), IsDType(fields, "torch_dtype")}; err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// What transformers does with a text: 5.23 checks the types of the fields that it knows.
func TestAsText(t *testing.T) {
	for _, tt := range []struct {
		field  string
		isBool bool
		want   string
	}{
		{"vocab_size", false, "a text, not a number: transformers 5.23 refuses to load it, and older versions fail to compute with it"},
		{"use_cache", true, "a text, not true or false: transformers 5.23 refuses to load it, and older versions take any text for true"},
		{"head_dim", false, "a text, not a number: transformers fails to compute with it"},
		{"hidden_activation", false, "a text, not a number: transformers fails to compute with it"},
		{"normalize_embeddings", true, "a text, not true or false: transformers takes any text for true"},
	} {
		if got := AsText(tt.field, tt.isBool); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.field, got, tt.want)
		}
	}
}
