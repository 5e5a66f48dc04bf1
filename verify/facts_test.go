package verify

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
)

// The facts about a source are those of the source without its adapter.
func TestFactsWithAdapter(t *testing.T) {
	dir := filepath.Join(cases.Testdata(t), "finetune")
	adapter, err := peft.Read(storage.Local(dir), "adapter")
	if err != nil {
		t.Fatal(err)
	}
	defer adapter.Weights.Close()
	merged, err := verifyFiles(t, filepath.Join(dir, "base"), filepath.Join(dir, "merged"), Options{Adapter: adapter, Facts: true})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := verifyFiles(t, filepath.Join(dir, "base"), filepath.Join(dir, "base"), Options{Facts: true})
	if err != nil {
		t.Fatal(err)
	}
	if a := merged.Facts.Adapter; a == nil || a.Name != "adapter" || a.Changes != 13 || len(a.Files) != 2 || a.Files[1].BLAKE3 == "" || alone.Facts.Adapter != nil {
		t.Errorf("the adapter is %+v, without one %+v", a, alone.Facts.Adapter)
	}
	digest := alone.Facts.Source.Digest
	if digest == "" || alone.Facts.Converted.Digest != digest || merged.Facts.Source.Digest != digest || merged.Facts.Converted.Digest == digest {
		t.Errorf("%s, %s; with the adapter %s, %s", digest, alone.Facts.Converted.Digest, merged.Facts.Source.Digest, merged.Facts.Converted.Digest)
	}
}

// A source that writes the attention window for transformers 5 has the original's window among its facts if its conversion.json or a
// fixture shows it, whatever it is compared with. One without attention has none.
func TestFactsOfDirectories(t *testing.T) {
	m := matchedBases(t)[1]
	unknown := m.made.write(t)
	m.made.keeps = true
	recorded := m.made.write(t)
	right := baseOf(t, "float32, torch").source
	wrong := fineTune(t, func(s *made) { flip(3, 2)(s.get("final_norm.scale")) }).source
	fixture := cases.Open(t, "odd-griffin").Recording("jax")
	for _, tt := range []struct {
		name, source, converted string
		golden                  string
		window                  int64
	}{
		{"recorded, and an original", recorded, right, "", 5},
		{"recorded, and a directory", recorded, recorded, "", 5},
		{"not known", unknown, right, "", 6},
		{"a fixture, and another original", unknown, wrong, fixture, 5},
	} {
		v, err := verifyFiles(t, tt.source, tt.converted, Options{Facts: true, Golden: tt.golden})
		if err != nil {
			t.Fatal(err)
		}
		if f := v.Facts.Source.Config; f == nil || f.AttentionWindow != tt.window || f.AttentionWindowSize != (map[int64]int64{5: 6})[tt.window] {
			t.Errorf("%s: %+v, %+v", tt.name, f, v.Window)
		}
	}
	hawk := dividedBases(t)[0].made.write(t)
	v, err := verifyFiles(t, hawk, hawk, Options{Facts: true})
	if err != nil || !v.Same {
		t.Fatalf("%v, %+v", err, v)
	}
	for _, f := range []*CheckpointFacts{v.Facts.Source, v.Facts.Converted} {
		if f.Config == nil || f.Config.AttentionWindowSize != 0 || f.Config.BlockTypes[0] != string(model.Recurrent) {
			t.Errorf("%+v", f.Config)
		}
	}
}

// A converted checkpoint whose names are no model's has its size and a digest of all of its tensors.
func TestFactsOfRenamedTensors(t *testing.T) {
	base := baseOf(t, "bfloat16, torch")
	m := base.made.clone()
	renamed("_block.", "_part.")(m)
	v, err := verifyFiles(t, base.source, m.write(t), Options{Facts: true, Settings: base.settings})
	if err != nil {
		t.Fatal(err)
	}
	f := v.Facts.Converted
	if !v.Weights.OK || f.Parameters != v.Facts.Source.Parameters || f.Parameters == 0 || !strings.HasPrefix(f.Digest, "tensors ") || f.Config != nil || f.Stated == nil || f.Sizes != nil {
		t.Errorf("%t, %+v", v.Weights.OK, f)
	}
	of, stated := v.Facts.Source.Config, *f.Stated
	stated.AttentionWindow, stated.EmbeddingScale = of.AttentionWindow, of.EmbeddingScale // which config.json does not state
	if stated.AttentionWindowSize != of.AttentionWindow {
		t.Errorf("config.json states a window of %d, not %d", stated.AttentionWindowSize, of.AttentionWindow)
	}
	if stated.AttentionWindowSize = 0; !reflect.DeepEqual(&stated, of) {
		t.Errorf("config.json states %+v, not %+v", stated, of)
	}
	flip(3, 2)(m.get(strings.ReplaceAll(in(1, "mlp_block.up_proj.weight"), "_block.", "_part.")))
	if v, err = verifyFiles(t, base.source, m.write(t), Options{Facts: true, Settings: base.settings}); err != nil || v.Facts.Converted.Digest == f.Digest {
		t.Errorf("%v, another tensor has the same digest %s", err, f.Digest)
	}
}

// Of a directory whose config.json contradicts its tensors, what both show is described.
func TestFactsOfContradicted(t *testing.T) {
	base := baseOf(t, "bfloat16, torch")
	m := base.made.clone()
	field("block_types", func(*made) any { return []any{"attention"} })(m)
	v, err := verifyFiles(t, base.source, m.write(t), Options{Facts: true, Settings: base.settings})
	if err != nil {
		t.Fatal(err)
	}
	f := v.Facts.Converted
	if f.Config != nil || f.Stated == nil || f.Sizes == nil || f.Stated.BlockTypes[0] != string(model.Attention) || !slices.Equal(f.Sizes.BlockTypes, v.Facts.Source.Config.BlockTypes) {
		t.Errorf("%+v", f)
	}
}

// Of originals, whose settings nothing states, the sizes are described.
func TestFactsOfOriginals(t *testing.T) {
	original := filepath.Join(cases.Open(t, "tiny-griffin").Dir, "original")
	v, err := verifyFiles(t, filepath.Join(original, "torch.pt"), filepath.Join(original, "orbax-ocdbt"), Options{Facts: true})
	if err != nil || !v.Same {
		t.Fatalf("%v, %v", v, err)
	}
	for _, f := range []*CheckpointFacts{v.Facts.Source, v.Facts.Converted} {
		if s := f.Sizes; f.Config != nil || f.Stated != nil || s == nil || s.Width != 32 || s.VocabSize != 128 || len(s.BlockTypes) != 5 {
			t.Errorf("%+v", f)
		}
	}
}
