package generate_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/generate"
)

// TestResume: a session that is loaded continues as the one that was saved, greedily, whatever was read or generated
// before, and a file can be continued more than once.
func TestResume(t *testing.T) {
	for _, name := range []string{"odd-griffin", "micro-hawk", "tiny-griffin"} {
		for _, precision := range []reference.Precision{reference.Float32, reference.Float64, reference.BFloat16} {
			for semantics := range reference.Transformers5 + 1 {
				m := open(t, name)
				m.Arithmetic.Precision, m.Semantics = precision, semantics
				for _, generated := range []int{0, 1, 30} {
					path := filepath.Join(t.TempDir(), "state.safetensors")
					s, before := run(t, m, []int32{7, 8, 9}, generate.Options{Max: generated})
					if err := s.Save(context.Background(), path, "digest"); err != nil {
						t.Fatal(err)
					}
					want, err := s.Generate(context.Background(), generate.Options{Max: 15}, nil)
					if err != nil {
						t.Fatal(err)
					}
					for range 2 {
						resumed, err := generate.Load(m, path, digestIs)
						if err != nil {
							t.Fatal(err)
						}
						if n := resumed.Tokens(); n != 3+len(before) {
							t.Errorf("%s: loaded %d tokens, want %d", name, n, 3+len(before))
						}
						got, err := resumed.Generate(context.Background(), generate.Options{Max: 15}, nil)
						if err != nil || !slices.Equal(got.Tokens, want.Tokens) {
							t.Errorf("%s, %v, %v: %v, want %v; %v", name, precision, semantics, got, want, err)
						}
					}
				}
			}
		}
	}
}

// rewrite writes a changed copy of a state file.
func rewrite(t *testing.T, path string, meta map[string]string, drop, narrow string) string {
	t.Helper()
	source, name, err := storage.Locate(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := safetensors.Open(source, name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := maps.Clone(c.Metadata)
	maps.Copy(all, meta)
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	var specs []tensor.Spec
	var contents [][]byte
	for _, x := range c.Tensors() {
		if x.Name == drop {
			continue
		}
		content := make([]byte, x.Bytes())
		if err := tensor.ReadFullAt(x, content, 0); err != nil {
			t.Fatal(err)
		}
		spec := tensor.Spec{Name: x.Name, DType: x.DType, Shape: x.Shape}
		if x.Name == narrow {
			spec.DType, spec.Shape = tensor.BF16, []int64{2 * x.Elements()}
		}
		specs, contents = append(specs, spec), append(contents, content)
	}
	layout, err := safetensors.NewLayout(specs, 0, all)
	if err != nil {
		t.Fatal(err)
	}
	file := layout.Header(0)
	file = append(file, make([]byte, layout.Files[0].Size-int64(len(file)))...)
	for i, content := range contents {
		copy(file[layout.Ranges[i].Offset:], content)
	}
	out := filepath.Join(t.TempDir(), "changed.safetensors")
	if err := os.WriteFile(out, file, 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// digestIs is the digest of the weights, whatever was recorded.
func digestIs(string) (string, error) { return "digest", nil }

// TestLoadRefuses: a state of another model, and a file that no Save wrote, are refused.
func TestLoadRefuses(t *testing.T) {
	m := open(t, "odd-griffin")
	path := filepath.Join(t.TempDir(), "state.safetensors")
	s, _ := run(t, m, []int32{7, 8, 9}, generate.Options{Max: 4})
	if err := s.Save(context.Background(), path, "digest"); err != nil {
		t.Fatal(err)
	}
	if _, err := generate.Load(m, rewrite(t, path, nil, "", ""), digestIs); err != nil {
		t.Fatalf("an unchanged copy: %v", err)
	}
	meta := func(key, value string) string { return rewrite(t, path, map[string]string{key: value}, "", "") }
	unrecorded, variant := meta("rope_theta", ""), reference.OriginalVariant()
	if _, err := generate.Load(m, unrecorded, digestIs); err != nil {
		t.Errorf("a state of the original's variant that does not record it: %v", err)
	}
	variant.RopeTheta = 100
	rotated := *m
	rotated.Config.Variant = &variant
	var differs *generate.SettingError
	if _, err := generate.Load(&rotated, unrecorded, digestIs); !errors.As(err, &differs) || *differs != (generate.SettingError{Setting: "rope_theta", State: "10000", Have: "100"}) {
		t.Errorf("a state of the original's variant in another: %v", err)
	}
	for _, tt := range []struct {
		name, path string
		reason     tensor.Reason
		want       string
	}{
		{"no state", "../../testdata/odd-griffin/hf/model.safetensors", generate.ReasonNotState, "not a state file"},
		{"version", meta("griffin_state", "2"), "", `version "2"`},
		{"weights", meta("model_digest", "other"), generate.ReasonOtherModel, `model_digest "other", but the model has "digest"`},
		{"semantics", meta("semantics", "transformers5"), generate.ReasonOtherModel, "semantics"},
		{"arithmetic", meta("arithmetic", "bfloat16"), generate.ReasonOtherModel, "arithmetic"},
		{"window", meta("attention_window", "6"), generate.ReasonOtherModel, "attention_window"},
		{"soft cap", meta("logits_soft_cap", "30"), generate.ReasonOtherModel, "logits_soft_cap"},
		{"scale", meta("embedding_scale", "false"), generate.ReasonOtherModel, "embedding_scale"},
		{"activation", meta("hidden_activation", "relu"), generate.ReasonOtherModel, `hidden_activation "relu", but the model has "gelu_pytorch_tanh"`},
		{"epsilon", meta("rms_norm_eps", "1e-05"), generate.ReasonOtherModel, `rms_norm_eps "1e-05", but the model has "1e-06"`},
		{"base", meta("rope_theta", "100"), generate.ReasonOtherModel, "rope_theta"},
		{"rotated part", meta("partial_rotary_factor", "1"), generate.ReasonOtherModel, "partial_rotary_factor"},
		{"head dimension", meta("head_dim", "2"), generate.ReasonOtherModel, "head_dim"},
		{"key heads", meta("num_key_value_heads", "2"), generate.ReasonOtherModel, "num_key_value_heads"},
		{"no tokens", meta("tokens", ""), "", "metadata tokens is"},
		{"zero tokens", meta("tokens", "0"), "", "0 tokens"},
		{"huge tokens", meta("tokens", "9999999999"), "", "want a number below 2^31"},
		{"fewer tokens", meta("tokens", "3"), "", "keys.0"},
		{"last token", meta("last_token", "61"), "", "the last of which is 61"},
		{"document", meta("document_start", "8"), "", "document"},
		{"no logits", rewrite(t, path, nil, "logits", ""), "", "no tensor logits"},
		{"no keys", rewrite(t, path, nil, "keys.2", ""), "", "arrays"},
		{"dtype", rewrite(t, path, nil, "", "h.1"), "", "h.1"},
	} {
		_, err := generate.Load(m, tt.path, digestIs)
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || bad.Reason != tt.reason || bad.File != tt.path || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := generate.Load(m, filepath.Join(t.TempDir(), "none"), digestIs); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	other := open(t, "micro-griffin") // of other shapes, should it have the same digest
	other.Config.AttentionWindow, other.Config.LogitsSoftCap = m.Config.AttentionWindow, m.Config.LogitsSoftCap
	if _, err := generate.Load(other, path, digestIs); err == nil {
		t.Error("a state of another shape")
	}
}

// FuzzLoad: no file causes a panic.
func FuzzLoad(f *testing.F) {
	m := open(f, "odd-griffin")
	path := filepath.Join(f.TempDir(), "state.safetensors")
	s, _ := run(f, m, []int32{7, 8, 9}, generate.Options{Max: 4})
	if err := s.Save(context.Background(), path, "digest"); err != nil {
		f.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add(content[:100])
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := generate.Load(m, path, digestIs)
		if err != nil {
			var bad *tensor.FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("not a FormatError: %v", err)
			}
			return
		}
		if _, err := s.Generate(context.Background(), generate.Options{Max: 1}, nil); err != nil && !errors.Is(err, generate.ErrNotFinite) {
			t.Fatal(err)
		}
	})
}
