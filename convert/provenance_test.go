package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// ordinaryModel returns a random model without NaN.
func ordinaryModel(t *testing.T, rng *rand.Rand, l model.Layout, d tensor.DType) (*tensor.Checkpoint, model.Settings) {
	for {
		c, settings := randomModel(t, rng, l)
		if !slices.ContainsFunc(c.Tensors(), func(x *tensor.Tensor) bool { return x.DType != d }) {
			for _, x := range c.Tensors() {
				data := readAll(t, x)
				for i := 1; i < len(data); i += 2 {
					data[i] &= 0x3f
				}
				withData(x, data)
			}
			return c, settings
		}
	}
}

func manifestOf(t *testing.T, path string) *manifest.Manifest {
	t.Helper()
	m, _, err := readManifest(path)
	if err != nil || m == nil {
		t.Fatalf("%s: %v, %v", path, m, err)
	}
	return m
}

// A model that is converted back has the digests of the original in its conversion.json.
func TestDigestsAreCarriedAlong(t *testing.T) {
	for _, layout := range []model.Layout{model.Flax, model.Torch} {
		source, settings := ordinaryModel(t, rand.New(rand.NewPCG(1, uint64(layout))), layout, tensor.BF16)
		start := &journey{t: t, at: source, say: layout.String()}
		hf := start.to(Options{Settings: settings})
		far := hf.to(Options{To: []Target{model.Flax: ToTorch, model.Torch: ToOrbax}[layout]})
		home := far.to(Options{To: []Target{model.Flax: ToOrbax, model.Torch: ToTorch}[layout]})
		if m := manifestOf(t, hf.dir); m.Origin != nil || m.Tensors[0].Origin != nil || m.Format != "safetensors" {
			t.Errorf("the first conversion has an origin: %+v", m)
		}
		m := manifestOf(t, home.dir)
		if m.Origin == nil || m.Origin.Layout != layout.String() || m.Origin.Name != "model.ckpt" {
			t.Fatalf("origin %+v", m.Origin)
		}
		for _, entry := range m.Tensors {
			if len(entry.Origin) != 1 || entry.Origin[0].Rounded {
				t.Fatalf("%s: origin %+v", entry.Name, entry.Origin)
			}
			o := entry.Origin[0]
			if o.Sum != entry.Sum || o.Sum != digest.Of(digest.BLAKE3, readAll(t, source.Tensor(o.Name))) {
				t.Errorf("%s: %+v, its origin %+v", entry.Name, entry.Sum, o)
			}
		}
	}
}

// Through a narrower type the digests are carried over too, but are not expected to be restored.
func TestDigestsOfRoundedTensors(t *testing.T) {
	model, settings := ordinaryModel(t, rand.New(rand.NewPCG(2, 2)), model.Torch, tensor.F32)
	start := &journey{t: t, at: model}
	narrow := start.to(Options{Settings: settings, DType: tensor.BF16})
	for _, o := range []Options{{To: ToTorch, DType: tensor.F32}, {To: ToTorch}} {
		for _, entry := range manifestOf(t, narrow.to(o).dir).Tensors {
			if len(entry.Origin) != 1 || !entry.Origin[0].Rounded || entry.Origin[0].BLAKE3 == "" {
				t.Errorf("%s: origin %+v", entry.Name, entry.Origin)
			}
		}
	}
}

// The origin of a tensor that is made from two is known if those of both are.
func TestOriginOfBothHalves(t *testing.T) {
	for _, known := range []bool{true, false} {
		_, err := changedThen(t, digest.BLAKE3, false, func(dir string) {
			rewrite(t, dir, func(m map[string]any) {
				if !known {
					entryOf(m, "model.layers.0.mlp_block.up_proj.weight")["name"] = "another"
				}
			})
		}, func(dst string) {
			for _, entry := range manifestOf(t, dst).Tensors {
				want := 1
				if !known && entry.Name == "params.blocks.0.mlp_block.ffw_up.w" {
					want = 0
				}
				if len(entry.Origin) != want {
					t.Errorf("%s: origin %+v", entry.Name, entry.Origin)
				}
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// changed converts a model to the Hugging Face layout, changes the directory, and converts it back.
func changed(t *testing.T, a digest.Algorithms, verify bool, change func(dir string)) (*Result, error) {
	t.Helper()
	return changedThen(t, a, verify, change, func(string) {})
}

// changedThen is like changed, and inspects what was written.
func changedThen(t *testing.T, a digest.Algorithms, verify bool, change, look func(dir string)) (*Result, error) {
	t.Helper()
	source, settings := ordinaryModel(t, rand.New(rand.NewPCG(3, 3)), model.Flax, tensor.BF16)
	dir := filepath.Join(t.TempDir(), "hf")
	if _, err := Convert(t.Context(), source, dir, Options{Settings: settings, Verify: true, Digest: a}); err != nil {
		t.Fatal(err)
	}
	change(dir)
	c, err := formats.Open(dir, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dst := filepath.Join(t.TempDir(), "back")
	r, err := Convert(t.Context(), c, dst, Options{To: ToOrbax, Verify: verify})
	if _, absent := os.Lstat(dst); (err == nil) != (absent == nil) {
		t.Errorf("error %v, destination %v", err, absent)
	}
	if err == nil {
		look(dst)
	}
	return r, err
}

// flip changes one bit of a tensor.
func flip(t *testing.T, dir, name string) {
	t.Helper()
	c, err := formats.Open(dir, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lay, _, err := tensor.Layout(c.Tensor(name))
	if err != nil {
		t.Fatal(err)
	}
	at, _, _ := lay.Contiguous()
	path := filepath.Join(dir, "model.safetensors")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[at] ^= 4
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
}

// rewrite changes conversion.json, as a tree of JSON.
func rewrite(t *testing.T, dir string, change func(m map[string]any)) {
	t.Helper()
	var m map[string]any
	path := filepath.Join(dir, manifest.Name)
	readJSON(t, path, &m)
	change(m)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
}

func entryOf(m map[string]any, name string) map[string]any {
	for _, t := range m["tensors"].([]any) {
		if entry := t.(map[string]any); entry["name"] == name {
			return entry
		}
	}
	return nil
}

// A source that contradicts its conversion.json, whose digests may be SHA-256, is refused, and nothing is written.
func TestContradictedSourceIsRefused(t *testing.T) {
	const copied, turned = "model.embed_tokens.weight", "model.layers.0.mlp_block.down_proj.weight"
	other := strings.Repeat("ab", 32)
	for _, tt := range []struct {
		name   string
		change func(dir string)
		tensor string
		want   string
	}{
		{"a copied tensor", func(dir string) { flip(t, dir, copied) }, copied, "not those that"},
		{"a transposed tensor", func(dir string) { flip(t, dir, turned) }, turned, "not those that"},
		{"another shape", func(dir string) {
			rewrite(t, dir, func(m map[string]any) { entryOf(m, turned)["shape"] = []int{1, 2} })
		}, turned, "conversion.json says bfloat16 [1, 2]"},
		{"another type", func(dir string) {
			rewrite(t, dir, func(m map[string]any) { entryOf(m, turned)["dtype"] = "float16" })
		}, turned, "conversion.json says float16"},
		{"another origin", func(dir string) {
			rewrite(t, dir, func(m map[string]any) {
				from := entryOf(m, turned)["from"].([]any)[0].(map[string]any)
				for _, name := range digest.Names() {
					if from[name] != nil {
						from[name] = other
					}
				}
			})
		}, turned, "which it was made from"},
	} {
		for i := range 4 {
			a, verify := []digest.Algorithms{digest.BLAKE3, digest.SHA256}[i/2], i%2 == 1
			_, err := changed(t, a, verify, tt.change)
			var bad *tensor.FormatError
			if !errors.As(err, &bad) || bad.Tensor != tt.tensor || !strings.Contains(bad.Problem, tt.want) || !strings.Contains(bad.Hint, "hf/conversion.json") {
				t.Errorf("%s: %+v", tt.name, err)
			}
			if _, err = changed(t, a, verify, func(dir string) { tt.change(dir); os.Remove(filepath.Join(dir, manifest.Name)) }); err != nil {
				t.Errorf("%s, without conversion.json: %v", tt.name, err)
			}
		}
	}
}

// A conversion.json of more than 16 MiB, as that of very many tensors is, is used to its end.
func TestLongManifestIsUsed(t *testing.T) {
	for _, tt := range []struct{ key, problem string }{{"", ""}, {"blake3", "its elements are not those that"}, {"from", "which it was made from"}} {
		_, err := changedThen(t, digest.BLAKE3, false, func(dir string) {
			rewrite(t, dir, func(m map[string]any) {
				tensors := m["tensors"].([]any)
				last := tensors[len(tensors)-1].(map[string]any)
				switch tt.key {
				case "blake3":
					last["blake3"] = strings.Repeat("ab", 32)
				case "from":
					last["from"].([]any)[0].(map[string]any)["blake3"] = strings.Repeat("ab", 32)
				}
			})
			path := filepath.Join(dir, manifest.Name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.Replace(text, []byte(`"tensors":`), append(bytes.Repeat([]byte(" "), 17<<20), `"tensors":`...), 1)
			if err := os.WriteFile(path, text, 0o666); err != nil {
				t.Fatal(err)
			}
		}, func(dst string) {
			for _, entry := range manifestOf(t, dst).Tensors {
				if len(entry.Origin) != 1 {
					t.Errorf("%s: origin %+v", entry.Name, entry.Origin)
				}
			}
		})
		if (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%s: %v", tt.key, err)
		}
	}
}

// A conversion.json that griffin did not write, or is corrupt, or describes another checkpoint, is not used.
func TestForeignManifestIsNotUsed(t *testing.T) {
	for _, tt := range []struct{ name, text, note string }{
		{"foreign", `{"converted": true}`, ""},
		{"no object", `[]`, ""},
		{"empty", ``, "not used"},
		{"broken", `{"griffin": "v1", "tensors": [`, "not used"},
		{"deep", strings.Repeat(`[`, 20_000), "not used"},
		{"a key twice", `{"griffin": "v1", "griffin": "v1"}`, "not used"},
		{"wrong types", `{"griffin": "v1", "tensors": {"a": 1}}`, "not used"},
		{"another checkpoint", `{"griffin": "v1", "tensors": [{"name": "x", "dtype": "float32", "shape": [1], "sha256": "00"}]}`, "names none of the checkpoint's tensors"},
		{"no tensors", `{"griffin": "v1"}`, "names none of the checkpoint's tensors"},
		{"long", strings.Repeat(" ", 16<<20+1), "not used"},
	} {
		r, err := changed(t, digest.BLAKE3, false, func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, manifest.Name), []byte(tt.text), 0o666); err != nil {
				t.Fatal(err)
			}
		})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, tt.note) || tt.note == "" && strings.Contains(notes, "not used") {
			t.Errorf("%s: notes %q", tt.name, notes)
		}
	}
}
