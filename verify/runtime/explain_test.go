package runtime_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// plain is a small model with a window of 8.
var plain = model.Config{VocabSize: 96, Width: 64, MLPExpandedWidth: 96, NumHeads: 4, LRUWidth: 64, ConvWidth: 4,
	BlockTypes: []model.BlockType{model.Recurrent, model.Recurrent, model.Attention}, AttentionWindow: 8, LogitsSoftCap: 30, EmbeddingScale: true}

// directoryOf returns the directory that griffin writes for a model, with attention_window_size as given and fields of config.json
// replaced, or removed if they are nil.
func directoryOf(t *testing.T, c model.Config, size int64, fields map[string]any) *runtime.Directory {
	t.Helper()
	form := &manifest.HuggingFace{AttentionWindowSize: size, LogitsSoftCap: manifest.Float(c.LogitsSoftCap), TieWordEmbeddings: !c.SeparateHead}
	all := model.Griffin.HuggingFace.Fields(&c, form, tensor.F32)
	for name, value := range fields {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	d := &runtime.Directory{Original: c, Written: c, Head: c.SeparateHead, DType: tensor.F32, Format: "safetensors"}
	d.Written.AttentionWindow = size
	if d.Fields, err = hfconfig.ParseFields(text); err != nil {
		t.Fatal(err)
	}
	if d.Stated, err = hfconfig.Parse(text); err != nil {
		t.Fatal(err)
	}
	return d
}

// never and unloaded take the place of a position.
const never, unloaded = -1, -2

// TestExplain has one row for each claim. testdata/interop/runtimes.py tests those about float32 and bfloat16 with the runtimes, on
// models like these.
func TestExplain(t *testing.T) {
	with := func(change func(*model.Config)) model.Config {
		c := plain
		change(&c)
		return c
	}
	older := []string{"recurrent", "recurrent", "attention"}
	nested := func(name string, value float64) map[string]any {
		inner := map[string]any{"rope_theta": 10000, "partial_rotary_factor": 0.5, "rope_type": "default"}
		inner[name] = value
		return map[string]any{"rope_theta": nil, "partial_rotary_factor": nil, "rope_parameters": inner}
	}
	flat := func(name string, value float64) map[string]any {
		fields := nested(name, value)
		fields["rope_theta"], fields["partial_rotary_factor"] = 10000.0, 0.5
		fields[name] = value
		return fields
	}
	for _, tt := range []struct {
		name   string
		config model.Config
		size   int64
		fields map[string]any
		dtype  tensor.DType
		want   [4]int            // transformers4, transformers5, mlx-lm, candle
		why    map[string]string // part of the reasons of a runtime
	}{
		{name: "plain", want: [4]int{9, 8, 8, 9}, why: map[string]string{"transformers4": "no window", "transformers5": "one less", "mlx-lm": "1e-05 to the mean square", "candle": "no window"}},
		{name: "matched", size: 9, want: [4]int{9, never, never, 9}},
		{name: "wider than matched", size: 11, want: [4]int{9, 9, 9, 9}, why: map[string]string{"transformers5": "2 more than the original"}},
		{name: "narrow", size: 5, want: [4]int{9, 5, 5, 9}, why: map[string]string{"mlx-lm": "4 less than the original"}},
		{name: "lru_width", config: with(func(c *model.Config) { c.LRUWidth = 88 }), want: [4]int{9, 8, unloaded, 9}, why: map[string]string{"mlx-lm": "lru_width"}},
		{name: "own head", config: with(func(c *model.Config) { c.SeparateHead = true }), size: 9, want: [4]int{9, never, never, 0}, why: map[string]string{"candle": "output head"}},
		{name: "soft cap of 0", config: with(func(c *model.Config) { c.LogitsSoftCap = 0 }), size: 9, want: [4]int{0, 0, never, 0}, why: map[string]string{"transformers5": "1048576 there would stand for none", "candle": "zero"}},
		{name: "hawk", config: with(func(c *model.Config) { c.BlockTypes = c.BlockTypes[:2] }), want: [4]int{never, never, unloaded, never}, why: map[string]string{"mlx-lm": "without attention"}},
		{name: "attention behind the last block", config: with(func(c *model.Config) { c.BlockTypes = c.BlockTypes[:2] }), fields: map[string]any{"block_types": older},
			want: [4]int{never, never, 0, never}, why: map[string]string{"mlx-lm": "every pass fails, because block_types of config.json has its first attention block behind the last block, 1"}},
		{name: "scale in float32", config: with(func(c *model.Config) { c.Width, c.LRUWidth, c.NumHeads = 40, 40, 2 }), size: 9, want: [4]int{9, never, 0, 0},
			why: map[string]string{"mlx-lm": "6.32456, sqrt(40) in float32", "candle": "6.3125"}},
		{name: "scale in bfloat16", config: with(func(c *model.Config) { c.Width, c.LRUWidth, c.NumHeads = 40, 40, 2 }), size: 9, dtype: tensor.BF16, want: [4]int{9, never, never, 9}},
		{name: "scale in float16", config: with(func(c *model.Config) { c.Width, c.LRUWidth = 2560, 2560 }), size: 9, dtype: tensor.F16, want: [4]int{9, never, 0, 0}},
		{name: "saved by transformers 5", size: 9, fields: nested("rope_theta", 10000), want: [4]int{9, never, unloaded, unloaded},
			why: map[string]string{"mlx-lm": "needs rope_theta", "candle": "needs partial_rotary_factor, rope_theta"}},
		{name: "theta in rope_parameters", size: 9, fields: nested("rope_theta", 100), want: [4]int{1, never, unloaded, unloaded}, why: map[string]string{"transformers4": "base 10000"}},
		{name: "theta", size: 9, fields: flat("rope_theta", 100), want: [4]int{9, never, 1, 9}, why: map[string]string{"mlx-lm": "rope_theta"}},
		{name: "rotary factor in rope_parameters", size: 9, fields: nested("partial_rotary_factor", 0.25), want: [4]int{1, never, unloaded, unloaded}},
		{name: "rotary factor", size: 9, fields: flat("partial_rotary_factor", 0.25), want: [4]int{0, never, 1, unloaded}, why: map[string]string{"transformers4": "every pass fails"}},
		{name: "no num_key_value_heads", size: 9, fields: map[string]any{"num_key_value_heads": nil}, want: [4]int{9, never, unloaded, unloaded}},
		{name: "no attention_bias", size: 9, fields: map[string]any{"attention_bias": nil}, want: [4]int{9, never, unloaded, unloaded}},
		{name: "no lru_width", size: 9, fields: map[string]any{"lru_width": nil}, want: [4]int{9, never, never, 9}},
		{name: "layer_types", size: 9, fields: map[string]any{"layer_types": older}, want: [4]int{9, unloaded, never, 9}, why: map[string]string{"transformers5": "layer_types"}},
		{name: "integer soft cap", size: 9, fields: map[string]any{"logits_soft_cap": 30}, want: [4]int{9, unloaded, never, 9}, why: map[string]string{"transformers5": "logits_soft_cap"}},
		{name: "_block_types", size: 9, fields: map[string]any{"block_types": nil, "_block_types": older}, want: [4]int{9, never, never, 9}},
		{name: "both lists of blocks", size: 9, fields: map[string]any{"_block_types": older}, want: [4]int{9, never, never, unloaded}, why: map[string]string{"candle": "one field"}},
		{name: "no scale", size: 9, fields: map[string]any{"embeddings_scale_by_sqrt_dim": false}, want: [4]int{9, never, 0, 9}, why: map[string]string{"mlx-lm": "embeddings_scale_by_sqrt_dim"}},
		{name: "epsilon", size: 9, fields: map[string]any{"rms_norm_eps": 0.01}, want: [4]int{9, never, 0, 9}, why: map[string]string{"mlx-lm": "here 0.01"}},
		{name: "twice the epsilon", size: 9, fields: map[string]any{"rms_norm_eps": 2e-5}, want: [4]int{9, never, never, 9}, why: map[string]string{"mlx-lm": "here 2e-05: in float32, logits differ by about 1e-4"}},
		{name: "activation", size: 9, fields: map[string]any{"hidden_activation": "silu"}, want: [4]int{9, never, 0, 9}, why: map[string]string{"mlx-lm": "silu"}},
		{name: "activation that candle lacks", size: 9, fields: map[string]any{"hidden_activation": "quick_gelu"}, want: [4]int{9, never, 0, unloaded}, why: map[string]string{"candle": "quick_gelu"}},
		{name: "kv heads", size: 9, fields: map[string]any{"num_key_value_heads": 2}, want: [4]int{9, never, unloaded, 9}, why: map[string]string{"mlx-lm": "2: it has 1"}},
		{name: "biases", size: 9, fields: map[string]any{"attention_bias": true}, want: [4]int{9, never, unloaded, 9}, why: map[string]string{"mlx-lm": "attention_bias"}},
		{name: "activation of transformers 5", size: 9, fields: map[string]any{"hidden_activation": "sqrtsoftplus"}, want: [4]int{unloaded, never, 0, unloaded}},
		{name: "wider heads", size: 9, fields: map[string]any{"head_dim": 32}, want: [4]int{0, never, unloaded, 0}, why: map[string]string{"candle": "every pass fails", "mlx-lm": "head_dim", "transformers4": "every pass fails"}},
		{name: "one wider head", config: with(func(c *model.Config) { c.NumHeads = 1 }), size: 9, fields: map[string]any{"head_dim": 32}, want: [4]int{0, never, unloaded, 0}, why: map[string]string{"candle": "not as wide as 1 head of 32 channels", "mlx-lm": "not as wide as 1 head of 32", "transformers4": "not as wide as 1 head of 32"}},
		{name: "heads of 2 channels", config: with(func(c *model.Config) { c.NumHeads = 32 }), size: 9, want: [4]int{1, never, 0, 1}, why: map[string]string{"candle": "another number of channels", "mlx-lm": "1 of 2 channels"}},
		{name: "heads of 6 channels", config: with(func(c *model.Config) { c.Width, c.LRUWidth, c.NumHeads = 36, 36, 6 }), size: 9, want: [4]int{0, never, 0, 0}, why: map[string]string{"candle": "6 channels", "mlx-lm": "3 of 6 channels"}},
		{name: "no model_type", size: 9, fields: map[string]any{"model_type": nil}, want: [4]int{unloaded, unloaded, unloaded, 9}, why: map[string]string{"transformers5": "model_type"}},
		{name: "taps", size: 9, fields: map[string]any{"conv1d_width": 3}, want: [4]int{9, never, unloaded, 9}, why: map[string]string{"mlx-lm": "conv1d_width"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, size := tt.config, tt.size
			if c.Width == 0 {
				c = plain
			}
			if size == 0 {
				size = c.AttentionWindow
			}
			d := directoryOf(t, c, size, tt.fields)
			if tt.dtype != tensor.Invalid {
				d.DType = tt.dtype
			}
			want := map[string]int{"original": never, "transformers4": tt.want[0], "transformers5": tt.want[1], "mlx-lm": tt.want[2], "candle": tt.want[3]}
			for _, e := range runtime.Explain(d) {
				got := never
				switch {
				case !e.Loads:
					got = unloaded
				case e.DivergesAt != nil:
					got = *e.DivergesAt
				}
				if got != want[e.Runtime] {
					t.Errorf("%s: %d, want %d: %q", e.Runtime, got, want[e.Runtime], e.Reasons)
				}
				if !e.Loads && e.DivergesAt != nil || got >= 0 && len(e.Reasons) == 0 || got == unloaded && len(e.Reasons) == 0 {
					t.Errorf("%+v", e)
				}
				if reasons := strings.Join(e.Reasons, "; "); !strings.Contains(reasons, tt.why[e.Runtime]) {
					t.Errorf("%s: %q, want %q", e.Runtime, reasons, tt.why[e.Runtime])
				}
				for _, f := range e.Cases {
					if f.Runtime != e.Runtime || got == unloaded && f.AsOrig || got == 0 && f.AsOrig {
						t.Errorf("%s: case %+v", e.Runtime, f)
					}
				}
			}
		})
	}
}

// The cases say what caches and lengths of the prompt change.
func TestCases(t *testing.T) {
	find := func(d *runtime.Directory) map[string]string {
		does := map[string]string{}
		for _, f := range runtime.Facts(runtime.Explain(d)) {
			does[f.Runtime+", "+f.Prompt+", "+f.Cache] = f.Does
		}
		return does
	}
	wide, hawk, capless, attention := plain, plain, plain, plain
	wide.LRUWidth = 88
	hawk.BlockTypes = hawk.BlockTypes[:2]
	capless.LogitsSoftCap = 0
	attention.BlockTypes = attention.BlockTypes[2:]
	written := directoryOf(t, capless, 9, map[string]any{"logits_soft_cap": manifest.Float(1 << 20)})
	written.Written.LogitsSoftCap = 1 << 20
	for _, tt := range []struct {
		name string
		d    *runtime.Directory
		want map[string]string
	}{
		{"plain", directoryOf(t, plain, 8, nil), map[string]string{
			"original, any, either":                      "sees 9 tokens",
			"transformers4, 1 token, with":               "crashes",
			"transformers4, 2 to 7 tokens, with":         "from position 7 on",
			"transformers4, 8 tokens, with":              "from position 8 on",
			"transformers4, more than 8 tokens, with":    "from position 0",
			"transformers4, more than 9 tokens, without": "from position 9",
			"transformers5, 1 token, with":               "previous call",
			"transformers5, more than 8 tokens, either":  "position 8",
			"mlx-lm, up to 8 tokens, either":             "decoding diverges from position 8 on",
			"mlx-lm, more than 8 tokens, either":         "one less than the original: diverges from position 8 on",
			"mlx-lm, packed rows, either":                "one document",
			"candle, up to 9 tokens, either":             "decoding diverges from position 9 on",
			"candle, more than 9 tokens, either":         "from position 9 on",
			"candle, more than 8192 tokens, either":      "max_seq_len",
			"candle, a second document, either":          "cannot be reset",
			"candle, in several pieces, with":            "fails",
		}},
		{"matched", written, map[string]string{
			"transformers5, 2 tokens and more, with":     "as the original, decoding too: attention sees 9 tokens in both",
			"transformers5, any, without":                "as the original",
			"transformers5, any, in float16, either":     "logits lose digits: divided by 1048576, the soft cap that stands for none, they leave the range of float16",
			"transformers4, 2 to 8 tokens, with":         "as the original; decoding diverges from position 8 on",
			"transformers4, 9 tokens, with":              "as the original, decoding too",
			"transformers4, more than 9 tokens, with":    "wrong logits from position 0 on",
			"transformers4, up to 9 tokens, without":     "as the original",
			"transformers4, more than 9 tokens, without": "attention has no window: diverges from position 9 on, whatever attention_window_size is",
			"mlx-lm, any, either":                        "as the original, decoding too",
			"candle, any, in float16, either":            "logits are infinite or NaN",
		}},
		{"aliased", directoryOf(t, plain, 8, map[string]any{"sliding_window": 8, "attention_window_size": 5}), map[string]string{
			"transformers4, 2 to 4 tokens, with": "from position 4 on",
			"transformers4, 5 tokens, with":      "from position 5 on",
		}},
		{"wide recurrence", directoryOf(t, wide, 8, nil), map[string]string{"transformers5, 1 token, with": "crashes"}},
		{"hawk", directoryOf(t, hawk, 8, nil), map[string]string{"transformers5, any, with": "cannot use the cache", "transformers4, 2 tokens and more, with": "decoding too", "candle, any, either": "decoding too", "candle, a second document, either": ""}},
		{"attention only", directoryOf(t, attention, 8, nil), map[string]string{"transformers5, 1 token, with": "", "transformers5, 1 to 8 tokens, with": "as the original; decoding diverges from position 8 on", "transformers5, packed rows, without": "starts attention anew", "candle, in several pieces, with": ""}},
		{"soft cap of 0", directoryOf(t, capless, 8, nil), map[string]string{"transformers5, any, either": "zero", "transformers4, any, either": "zero", "mlx-lm, up to 8 tokens, either": "as the original"}},
		{"wider than the original", directoryOf(t, plain, 12, nil), map[string]string{
			"transformers4, 2 to 9 tokens, with":   "as the original; decoding diverges from position 9 on",
			"transformers4, 10 to 12 tokens, with": "attention sees all tokens: diverges from position 9 on",
			"transformers4, 12 tokens, with":       "",
		}},
	} {
		got := find(tt.d)
		for key, does := range tt.want {
			if !strings.Contains(got[key], does) || does == "" && got[key] != "" {
				t.Errorf("%s: %s: %q, want %q; there are %q", tt.name, key, got[key], does, slices.Sorted(maps.Keys(got)))
			}
		}
	}
}

// A directory that is to match runtimes agrees with all of them, or is refused with what each of the others does.
func TestReview(t *testing.T) {
	wide := plain
	wide.LRUWidth = 88
	for _, tt := range []struct {
		config model.Config
		size   int64
		match  convert.Runtimes
		notes  []string // parts of them, one each
		err    string
		hint   string
	}{
		{plain, 8, convert.NoRuntime, []string{"transformers 5 diverges from the original from position 8 on"}, "", ""},
		{plain, 9, convert.NoRuntime, nil, "", ""},
		{plain, 9, convert.Transformers5 | convert.MLX, []string{"transformers 4 loads the directory and diverges from the original from position 9 on", "transformers 5 computes the logits of the original",
			"mlx-lm computes the logits of the original", "candle loads the directory and diverges"}, "", ""},
		{wide, 9, convert.Transformers5, []string{"transformers 4 loads", "what remains: 1 token with cache: crashes", "mlx-lm does not load the directory: it ignores lru_width", "candle loads"}, "", ""},
		{wide, 9, convert.Transformers5 | convert.MLX, nil, "mlx-lm does not load the model", "a configuration for transformers5 can"},
		{plain, 9, convert.Transformers5 | convert.Candle, nil, "candle diverges from position 9 on", "a configuration for transformers5,mlx-lm can"},
		{plain, 8, convert.Transformers4, nil, "it agrees in documents of up to 9 tokens", "transformers5,mlx-lm"},
	} {
		notes, err := runtime.Review(directoryOf(t, tt.config, tt.size, nil), tt.match)
		var option *convert.OptionError
		if tt.err != "" {
			if !errors.As(err, &option) || option.Option != "MatchRuntime" || !strings.Contains(option.Problem, tt.err) || !strings.Contains(option.Hint, tt.hint) {
				t.Errorf("%s: %v", tt.match, err)
			}
			continue
		}
		if err != nil || len(notes) != len(tt.notes) {
			t.Errorf("%s: %q, %v", tt.match, notes, err)
			continue
		}
		for i, want := range tt.notes {
			if !strings.Contains(notes[i], want) {
				t.Errorf("%s: %q, want %q", tt.match, notes[i], want)
			}
		}
	}
}
