package hfconfig

import (
	"strings"
	"testing"
)

// TestVersions has what transformers 5.23.0 and 4.57.3 take from each file, measured with RecurrentGemmaConfig.from_pretrained.
func TestVersions(t *testing.T) {
	for _, tt := range []struct {
		text         string
		newer, older int64
		note         string // a part of the only note; "" for none
	}{
		{`{"attention_window_size": 8, "sliding_window": 16}`, 16, 8, "4.57 ignores it and takes attention_window_size, 8"},
		{`{"sliding_window": 16, "attention_window_size": 8}`, 16, 8, "sliding_window is 16, which transformers 5.23 takes"},
		{`{"sliding_window": 16}`, 16, 2048, "takes its default, 2048"},
		{`{"sliding_window": 8, "attention_window_size": 8}`, 8, 8, ""},
		{`{"attention_window_size": 8}`, 8, 8, ""},
		{`{"logits_soft_cap": 30}`, 2048, 2048, "logits_soft_cap is written as the integer 30"},
		{`{"rms_norm_eps": 1}`, 2048, 2048, "rms_norm_eps is written as the integer 1"},
		{`{"logits_soft_cap": 3e1, "rms_norm_eps": 1e-06}`, 2048, 2048, ""},
		{`{"_block_types": ["recurrent", "recurrent", "attention"], "embeddings_scale_by_sqrt_dim": true}`, 2048, 2048, ""},
		{`{"_block_types": ["recurrent"], "num_hidden_layers": 2}`, 2048, 2048, ""},
		{`{"_block_types": ["recurrent"], "num_hidden_layers": 3}`, 2048, 2048, "they take the default pattern, [recurrent recurrent attention]"},
		{`{"_block_types": ["recurrent"], "block_types": ["attention"]}`, 2048, 2048, "they take block_types, [attention]"},
		{`{"embeddings_scale_by_sqrt_dim": false}`, 2048, 2048, "they multiply embeddings by sqrt(hidden_size)"},
	} {
		c, err := read(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if c.AttentionWindowSize != tt.newer || c.AttentionWindowSize4 != tt.older {
			t.Errorf("%s: windows %d and %d, want %d and %d", tt.text, c.AttentionWindowSize, c.AttentionWindowSize4, tt.newer, tt.older)
		}
		if notes := strings.Join(c.Notes, "\n"); len(c.Notes) > 1 || tt.note == "" && notes != "" || !strings.Contains(notes, tt.note) {
			t.Errorf("%s: notes %q, want %q", tt.text, notes, tt.note)
		}
	}
	for _, value := range []string{"null", `"16"`, "0", "[]"} {
		if _, err := read(`{"sliding_window": ` + value + `}`); err == nil || !strings.Contains(err.Error(), SlidingWindow) {
			t.Errorf("sliding_window %s: %v", value, err)
		}
	}
}

// TestRefusals has values with which transformers 5.23.0 and 4.57.3 were seen to fail, and others that they were seen to take.
func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{ // each field with the versions that fail
		`"logits_soft_cap": 30, "rms_norm_eps": 1, "w_init_variance_scale": 1`:                   "logits_soft_cap 5, rms_norm_eps 5, w_init_variance_scale 5",
		`"logits_soft_cap": null, "rms_norm_eps": null, "hidden_size": null`:                     "hidden_size 54, logits_soft_cap 54, rms_norm_eps 54",
		`"logits_soft_cap": true, "vocab_size": true`:                                            "logits_soft_cap 5, vocab_size 5",
		`"vocab_size": 128.0, "lru_width": 48.0, "num_key_value_heads": 1.0`:                     "lru_width 5, num_key_value_heads 5, vocab_size 5",
		`"use_cache": 1, "attention_bias": null, "tie_word_embeddings": 1`:                       "attention_bias 5, tie_word_embeddings 5, use_cache 5",
		`"pad_token_id": [0], "bos_token_id": [2], "eos_token_id": 1.0`:                          "bos_token_id 5, eos_token_id 5, pad_token_id 54",
		`"pad_token_id": 128, "vocab_size": 128`:                                                 "pad_token_id 54",
		`"pad_token_id": -129, "vocab_size": 128`:                                                "pad_token_id 54",
		`"pad_token_id": 256000`:                                                                 "pad_token_id 54",
		`"pad_token_id": -128, "bos_token_id": 128, "eos_token_id": [1, 500], "vocab_size": 128`: "",
		`"hidden_activation": 3, "attention_dropout": null`:                                      "attention_dropout 5, hidden_activation 5",
		`"hidden_activation": null, "block_types": null`:                                         "block_types 54, hidden_activation 54",
		`"attention_dropout": 0, "eos_token_id": [1, 107], "lru_width": null`:                    "",
		`"head_dim": null, "final_w_init_variance_scale": null`:                                  "final_w_init_variance_scale 54, head_dim 54",
		`"head_dim": 8.0`: "head_dim 54",
		`"final_w_init_variance_scale": 1, "foo": 1`:                  "",
		`"rope_theta": null, "rope_scaling": null`:                    "rope_theta 4",
		`"rope_theta": null, "block_types": ["recurrent"]`:            "",
		`"head_dim": null, "block_types": ["recurrent", "attention"]`: "head_dim 54",
		`"partial_rotary_factor": null`:                               "partial_rotary_factor 4",
		`"rope_parameters": {"rope_theta": 10000}`:                    "",
		`"rope_parameters": {"rope_theta": null}`:                     "rope_parameters.rope_theta 5",
		`"rope_parameters": {"rope_type": null}`:                      "rope_parameters.rope_type 5",
		`"pad_token_id": null, "use_cache": true`:                     "",
		`"hidden_activation": "swiglu"`:                               "hidden_activation 54",
		`"hidden_activation": "GELU"`:                                 "hidden_activation 54",
		`"hidden_activation": "xielu"`:                                "",
		`"dtype": "bf16"`:                                             "dtype 54",
		`"torch_dtype": "torch.bfloat16"`:                             "torch_dtype 54",
		`"dtype": ""`:                                                 "dtype 54",
		`"dtype": "auto"`:                                             "dtype 54",
		`"dtype": "half", "torch_dtype": "bf16"`:                      "",
		`"dtype": null, "torch_dtype": "bf16"`:                        "torch_dtype 54",
		`"dtype": "bf16", "torch_dtype": "bfloat16"`:                  "dtype 54",
		`"dtype": "int8"`:                                             "dtype 5",
		`"dtype": "float8_e4m3fn"`:                                    "dtype 5",
		`"dtype": 3`:                                                  "dtype 5",
		`"dtype": ["bfloat16"]`:                                       "dtype 54",
		`"dtype": {"": "bfloat16"}`:                                   "",
		`"dtype": {"": "bf16"}`:                                       "dtype 5",
		`"dtype": {}`:                                                 "",
		`"dtype": {"a": "bf16"}, "torch_dtype": null`:                 "",
	} {
		fields, err := Fields(holding(`{"model_type": "recurrent_gemma", `+text+"}"), Name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range Refusals(fields) {
			versions := ""
			if r.Newer {
				versions = "5"
			}
			if r.Older {
				versions += "4"
			}
			got = append(got, r.Field+" "+versions)
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s: %q, want %q", text, s, want)
		}
	}
	if all := Refusals(map[string]any{}); len(all) != 1 || all[0].Note() != "model_type is not there: transformers does not load the model, unless the name of the directory says its type" {
		t.Errorf("without model_type: %+v", all)
	}
	if all := Refusals(map[string]any{"model_type": "recurrent_gemma", "dtype": "bf16"}); all[0].Note() != `dtype is "bf16"; transformers wants a floating-point type of torch: neither transformers 5.23 nor 4.57 loads the model` {
		t.Error(all[0].Note())
	}
}

// What Notes names is not listed again.
func TestIgnored(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                     "",
		`{"embeddings_scale_by_sqrt_dim": true}`: "embeddings_scale_by_sqrt_dim",
		`{"embeddings_scale_by_sqrt_dim": false}`:                            "",
		`{"_block_types": ["recurrent"], "block_types": ["recurrent"]}`:      "_block_types",
		`{"_block_types": ["recurrent"], "block_types": ["attention"]}`:      "",
		`{"_block_types": null, "embeddings_scale_by_sqrt_dim": "anything"}`: "_block_types embeddings_scale_by_sqrt_dim",
	} {
		fields, err := ParseFields([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(Ignored(fields), " "); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
