package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// writePublished writes tiny-griffin in the forms in which models were published, and with other output heads:
//
//	9b        four files, a copy of the embedding as the head, a config.json of transformers 4.42 without tie_word_embeddings
//	2b-it     a config.json of transformers 4.40, with _block_types and embeddings_scale_by_sqrt_dim and without block_types
//	by-head   the head without the embedding, as tied models are saved by the name of their head
//	by-other  the same with another head
//	other     another head, although config.json ties it
//	untied    the same, and config.json does not tie it
func writePublished(t testing.TB, data, dir string) {
	t.Helper()
	source := filepath.Join(data, "tiny-griffin", "hf")
	weights := weightsOf(t, source)
	at := slices.IndexFunc(weights, func(w weight) bool { return w.Name == "model.embed_tokens.weight" })
	head := weights[at]
	head.Name = "lm_head.weight"
	other := head
	other.content = slices.Clone(head.content)
	other.content[2] ^= 1 // of the second element
	byHead, byOther := slices.Clone(weights), slices.Clone(weights)
	byHead[at], byOther[at] = head, other

	// What transformers 4 wrote, in a file without the defaults of the newer fields.
	flat := map[string]any{"rope_theta": 10000.0, "partial_rotary_factor": 0.5, "torch_dtype": "bfloat16"}
	since5 := []string{"rope_parameters", "dtype", "tie_word_embeddings"}
	pattern := []string{"recurrent", "recurrent", "attention"}
	for _, form := range []struct {
		name    string
		weights []weight
		limit   int64
		fields  map[string]any
		dropped []string
	}{
		{"9b", slices.Concat([]weight{head}, weights), 48_000, map[string]any{"block_types": pattern, "transformers_version": "4.42.0.dev0"}, since5},
		{"2b-it", weights, 0, map[string]any{"_block_types": pattern, "embeddings_scale_by_sqrt_dim": true, "transformers_version": "4.40.0.dev0"},
			append(slices.Clone(since5), "block_types")},
		{"by-head", byHead, 0, nil, nil},
		{"by-other", byOther, 0, nil, nil},
		{"other", slices.Concat([]weight{other}, weights), 0, nil, nil},
		{"untied", slices.Concat([]weight{other}, weights), 0, map[string]any{"tie_word_embeddings": false}, nil},
	} {
		out := filepath.Join(dir, form.name)
		check(t, os.MkdirAll(out, 0o755))
		writeWeights(t, out, form.weights, form.limit)
		text, err := os.ReadFile(filepath.Join(source, "config.json"))
		check(t, err)
		var config map[string]any
		check(t, json.Unmarshal(text, &config))
		if len(form.dropped) > 0 {
			maps.Copy(config, flat)
		}
		maps.Copy(config, form.fields)
		for _, name := range form.dropped {
			delete(config, name)
		}
		for _, name := range []string{"logits_soft_cap", "rope_theta"} { // floats, as Python writes them
			if x, ok := config[name].(float64); ok {
				config[name] = json.RawMessage(strconv.FormatFloat(x, 'f', 1, 64))
			}
		}
		text, err = json.MarshalIndent(config, "", "  ")
		check(t, err)
		check(t, os.WriteFile(filepath.Join(out, "config.json"), text, 0o644))
	}
}
