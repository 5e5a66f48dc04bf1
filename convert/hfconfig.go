package convert

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// unknownToFamily lists what the family does not compute.
func unknownToFamily(h *hfconfig.Config) []string {
	var out []string
	for _, f := range []struct {
		name       string
		have, want any
	}{
		{"model_type", h.ModelType, "recurrent_gemma"},
		{"num_key_value_heads", h.NumKeyValueHeads, int64(1)},
		{"conv1d_width", h.Conv1DWidth, int64(4)},
		{"rms_norm_eps", h.RMSNormEps, 1e-6},
		{"rope_theta", h.RopeTheta, 10000.0},
		{"partial_rotary_factor", h.PartialRotaryFactor, 0.5},
		{"rope_type", h.RopeType, "default"},
		{"hidden_activation", h.HiddenActivation, "gelu_pytorch_tanh"},
		{"attention_bias", h.AttentionBias, false},
	} {
		if f.have != f.want {
			out = append(out, fmt.Sprintf("%s is %v, and the family's models have %v", f.name, f.have, f.want))
		}
	}
	if h.IntermediateSize%2 != 0 {
		out = append(out, fmt.Sprintf("intermediate_size is %d, which is not even", h.IntermediateSize))
	}
	return out
}

// againstShapes lists where the file contradicts the shapes of the tensors.
func againstShapes(h *hfconfig.Config, c *Config) []string {
	var out []string
	for _, f := range []struct {
		name       string
		have, want int64
	}{
		{"vocab_size", h.VocabSize, c.VocabSize},
		{"hidden_size", h.HiddenSize, c.Width},
		{"intermediate_size", h.IntermediateSize, 2 * c.MLPExpandedWidth},
		{"num_hidden_layers", h.NumHiddenLayers, int64(len(c.BlockTypes))},
		{"num_attention_heads", h.NumAttentionHeads, c.NumHeads},
		{"lru_width", h.LRUWidth, c.LRUWidth},
	} {
		if f.have != f.want && !(f.name == "lru_width" && !c.Has(Recurrent)) {
			out = append(out, fmt.Sprintf("%s is %d, and the tensors' shapes say %d", f.name, f.have, f.want))
		}
	}
	for i, kind := range h.Layers() {
		if i < len(c.BlockTypes) && string(c.BlockTypes[i]) != kind {
			out = append(out, fmt.Sprintf("block_types make block %d %s, and its tensors %s", i, kind, c.BlockTypes[i]))
			break
		}
	}
	return out
}

// hfConfig reads the config.json beside the model; nil where there is none.
func (m *Model) hfConfig() (*hfconfig.Config, string, error) {
	source, name := m.Checkpoint.Source, m.Checkpoint.Beside(hfconfig.Name)
	h, err := hfconfig.Read(source, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return h, storage.Path(source, name), err
}

// sourceConfig is the config.json beside a model.
type sourceConfig struct {
	source fs.FS
	name   string // in source
	read   *hfconfig.Config
}

func (m *Model) sourceConfig() (*sourceConfig, error) {
	h, _, err := m.hfConfig()
	if h == nil {
		return nil, err
	}
	return &sourceConfig{m.Checkpoint.Source, m.Checkpoint.Beside(hfconfig.Name), h}, err
}

// settleHF completes c from a config.json.
func (m *Model) settleHF(s Settings, c *Config, h *hfconfig.Config, path string) error {
	fits := *h
	if m.resized {
		fits.VocabSize = c.VocabSize
	}
	if problems := append(unknownToFamily(h), againstShapes(&fits, c)...); len(problems) > 0 {
		return tensor.Bad("%s", strings.Join(problems, "; ")).In(path)
	}
	c.AttentionWindow, c.LogitsSoftCap, c.EmbeddingScale = h.AttentionWindowSize, h.LogitsSoftCap, true
	if !m.headChanged {
		c.SeparateHead = !h.TieWordEmbeddings
	}
	if c.SeparateHead && len(m.Heads) == 0 {
		return tensor.Bad("tie_word_embeddings is false, and there is no lm_head.weight").In(path)
	}
	if err := m.readForm(c, h); err != nil {
		return err
	}
	return m.agrees(s, c, path)
}

// agrees refuses settings that are given and contradict a config.json. They may be the numbers in it or
// those of the original.
func (m *Model) agrees(s Settings, c *Config, path string) error {
	given, original := *c, m.original(*c)
	if s.Preset == "" { // what is not given agrees
		s = Settings{AttentionWindow: cmp.Or(s.AttentionWindow, &c.AttentionWindow), LogitsSoftCap: cmp.Or(s.LogitsSoftCap, &c.LogitsSoftCap),
			EmbeddingScale: cmp.Or(s.EmbeddingScale, &c.EmbeddingScale)}
	}
	if _, err := s.settle(&given); err != nil {
		return err
	}
	if given.AttentionWindow != c.AttentionWindow && given.AttentionWindow != original.AttentionWindow ||
		given.LogitsSoftCap != c.LogitsSoftCap && given.LogitsSoftCap != original.LogitsSoftCap ||
		given.EmbeddingScale != c.EmbeddingScale && given.EmbeddingScale != original.EmbeddingScale {
		return &SettingsError{
			Problem: fmt.Sprintf("the settings given contradict %s: attention window %d, logits soft cap %v, embedding scale %t", path,
				original.AttentionWindow, original.LogitsSoftCap, original.EmbeddingScale),
			Hint: "a Hugging Face directory needs no settings: its config.json has them",
		}
	}
	return nil
}
