// Package huggingface makes the files that a Hugging Face directory has beside its weights:
// config.json, generation_config.json, the tokenizer, and copies of documents. It also knows what
// transformers always does to a model's embeddings and logits, and which configuration undoes it.
// It does not know any model family: the caller gives the fields of config.json.
package huggingface

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
)

// Version is the version of transformers whose way to save a model is followed.
const Version = "5.23.0"

// File is a file of the directory.
type File struct {
	Name    string
	Content []byte
	Bytes   int64 // size of the file

	Source fs.FS  // if Content is nil: the source of the file to copy
	From   string // its name in Source
}

func newFile(name string, content []byte) File {
	return File{Name: name, Content: content, Bytes: int64(len(content))}
}

// TokenIDs are the ids of the tokens that a configuration names.
type TokenIDs struct {
	Pad, BOS, EOS int64
}

// Options describe the model and choose its files.
type Options struct {
	Config    map[string]any // all fields of config.json
	Tokens    TokenIDs
	VocabSize int64
	UseCache  bool // whether transformers can generate with a cache

	// SourceConfig is the name in Source of the config.json of a Hugging Face directory from which the
	// weights come, or "". The files of that directory are copied, and config.json is that file with
	// the fields in Changed set.
	Source       fs.FS
	SourceConfig string
	Changed      []Field

	Tokenizer        string // path of a SentencePiece model from which the tokenizer's files are made, or ""
	InstructionTuned bool   // add Gemma's chat template, and end generation at <end_of_turn>
}

// Field is a change of a field of a JSON object.
type Field struct {
	Name   string
	Value  any    // JSON
	Remove bool   // the object shall not have the field
	Note   string // what the user should know, or ""
}

// Directory is the result of Files.
type Directory struct {
	Files     []File   // config.json first
	Outside   []string // names there that were not copied because they are links that lead out of the directory
	NotCopied []string // names in the directory of Options.SourceConfig that were not copied and not replaced
	Unnamed   int64    // tokens of the vocabulary for which the tokenizer has no piece, if one is given
}

// ChatError reports that a model cannot have a chat template.
type ChatError struct {
	Tokenizer string // path of the tokenizer; "" if none is given, and the vocabulary is not Gemma's
	Piece     string // the piece that the template needs; Tokenizer lacks it
}

func (e *ChatError) Error() string {
	if e.Tokenizer == "" {
		return fmt.Sprintf("an instruction-tuned model needs the id of %s, and the vocabulary is not Gemma's", e.Piece)
	}
	return fmt.Sprintf("the tokenizer %s has no piece %s, which Gemma's chat template needs", e.Tokenizer, e.Piece)
}

// Files returns the files that belong beside the weights, in the form that both transformers 4.57
// and 5.23 read. A tokenizer that is corrupt, or that transformers would not reproduce, is a
// *tensor.FormatError.
func Files(o Options) (*Directory, error) {
	d := &Directory{}
	var t *tokenizer
	var tokenizerFiles []File
	if o.Tokenizer != "" {
		var err error
		if t, err = readTokenizer(o.Tokenizer, o.VocabSize); err != nil {
			return nil, err
		}
		d.Unnamed = o.VocabSize - int64(len(t.sp.Pieces))
		if tokenizerFiles, err = t.files(o.InstructionTuned); err != nil {
			return nil, err
		}
	}
	generation, err := generationConfig(&o, t)
	if err != nil {
		return nil, err
	}
	if o.SourceConfig != "" {
		return d, d.addCopies(&o, generation, tokenizerFiles)
	}
	config, err := marshal(o.Config)
	if err != nil {
		return nil, err
	}
	d.Files = append([]File{newFile(hfconfig.Name, config), generation}, tokenizerFiles...)
	return d, nil
}

// addCopies adds the files of a directory that was converted from another one.
func (d *Directory) addCopies(o *Options, generation File, tokenizerFiles []File) error {
	config, err := editConfig(o.Source, o.SourceConfig, o.Changed)
	if err != nil {
		return err
	}
	copied, left, outside, err := copySidecars(path.Dir(o.SourceConfig), o)
	if err != nil {
		return err
	}
	d.Files = append(d.Files, newFile(hfconfig.Name, config))
	if o.InstructionTuned {
		d.Files = append(d.Files, generation)
	}
	d.Files = append(append(d.Files, tokenizerFiles...), copied...)
	d.NotCopied, d.Outside = left, outside
	return nil
}

// generationConfig returns generation_config.json. It lacks the field _from_model_config, with which
// transformers 4 would take the end of a text from config.json instead.
func generationConfig(o *Options, t *tokenizer) (File, error) {
	ids := o.Tokens
	g := map[string]any{
		"bos_token_id":         ids.BOS,
		"eos_token_id":         ids.EOS,
		"output_attentions":    false,
		"output_hidden_states": false,
		"pad_token_id":         ids.Pad,
		"transformers_version": Version,
		"use_cache":            o.UseCache,
	}
	if o.InstructionTuned {
		id, err := endOfTurnID(t, o.VocabSize)
		if err != nil {
			return File{}, err
		}
		g["eos_token_id"] = []int64{ids.EOS, id}
	}
	content, err := marshal(g)
	return newFile("generation_config.json", content), err
}

// endOfTurnID returns the id of <end_of_turn>: the tokenizer's, or Gemma's if no tokenizer is given
// and the vocabulary has the size of Gemma's.
func endOfTurnID(t *tokenizer, vocabulary int64) (int64, error) {
	if t == nil {
		if vocabulary != gemmaVocabulary {
			return 0, &ChatError{Piece: endOfTurn}
		}
		return gemmaEndOfTurn, nil
	}
	for _, text := range []string{startOfTurn, endOfTurn} {
		if _, ok := t.sp.Find(text); !ok {
			return 0, &ChatError{Tokenizer: t.path, Piece: text}
		}
	}
	id, _ := t.sp.Find(endOfTurn)
	return int64(id), nil
}

// marshal returns JSON as Python's json.dumps(indent=2, sort_keys=True, ensure_ascii=False) writes
// it, with a newline at the end.
func marshal(v map[string]any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
