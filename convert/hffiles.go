package convert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// File is a file of the destination beside the weights.
type File struct {
	Name    string
	Content []byte
	From    string // the file that is copied, where there is no Content
	Bytes   int64  // of the file
}

func newFile(name string, content []byte) File {
	return File{Name: name, Content: content, Bytes: int64(len(content))}
}

// FilesOptions choose what goes beside the weights.
type FilesOptions struct {
	Tokenizer        string // path of a SentencePiece model, or ""
	InstructionTuned bool   // chat template, and <end_of_turn> ends generation
}

// formatVersion is the transformers version whose way of saving is followed.
const formatVersion = "5.23.0"

// specialIDs are the ids that configurations name.
type specialIDs struct {
	pad, bos int64
	eos      []int64 // the first is the end of a text
}

// HFFiles returns the files that belong beside the weights of a plan: config.json and
// generation_config.json as both transformers 4.57 and 5.23 read them, and those of the tokenizer
// where one is given. From a Hugging Face directory they are copied, together with its tokenizer, chat
// template and documents, and config.json has every field that the conversion does not change; what
// is left out is among p.Notes.
//
// A tokenizer that is broken, or that transformers would not reproduce, is a *tensor.FormatError; a
// question that only the user can answer a *SettingsError.
func HFFiles(p *Plan, o FilesOptions) ([]File, error) {
	made, err := makeHFFiles(p, o)
	if err != nil || p.config == nil {
		return made, err
	}
	config, err := editConfig(p)
	if err != nil {
		return nil, err
	}
	copied, left, err := copySidecars(filepath.Dir(p.config.path), o)
	if err != nil {
		return nil, err
	}
	if len(left) > 0 {
		for i := range left {
			left[i] = tensor.QuoteName(left[i])
		}
		p.Notes = append(p.Notes, "not copied, since it may not hold for the new weights: "+tensor.JoinNames(left))
	}
	files := []File{newFile(hfconfig.Name, config)}
	for _, f := range made {
		kind := sidecarOf(f.Name)
		if kind == generationFile && o.InstructionTuned || kind == tokenizerFile {
			files = append(files, f)
		}
	}
	return append(files, copied...), nil
}

// makeHFFiles returns those of a model that comes without any.
func makeHFFiles(p *Plan, o FilesOptions) ([]File, error) {
	ids := specialIDs{pad: 0, eos: []int64{1}, bos: 2} // RecurrentGemma's
	var files []File
	var t *tokenizer
	if o.Tokenizer != "" {
		var err error
		if t, err = readTokenizer(o.Tokenizer, p.Config.VocabSize); err != nil {
			return nil, err
		}
		if n := p.Config.VocabSize - t.sp.pieces; n > 0 {
			p.Notes = append(p.Notes, fmt.Sprintf("the vocabulary has %d tokens more than the tokenizer has pieces: what was added to the model's is not in the files written from it", n))
		}
		if files, err = t.files(o.InstructionTuned); err != nil {
			return nil, err
		}
	}
	if o.InstructionTuned {
		id, err := endOfTurnID(t, p.Config.VocabSize)
		if err != nil {
			return nil, err
		}
		ids.eos = append(ids.eos, id)
	}
	config, err := pythonJSON(configJSON(p, &ids))
	if err != nil {
		return nil, err
	}
	generation, err := pythonJSON(generationJSON(p, &ids))
	if err != nil {
		return nil, err
	}
	return append([]File{newFile(hfconfig.Name, config), newFile("generation_config.json", generation)}, files...), nil
}

// endOfTurnID returns the id of <end_of_turn>: the tokenizer's, or Gemma's where the vocabulary is
// Gemma's and no tokenizer is given.
func endOfTurnID(t *tokenizer, vocabulary int64) (int64, error) {
	if t == nil {
		if vocabulary != gemmaVocabulary {
			return 0, &SettingsError{Problem: "an instruction-tuned model needs the id of " + endOfTurn + ", and the vocabulary is not Gemma's",
				Hint: "give the tokenizer: --tokenizer FILE"}
		}
		return gemmaEndOfTurn, nil
	}
	for _, text := range []string{startOfTurn, endOfTurn} {
		if t.sp.find(text) == nil {
			return 0, &SettingsError{Problem: "the tokenizer " + t.path + " has no piece " + text + ", so the model cannot be instruction-tuned as Gemma is"}
		}
	}
	return t.sp.find(endOfTurn).id, nil
}

// configJSON returns config.json. transformers 5 reads dtype and rope_parameters, transformers 4 and
// other programs torch_dtype, rope_theta and partial_rotary_factor; both take both without a
// word.
func configJSON(p *Plan, ids *specialIDs) map[string]any {
	c := &p.Config
	layers := int64(len(c.BlockTypes))
	return map[string]any{
		"architectures":               []string{"RecurrentGemmaForCausalLM"},
		"attention_bias":              false,
		"attention_dropout":           manifest.Float(0),
		"attention_window_size":       p.HF.AttentionWindowSize,
		"block_types":                 c.Pattern(),
		"bos_token_id":                ids.bos,
		"conv1d_width":                c.ConvWidth,
		"dtype":                       p.DType.String(),
		"eos_token_id":                ids.eos[0],
		"final_w_init_variance_scale": manifest.Float(2 / float64(layers)),
		"head_dim":                    c.HeadDim(),
		"hidden_activation":           "gelu_pytorch_tanh",
		"hidden_size":                 c.Width,
		"intermediate_size":           2 * c.MLPExpandedWidth,
		"logits_soft_cap":             p.HF.LogitsSoftCap,
		"lru_width":                   c.LRUWidth,
		"model_type":                  "recurrent_gemma",
		"num_attention_heads":         c.NumHeads,
		"num_hidden_layers":           layers,
		"num_key_value_heads":         1,
		"pad_token_id":                ids.pad,
		"partial_rotary_factor":       manifest.Float(0.5),
		"rms_norm_eps":                manifest.Float(1e-6),
		"rope_parameters": map[string]any{
			"partial_rotary_factor": manifest.Float(0.5),
			"rope_theta":            manifest.Float(10000),
			"rope_type":             "default",
		},
		"rope_theta":            manifest.Float(10000),
		"tie_word_embeddings":   p.HF.TieWordEmbeddings,
		"torch_dtype":           p.DType.String(),
		"transformers_version":  formatVersion,
		"use_cache":             c.Has(Attention),
		"vocab_size":            c.VocabSize,
		"w_init_variance_scale": manifest.Float(0.01),
	}
}

// generationJSON returns generation_config.json. It lacks transformers' _from_model_config, with
// which transformers 4 would take the ends from config.json instead.
func generationJSON(p *Plan, ids *specialIDs) map[string]any {
	g := map[string]any{
		"bos_token_id":         ids.bos,
		"eos_token_id":         ids.eos,
		"output_attentions":    false,
		"output_hidden_states": false,
		"pad_token_id":         ids.pad,
		"transformers_version": formatVersion,
		"use_cache":            p.Config.Has(Attention),
	}
	if len(ids.eos) == 1 {
		g["eos_token_id"] = ids.eos[0]
	}
	return g
}

// pythonJSON writes JSON as Python's json.dumps(indent=2, sort_keys=True, ensure_ascii=False) does,
// and a newline at the end.
func pythonJSON(v map[string]any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// pythonInt is an integer of any size.
type pythonInt string

// MarshalJSON implements json.Marshaler.
func (i pythonInt) MarshalJSON() ([]byte, error) { return []byte(i), nil }
