package huggingface

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/sentencepiece"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Tokens of Gemma's turn format.
const (
	startOfTurn = "<start_of_turn>"
	endOfTurn   = "<end_of_turn>"
)

// gemmaEndOfTurn is the id of <end_of_turn> in the tokenizer of Gemma and RecurrentGemma, whose
// vocabulary is gemmaVocabulary.
const (
	gemmaEndOfTurn  = 107
	gemmaVocabulary = 256000
)

// tokenizer is a SentencePiece model that transformers' GemmaTokenizer reproduces.
type tokenizer struct {
	path string
	data []byte
	sp   *sentencepiece.Model
}

// readTokenizer reads a SentencePiece model, and refuses one with which transformers would split text
// differently. vocabulary is the size of the model's vocabulary.
func readTokenizer(path string, vocabulary int64) (*tokenizer, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	data, err := storage.ReadFile(source, name, sentencepiece.MaxFile)
	if err != nil {
		return nil, err
	}
	t := &tokenizer{path: path, data: data}
	if t.sp, err = sentencepiece.Parse(data, vocabulary); err == nil {
		err = t.check()
	}
	if bad, ok := err.(*tensor.FormatError); ok {
		if strings.HasPrefix(strings.TrimLeft(string(data[:min(len(data), 64)]), " \n\r\t"), "{") {
			bad.Advise("it looks like JSON; use the SentencePiece file, tokenizer.model")
		}
		return nil, bad.In(path)
	}
	return t, err
}

// check refuses a tokenizer that does what GemmaTokenizer of transformers 4.57 or 5.23 does
// differently.
func (t *tokenizer) check() error {
	sp := t.sp
	for _, c := range []struct {
		bad bool
		why string
	}{
		{!sp.BPE, "it is not a BPE model"},
		{!sp.ByteFallback || sp.ByteCount() != 256, "it has no byte fallback"},
		{sp.Normalizes, "it normalises characters"},
		{sp.DummyPrefix, "it adds a space before the text"},
		{sp.RemoveSpaces, "it removes spaces"},
		{sp.KeepSpaces, "it does not escape spaces"},
	} {
		if c.bad {
			return unlikeGemma(c.why)
		}
	}
	for id, text := range []string{sp.Pad, sp.End, sp.Begin} {
		if found, ok := sp.Find(text); !ok || found != id || sp.Pieces[id].Kind != sentencepiece.Control {
			return unlikeGemma(fmt.Sprintf("its first pieces are not padding, end and beginning of a text (%s is not piece %d)", text, id))
		}
	}
	var spaced []string
	for i := range sp.Pieces {
		if p := &sp.Pieces[i]; p.Kind == sentencepiece.UserDefined && strings.Contains(p.Text, " ") {
			spaced = append(spaced, strconv.Quote(p.Text))
		}
	}
	if len(spaced) > 0 { // SentencePiece replaces spaces of a text before it looks for them; transformers finds them
		return unlikeGemma("its user-defined pieces with spaces, which SentencePiece never finds in a text: " + tensor.JoinNames(spaced))
	}
	if id, ok := sp.Find(sp.Unknown); !ok || sp.Pieces[id].Kind != sentencepiece.Unknown {
		return unlikeGemma("it has no piece for unknown text")
	}
	return nil
}

func unlikeGemma(why string) error {
	return tensor.Bad("transformers' Gemma tokenizer would give other ids than this SentencePiece model: %s", why)
}

// files returns the tokenizer as AutoTokenizer reads it.
func (t *tokenizer) files(instructionTuned bool) ([]File, error) {
	config := map[string]any{
		"add_bos_token":                 true,
		"add_eos_token":                 false,
		"added_tokens_decoder":          t.addedTokens(),
		"bos_token":                     t.sp.Begin,
		"clean_up_tokenization_spaces":  false,
		"eos_token":                     t.sp.End,
		"model_max_length":              unlimited,
		"pad_token":                     t.sp.Pad,
		"sp_model_kwargs":               map[string]any{},
		"spaces_between_special_tokens": false,
		"tokenizer_class":               "GemmaTokenizer",
		"unk_token":                     t.sp.Unknown,
		"use_default_system_prompt":     false,
	}
	if turns := t.turns(); len(turns) > 0 {
		config["additional_special_tokens"] = turns
	}
	if _, ok := t.sp.Find("<mask>"); !ok {
		config["mask_token"] = nil // else transformers 5 adds one at the end of the vocabulary
	}
	if instructionTuned {
		config["chat_template"] = chatTemplate
	}
	text, err := marshal(config)
	if err != nil {
		return nil, err
	}
	return []File{newFile("tokenizer.model", t.data), newFile("tokenizer_config.json", text)}, nil
}

// turns returns the turn tokens that the tokenizer has.
func (t *tokenizer) turns() []string {
	var out []string
	for _, text := range []string{startOfTurn, endOfTurn} {
		if _, ok := t.sp.Find(text); ok {
			out = append(out, text)
		}
	}
	return out
}

// addedToken is transformers' AddedToken.
type addedToken struct {
	Content    string `json:"content"`
	LStrip     bool   `json:"lstrip"`
	Normalized bool   `json:"normalized"`
	RStrip     bool   `json:"rstrip"`
	SingleWord bool   `json:"single_word"`
	Special    bool   `json:"special"`
}

// addedTokens returns the pieces that transformers has to find before it splits text. SentencePiece
// looks for user-defined pieces after it has replaced spaces by U+2581, which "normalized" asks for.
// Without it, transformers 5 splits five spaces into two and three, and SentencePiece into four and
// one.
func (t *tokenizer) addedTokens() map[string]addedToken {
	out := map[string]addedToken{}
	for id := range t.sp.Pieces {
		p := &t.sp.Pieces[id]
		if !p.Special() {
			continue
		}
		special := p.Kind != sentencepiece.UserDefined || p.Text == startOfTurn || p.Text == endOfTurn
		out[strconv.Itoa(id)] = addedToken{Content: p.Text, Normalized: !special, Special: special}
	}
	return out
}

// unlimited is what transformers writes for a model without a longest input: int(1e30).
const unlimited = integer("1000000000000000019884624838656")

// chatTemplate is Gemma's turn format in Jinja: what apply_it_formatter of the original does, for
// more than one turn.
const chatTemplate = `{{ bos_token }}{% for message in messages %}` +
	`{% if message['role'] == 'system' %}{{ raise_exception('there is no system role') }}{% endif %}` +
	`{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user and assistant take turns, and the user begins') }}{% endif %}` +
	`{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' + message['content'] | trim + '<end_of_turn>\n' }}` +
	`{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}`

// integer is a JSON number of any size.
type integer string

// MarshalJSON implements json.Marshaler.
func (i integer) MarshalJSON() ([]byte, error) { return []byte(i), nil }

// TokenizerRemark says what AutoTokenizer of transformers makes of a directory with files of these names if that is not the tokenizer of the
// model, or else "". source is the checkpoint that was converted. Measured with transformers 4.57.3 and 5.23.0.
func TokenizerRemark(names []string, source *tensor.Checkpoint) string {
	has := func(name string) bool { return slices.Contains(names, name) }
	switch {
	case has("tokenizer.json"), has("vocab.json"), has("tokenizer.model") && has("tokenizer_config.json"):
		return ""
	case has("tokenizer.model"):
		return "the tokenizer is tokenizer.model alone: AutoTokenizer of transformers 5 puts no <bos> before a text, that of 4.57 does"
	}
	missing := "there is no tokenizer"
	if storage.IsFile(source.Source, source.Beside("tokenizer.model")) {
		missing += ", although tokenizer.model lies beside the source"
	}
	return missing + ": AutoTokenizer of transformers 5 silently loads an empty one, and that of 4.57 fails"
}
