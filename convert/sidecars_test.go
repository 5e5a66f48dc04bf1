package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// TestHFToHFKeepsTheRest converts a directory that has all files of a published one.
func TestHFToHFKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	convertFile(t, "../testdata/tiny-griffin/original/torch.pt", src, Options{Settings: tinySettings})
	config, err := os.ReadFile(filepath.Join(src, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	published := strings.Replace(string(config), `"bos_token_id": 2`, `"bos_token_id": 77, "_name_or_path" : "x"`, 1)
	files := map[string]string{
		"config.json": published, "generation_config.json": "{}", "tokenizer.json": "t", "tokenizer_config.json": "c", "special_tokens_map.json": "s",
		"chat_template.jinja": "j", "README.md": "r", "LICENSE": "l", ".gitattributes": "g",
		"notes.txt": "n", "model.gguf": "no", ".hidden": "h", "model-00001-of-00001.bin": "old weights", "training_args.bin": "a",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(src, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(src, "runs"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("README.md", filepath.Join(src, "README.link")); err != nil {
		t.Log(err)
	}
	r := convertFile(t, src, dst, Options{DType: tensor.F32, MatchRuntime: Transformers5})
	want := strings.NewReplacer(`"attention_window_size": 8`, `"attention_window_size": 9`, `"dtype": "bfloat16"`, `"dtype": "float32"`,
		`"torch_dtype": "bfloat16"`, `"torch_dtype": "float32"`).Replace(published)
	files["config.json"] = want
	for name, content := range files {
		got, err := os.ReadFile(filepath.Join(dst, name))
		switch name {
		case "notes.txt", "model.gguf", ".hidden", "model-00001-of-00001.bin", "training_args.bin":
			if err == nil {
				t.Errorf("%s was copied", name)
			}
		default:
			if err != nil || string(got) != content {
				t.Errorf("%s: %v: %s, want %s", name, err, got, content)
			}
		}
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "not copied, since it may not hold for the new weights: model.gguf, notes.txt, runs") {
		t.Errorf("notes %s", notes)
	}

	// The opposite options restore everything.
	again := filepath.Join(dir, "again")
	convertFile(t, dst, again, Options{DType: tensor.BF16})
	if got, err := os.ReadFile(filepath.Join(again, "config.json")); err != nil || string(got) != published {
		t.Errorf("%v: config.json is %s, want %s", err, got, published)
	}
	sameTensors(t, src, again)
}
