package hfconfig_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
)

func TestTokenizerNotes(t *testing.T) {
	const (
		beyond = " of another model, or tokens were added to it alone"
		words  = `{"added_tokens": [{"id": 1, "content": "<eos>"}, {"special": true, "id": 2, "content": "<bos>"}], "model": {"type": "WordLevel", "vocab": {"<eos>": 1, "<bos>": 2, "x": 9}}}`
		usual  = `{"bos_token": "<bos>", "eos_token": {"content": "<eos>"}}`
	)
	for _, tt := range []struct {
		name              string
		tokenizer, config string // "" for no file
		embeddings        int64
		want              []string
	}{
		{"none", "", "", 10, nil},
		{"its own", words, usual, 10, nil},
		{"fewer tokens", words, usual, 11, nil},
		{"more tokens", words, usual, 9, []string{"the tokenizer has ids up to 9, and the embedding has 9 rows: the tokenizer is" + beyond}},
		{"more added tokens", strings.Replace(words, `"id": 2`, `"id": 12`, 1), "", 10, []string{"the tokenizer has ids up to 12, and the embedding has 10 rows: the tokenizer is" + beyond}},
		{"unigram", `{"model": {"vocab": [["a", -1], ["b", -2.5], ["c", 0]]}, "added_tokens": []}`, "", 2, []string{"the tokenizer has ids up to 2, and the embedding has 2 rows: the tokenizer is" + beyond}},
		{"unigram that fits", `{"model": {"vocab": [["a", -1], ["b", -2.5], ["c", 0]]}}`, "", 3, nil},
		{"exchanged", words, `{"bos_token": "<eos>", "eos_token": "<bos>"}`, 10, []string{`bos_token of the tokenizer is "<eos>", id 1, and bos_token_id of config.json is 2`,
			`eos_token of the tokenizer is "<bos>", id 2, and eos_token_id of config.json is [1, 7]`}},
		{"unknown", words, `{"bos_token": "<s>", "eos_token": null}`, 10, []string{`bos_token of tokenizer_config.json is "<s>", which tokenizer.json does not have`}},
		{"no token", words, `{"bos_token": "", "eos_token": {"content": ""}}`, 10, nil},
		{"not added", words, `{"99": "x", "98.content": 3, "added_tokens_decoder": {"97": {"special": true}, "x": {"content": "x"}}}`, 10, nil},
		{"the first id", `{"added_tokens": [{"id": 0, "content": "<s>"}], "model": {"vocab": {"x": 9}}}`, `{"bos_token": "<s>"}`, 10, []string{
			`bos_token of the tokenizer is "<s>", id 0, and bos_token_id of config.json is 2`}},
		{"without an embedding", words, "", 0, nil},
		{"without tokenizer.json", "", `{"bos_token": "<s>", "eos_token": "</s>", "added_tokens_decoder": {"5": {"content": "</s>"}}}`, 6, []string{`eos_token of the tokenizer is "</s>", id 5, and eos_token_id of config.json is [1, 7]`}},
		{"corrupt", words[:len(words)-30], `{"bos_token": "<s>"}`, 10, nil},
		{"corrupt behind the tokens", strings.TrimSuffix(words, "}}") + `, "merges": [`, usual, 10, nil},
		{"unknown, and corrupt behind the tokens", strings.TrimSuffix(words, "}}") + `}, "merges": [`, `{"bos_token": "<s>"}`, 10, []string{`bos_token of tokenizer_config.json is "<s>", which tokenizer.json does not have`}},
		{"no objects", "[]", "[]", 1, nil},
	} {
		dir := t.TempDir()
		for name, content := range map[string]string{"tokenizer.json": tt.tokenizer, "tokenizer_config.json": tt.config} {
			if content == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		fields := map[string]any{"bos_token_id": json.Number("2"), "eos_token_id": []any{json.Number("1"), json.Number("7")}}
		if got := hfconfig.TokenizerNotes(storage.Local(dir), ".", tt.embeddings, fields); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, tt.want)
		}
	}
	first := fstest.MapFS{"tokenizer.json": {Data: []byte(`{"added_tokens": [{"id": 0, "content": "<s>"}], "model": {"vocab": {}}}`)}, "tokenizer_config.json": {Data: []byte(`{"bos_token": "<s>"}`)}}
	if got := hfconfig.TokenizerNotes(first, ".", 1, map[string]any{"bos_token_id": json.Number("0")}); got != nil {
		t.Errorf("id 0: %q", got)
	}
}
