package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestEditJSON(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing changes a byte", "{ \"b\" :[1, 2.0],\n\t\"é\":\"<\"}\n", "{ \"b\" :[1, 2.0],\n\t\"é\":\"<\"}\n"},
		{"values", "{\n  \"cap\": 30.0,\n  \"inner\": {\"window\": 1},\n  \"window\" :  2048 ,\n  \"z\": null\n}\n",
			"{\n  \"cap\": 1048576.0,\n  \"inner\": {\"window\": 1},\n  \"window\" :  9 ,\n  \"z\": null\n}\n"},
		{"one that is not there", "{\n  \"cap\": 1\n}", "{\n  \"cap\": 1048576.0,\n  \"window\": 9\n}"},
		{"in one line", `{"a": "}", "cap": -1e5}`, `{"a": "}", "cap": 1048576.0,"window": 9}`},
		{"both missing", `{ "a": [{}] }`, `{ "a": [{}], "cap": 1048576.0, "window": 9 }`},
	} {
		set := []jsonField{{"cap", pythonFloat(1 << 20)}, {"window", int64(9)}}
		if tt.text == tt.want {
			set = nil
		}
		got, err := editJSON([]byte(tt.text), set)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.name, err, got, tt.want)
		}
	}
	for _, text := range []string{"", "[]", "{", `{"a"`, `{"a": }`, `{"a": 1,`, "{}"} {
		if got, err := editJSON([]byte(text), []jsonField{{"cap", 1}}); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// TestHFToHFKeepsTheRest converts a directory with all that a published one has.
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
	r := convertFile(t, src, dst, Options{DType: tensor.F32, MatchRuntime: MatchTransformers5})
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

	// The other settings back, and everything is what it was.
	again := filepath.Join(dir, "again")
	convertFile(t, dst, again, Options{DType: tensor.BF16})
	if got, err := os.ReadFile(filepath.Join(again, "config.json")); err != nil || string(got) != published {
		t.Errorf("%v: config.json is %s, want %s", err, got, published)
	}
	sameTensors(t, src, again)

	// A tokenizer and a chat template of one's own replace those of the source.
	copied, _, err := copySidecars(src, FilesOptions{Tokenizer: "own.model", InstructionTuned: true})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range copied {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != ".gitattributes LICENSE README.link README.md" {
		t.Errorf("with a tokenizer: %s", got)
	}
}
