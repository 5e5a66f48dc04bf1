package verify

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Two numbers are shown in one notation: with an exponent if one of them is below 1e-4 or at least 1e15.
func TestSameNotation(t *testing.T) {
	for _, tt := range []struct {
		got       json.Number
		want      any
		shown     [2]string
		unchanged bool
	}{
		{"1e-5", 1e-6, [2]string{"1e-05", "1e-06"}, false}, {"0.5", 1e-6, [2]string{"5e-01", "1e-06"}, false}, {"1e-4", 2.0, [2]string{"0.0001", "2"}, false},
		{"0.000099", 2.0, [2]string{"9.9e-05", "2e+00"}, false}, {"0", 2.0, [2]string{"0", "2"}, false}, {"1e4", 0.0, [2]string{"10000", "0"}, false}, {"-0.00001", 2.0, [2]string{"-1e-05", "2e+00"}, false},
		{"1e15", 2.0, [2]string{"1e+15", "2e+00"}, false}, {"999999999999999", 2.0, [2]string{"999999999999999", "2"}, false},
		{"1e400", 2.0, [2]string{}, true}, {"2.0", 2.0, [2]string{}, true}, {"3", int64(2), [2]string{}, true}, {"3", "2", [2]string{}, true},
	} {
		if tt.unchanged {
			tt.shown = [2]string{"got", "want"}
		}
		if got, want := sameNotation(tt.got, tt.want, "got", "want"); got != tt.shown[0] || want != tt.shown[1] {
			t.Errorf("%s and %v: %s, %s, want %s", tt.got, tt.want, got, want, tt.shown)
		}
	}
}

// A pattern of blocks is repeated 100 times.
func TestMatchesBlocks(t *testing.T) {
	const r, a = model.Recurrent, model.Attention
	many := func(n int) []model.BlockType { return slices.Repeat([]model.BlockType{r}, n) }
	for _, tt := range []struct {
		got  any
		want []model.BlockType
		ok   bool
	}{
		{[]any{"recurrent", "attention"}, []model.BlockType{r, a, r, a, r}, true}, {[]any{"recurrent", "attention"}, []model.BlockType{r, a, a}, false}, {[]any{"recurrent"}, many(100), true},
		{[]any{"recurrent"}, many(101), false}, {[]any{"recurrent", "recurrent"}, many(101), true}, {[]any{}, many(1), false}, {"recurrent", many(1), false}, {[]any{1}, many(1), false},
		{[]model.BlockType{r, r, a}, []model.BlockType{r, r, a, r}, true}, {[]model.BlockType{a}, many(1), false}, {nil, many(1), false},
	} {
		if got := matchesBlocks(tt.got, tt.want); got != tt.ok {
			t.Errorf("%v, %d blocks: %t", tt.got, len(tt.want), got)
		}
	}
}

// A value matches if it is the one that is wanted, in the type that JSON or a default gives it.
func TestFieldMatches(t *testing.T) {
	number := func(s string) json.Number { return json.Number(s) }
	for _, tt := range []struct {
		want, got any
		ok        bool
	}{
		{int64(3), number("3"), true}, {int64(3), int64(3), true}, {int64(3), number("4"), false}, {int64(0), number("0.5"), false}, {int64(3), number("3.0"), false}, {int64(0), "0", false}, {int64(0), nil, false},
		{2.5, number("2.5"), true}, {2.5, 2.5, true}, {2.5, number("2"), false}, {2.5, 2.0, false}, {0.0, number("x"), false}, {0.0, nil, false},
		{"bfloat16", "bfloat16", true}, {"bfloat16", "torch.bfloat16", false}, {"bfloat16", "float16", false}, {"", nil, false},
		{true, true, true}, {false, true, false}, {false, nil, false}, {false, "false", false},
		{[]string{"A"}, []string{"A"}, true}, {[]string{"A"}, []any{"B", "A"}, true}, {[]string{"A"}, []any{"B"}, false}, {[]string{"A"}, []string{"B"}, false}, {[]string{"A"}, "A", false},
		{[]model.BlockType{model.Recurrent}, []any{"recurrent"}, true}, {nil, nil, false},
	} {
		if got := (&configField{want: tt.want}).matches(tt.got); got != tt.ok {
			t.Errorf("%v (%T) for %v: %t", tt.got, tt.got, tt.want, got)
		}
	}
}

// Each name of a field that is present has to be right; what is absent or null stands for a default.
func TestFieldIsChecked(t *testing.T) {
	number := json.Number("7")
	for _, tt := range []struct {
		name   string
		f      configField
		fields map[string]any
		want   string // findings
	}{
		{"right", configField{want: int64(7)}, map[string]any{"a": number}, ""},
		{"wrong", configField{want: int64(8), effect: "e"}, map[string]any{"a": number}, "a: 7, not 8; e"},
		{"the other name is wrong", configField{want: int64(7), effect: "e"}, map[string]any{"a": number, "b": json.Number("8")}, "b: 8, not 7; e"},
		{"both are wrong", configField{want: int64(9), effect: "e"}, map[string]any{"a": number, "b": json.Number("8")}, "a: 7, not 9; e|b: 8, not 9; e"},
		{"absent, and the default", configField{want: int64(7), missing: int64(7)}, nil, ""},
		{"absent, and another default", configField{want: int64(7), missing: int64(8), effect: "e"}, nil, "a: no such field, which stands for 8, not 7; e"},
		{"absent, and required", configField{want: int64(7), effect: "e"}, nil, "a: no such field, not 7; e"},
		{"absent, as it should be", configField{effect: "e"}, nil, ""},
		{"null, as good as absent", configField{effect: "e"}, map[string]any{"a": nil}, ""},
		{"there, and should not be", configField{effect: "e"}, map[string]any{"a": number}, "a: 7, which should not be there; e"},
		{"null", configField{want: int64(7), missing: int64(7), effect: "e"}, map[string]any{"a": nil}, "a: null, not 7; e"},
		{"null, for the right default", configField{want: int64(7), null: int64(7)}, map[string]any{"a": nil}, ""},
		{"null, for a wrong default", configField{want: int64(7), null: int64(8), effect: "e"}, map[string]any{"a": nil}, "a: null, which stands for 8, not 7; e"},
		{"another that is right", configField{want: int64(8), accepts: func(any) bool { return true }}, map[string]any{"a": number}, ""},
		{"another that is not", configField{want: int64(8), effect: "e", accepts: func(any) bool { return false }}, map[string]any{"a": number}, "a: 7, not 8; e"},
		{"what the tensors have", configField{want: int64(8), effect: "e", holds: int64(7)}, map[string]any{"a": number}, "a: 7, not 8; the tensors of the conversion are as this says"},
		{"what the tensors have not", configField{want: int64(8), effect: "e", holds: int64(9)}, map[string]any{"a": number}, "a: 7, not 8; e"},
		{"explained", configField{want: int64(8), effect: "e", explain: func(any) string { return "x" }}, map[string]any{"a": number}, "a: 7, not 8; x"},
		{"a number as text", configField{want: 30.0, explain: func(any) string { return "x" }}, map[string]any{"a": "30.0"}, `a: "30.0", not 30; a text, not a number: transformers fails to compute with it`},
		{"a truth value as text", configField{want: true, effect: "e"}, map[string]any{"a": "true"}, `a: "true", not true; a text, not true or false: transformers takes any text for true`},
		{"a small number", configField{want: 1e-6, effect: "e"}, map[string]any{"a": json.Number("0.00002")}, "a: 2e-05, not 1e-06; e"},
		{"an object", configField{effect: "e"}, map[string]any{"a": map[string]any{"y": 1, "x": 2}}, "a: an object with x, y, which should not be there; e"},
		{"an empty object", configField{effect: "e"}, map[string]any{"a": map[string]any{}}, "a: an empty object, which should not be there; e"},
		{"blocks", configField{want: []model.BlockType{model.Recurrent, model.Attention}, effect: "e"}, map[string]any{"a": "x"}, `a: "x", not RA; e`},
		{"what JSON does not have", configField{want: "x", effect: "e"}, map[string]any{"a": func() {}}, ""},
	} {
		tt.f.names = []string{"a", "b"}
		var got []string
		for _, f := range tt.f.check(tt.fields) {
			got = append(got, f.String())
		}
		if tt.name == "what JSON does not have" {
			if len(got) != 1 || !strings.HasPrefix(got[0], "a: 0x") {
				t.Errorf("%s: %q", tt.name, got)
			}
			continue
		}
		if strings.Join(got, "|") != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What wrong values of the window do.
func TestWindowEffect(t *testing.T) {
	for got, want := range map[any]string{
		json.Number("10"): "this is window + 2", json.Number("7"): "this is window - 1", json.Number("6"): "attention would reach less far; it should be the original's window, 8, or 9, with",
		json.Number("11"): "attention would reach farther; it should", json.Number("9"): "attention would reach farther;", json.Number("8"): "attention would reach farther;", "x": "attention would reach less far, or farther; it should",
	} {
		if text := windowEffect(8, 0)(got); !strings.HasPrefix(text, want) {
			t.Errorf("%v: %s, want %s", got, text, want)
		}
	}
	if text := windowEffect(8, 8)(json.Number("6")); text != "attention would reach less far; the source has 8" {
		t.Error(text)
	}
	if text := windowEffect(8, 9)(json.Number("7")); text != "this is window - 1: attention would reach less far in every implementation; the source has 9" { // which matches transformers 5
		t.Error(text)
	}
}

// What the fields would do depends on the model.
func TestEffectsOfFields(t *testing.T) {
	of := func(keyHeads int64, bias bool, softCap float64) *model.Config {
		return &model.Config{NumHeads: 4, KVHeads: keyHeads, AttentionBias: bias, LogitsSoftCap: softCap}
	}
	for _, tt := range []struct{ got, want string }{
		{keyHeadsEffect(of(1, false, 0)), "all query heads share one"}, {keyHeadsEffect(of(2, false, 0)), "k_proj and v_proj would not fit"},
		{biasEffect(of(1, true, 0)), "the biases of"}, {biasEffect(of(1, false, 0)), "q_proj, k_proj"},
		{softCapEffect(of(1, true, 0))(30.0), "the model has no soft cap"}, {softCapEffect(of(1, true, 30))(json.Number("50.0")), "all logits would be capped differently"},
		{softCapEffect(of(1, true, 0))(json.Number("0")), "the model has no soft cap, but transformers divides by it"}, {softCapEffect(of(1, true, 30))(json.Number("0.0")), "all logits would be zero in transformers"},
	} {
		if !strings.HasPrefix(tt.got, tt.want) {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
	for got, want := range map[any]bool{json.Number("14"): true, json.Number("15"): true, json.Number("16"): false, json.Number("13"): false, "14": false, json.Number("14.0"): false} {
		if halvesTo(7)(got) != want {
			t.Errorf("half of %v: %t", got, !want)
		}
	}
	for _, tt := range []struct {
		softCap float64
		got     any
		want    bool
	}{
		{0, json.Number("18446744073709551616"), true}, {30, json.Number("18446744073709551616"), false}, {0, json.Number("30"), false}, {0, "30", false}, {0, nil, false},
	} {
		p := &convert.Plan{DType: tensor.BF16}
		p.Config.LogitsSoftCap = tt.softCap
		if got := standsForNoCap(p)(tt.got); got != tt.want {
			t.Errorf("soft cap %v of a model with %v: %t", tt.got, tt.softCap, got)
		}
	}
	if is := standsForActivation("gelu_pytorch_tanh"); is(nil) || !is("gelu_pytorch_tanh") || is("relu") {
		t.Error("activations")
	}
}

// The field of the head depends on what the head is. Neither value is wrong if there is a copy of the embedding.
func TestHeadField(t *testing.T) {
	for _, tt := range []struct {
		name    string
		tied    bool
		divided manifest.Float
		copies  []string
		other   bool   // one that differs is tied
		want    string // the effect, "" for no field
	}{
		{"tied", true, 0, nil, false, "the output head would be a separate matrix"}, {"tied, with a copy", true, 0, []string{headName}, false, ""},
		{"its own", false, 0, nil, false, "transformers would compute logits with the embedding instead"}, {"its own, with a copy", false, 0, []string{headName}, false, "transformers would compute logits with the embedding instead"},
		{"divided", false, 6, nil, false, "transformers would compute logits with e (divided by 6) instead of with lm_head.weight"}, {"tied and divided", true, 6, nil, false, "the output head would be a separate matrix"},
		{"its own, tied", false, 0, nil, true, "transformers 4.57 computes logits with the embedding, and 5.23 with lm_head.weight"},
		{"divided, tied", false, 6, nil, true, "transformers 4.57 computes logits with e (divided by 6), and 5.23 with lm_head.weight"},
	} {
		p := &convert.Plan{HF: &manifest.HuggingFace{TieWordEmbeddings: tt.tied, EmbeddingDividedBy: tt.divided}, Source: &model.Model{Family: model.Griffin}, Embedding: 1}
		p.Dests = []moves.Dest{{Name: "x"}, {Name: "e"}}
		f := headField(p, headState{copies: tt.copies, tiesOther: tt.other})
		if (f == nil) != (tt.want == "") || f != nil && (!strings.HasPrefix(f.effect, tt.want) || f.want != any(tt.tied)) {
			t.Errorf("%s: %+v", tt.name, f)
		}
	}
}

// Other architectures are right if the source states them, and its other tensors were converted too.
func TestStatedArchitectures(t *testing.T) {
	stated := map[string]any{"architectures": []any{"A"}}
	extra := []*tensor.Tensor{{}}
	for _, tt := range []struct {
		name   string
		source map[string]any
		got    any
		extra  []*tensor.Tensor // of the source
		kept   []int
		want   bool
	}{
		{"stated", stated, []any{"A"}, nil, nil, true}, {"other", stated, []any{"B"}, nil, nil, false}, {"none", nil, []any{"A"}, nil, nil, false}, {"none, and null", nil, nil, nil, nil, false},
		{"with its head", stated, []any{"A"}, extra, []int{0}, true}, {"without its head", stated, []any{"A"}, extra, nil, false},
	} {
		if got := statedArchitectures(&convert.Plan{Source: &model.Model{Extra: tt.extra}, Extra: tt.kept}, tt.source)(tt.got); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// Token ids are in the vocabulary; others than the usual are noted.
func TestTokenIDs(t *testing.T) {
	for got, want := range map[string]int{`{}`: 0, `{"pad_token_id": 0}`: 0, `{"pad_token_id": 9}`: 0, `{"pad_token_id": 10}`: 1, `{"bos_token_id": -1}`: 1, `{"eos_token_id": [1, 9]}`: 0, `{"eos_token_id": [1, 10, 11]}`: 2,
		`{"eos_token_id": "1"}`: 1, `{"eos_token_id": null}`: 0, `{"eos_token_id": 1.5}`: 1, `{"eos_token_id": []}`: 0} {
		d := json.NewDecoder(strings.NewReader(got))
		d.UseNumber()
		var fields map[string]any
		if err := d.Decode(&fields); err != nil {
			t.Fatal(err)
		}
		found := checkTokenIDs(fields, 10)
		if len(found) != want || want > 0 && found[0].Want != "a token id from 0 to 9" {
			t.Errorf("%s: %v", got, found)
		}
		if want > 0 && (found[0].Detail == "a text is no token id") != strings.Contains(got, `"1"`) {
			t.Errorf("%s: %v", got, found)
		}
	}
}

// Findings in a row that say the same of one value are one.
func TestJoinNames(t *testing.T) {
	of := func(field, got, want, detail string) Finding {
		return Finding{Kind: WrongField, Field: field, Got: got, Want: want, Detail: detail}
	}
	in := []Finding{of("a", "1", "2", "x"), of("b", "1", "2", "x"), of("c", "3", "2", "x"), of("d", "3", "4", "x"), of("e", "3", "4", "y"), of("f", "3", "4", "y"), of("g", "3", "4", "y"), of("h", "1", "2", "x")}
	var got []string
	for _, f := range joinNames(in) {
		got = append(got, f.Field)
	}
	if want := []string{"a, b", "c", "d", "e, f, g", "h"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := joinNames(nil); got == nil || len(got) > 0 {
		t.Errorf("%v", got)
	}
}

// A value of a wrong type is found once; an integer in place of a float should be written as one.
func TestJudgeRefusals(t *testing.T) {
	for _, tt := range []struct {
		value  any
		before []Finding
		want   string // "" for no finding
	}{
		{json.Number("1e-6"), nil, ""}, {json.Number("1"), nil, "1.0"}, {"x", nil, "float"}, {"x", []Finding{{Field: "rms_norm_eps"}}, ""}, {"x", []Finding{{Field: "rope_theta"}}, "float"},
	} {
		got := judgeRefusals(map[string]any{"model_type": "recurrent_gemma", "rms_norm_eps": tt.value}, tt.before)
		if len(got) != min(1, len(tt.want)) || tt.want != "" && got[0].Want != tt.want {
			t.Errorf("%v: %v, want %q", tt.value, got, tt.want)
		}
	}
}
