package hfconfig

import (
	"slices"
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

// TestTypeErrors has values that transformers 5.23.0 was seen to refuse, and others that it was seen to take.
func TestTypeErrors(t *testing.T) {
	for text, want := range map[string][]string{
		`{"logits_soft_cap": 30, "rms_norm_eps": 1, "w_init_variance_scale": 1}`: {"logits_soft_cap", "rms_norm_eps", "w_init_variance_scale"},
		`{"logits_soft_cap": null}`:                                                           {"logits_soft_cap"},
		`{"logits_soft_cap": true, "vocab_size": true}`:                                       {"vocab_size", "logits_soft_cap"},
		`{"vocab_size": 128.0, "lru_width": 48.0, "num_key_value_heads": 1.0}`:                {"vocab_size", "num_key_value_heads", "lru_width"},
		`{"use_cache": 1, "attention_bias": null, "tie_word_embeddings": 1}`:                  {"use_cache", "attention_bias", "tie_word_embeddings"},
		`{"pad_token_id": [0], "bos_token_id": [2], "eos_token_id": 1.0}`:                     {"pad_token_id", "bos_token_id", "eos_token_id"},
		`{"hidden_activation": 3, "attention_dropout": null, "block_types": null}`:            {"attention_dropout", "hidden_activation", "block_types"},
		`{"attention_dropout": 0, "eos_token_id": [1, 107], "lru_width": null}`:               nil,
		`{"final_w_init_variance_scale": 1, "head_dim": 8.0, "dtype": 3, "foo": 1}`:           nil,
		`{"rope_parameters": {"rope_theta": 10000}, "pad_token_id": null, "use_cache": true}`: nil,
	} {
		fields, err := Fields(holding(text), Name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range TypeErrors(fields) {
			got = append(got, e.Field)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
