package hfconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
)

const (
	tokenizerName   = "tokenizer.json"
	tokenizerConfig = "tokenizer_config.json"
)

// tokenizer is what the files of a tokenizer say of its tokens.
type tokenizer struct {
	ids  map[string]int64 // of the special tokens that tokenizer_config.json names, and that have one
	last int64            // the largest id, -1 for none
	all  bool             // tokenizer.json was read, which has every token
}

// TokenizerNotes says in which way the tokenizer in a directory of a source is not that of a model with so many embeddings, whose config.json has
// fields: it has ids beyond them, or begins or ends a text with other tokens. Fewer ids than embeddings are usual. Files that are not there, or
// that are no tokenizer, are not judged.
func TokenizerNotes(source fs.FS, dir string, embeddings int64, fields map[string]any) []string {
	stated, err := Fields(source, path.Join(dir, tokenizerConfig))
	if err != nil {
		stated = map[string]any{}
	}
	t := &tokenizer{ids: map[string]int64{}, last: -1}
	tokens := map[string]string{} // special tokens by the fields that name them
	for _, name := range []string{"bos_token", "eos_token"} {
		token, ok := stated[name].(string)
		if !ok {
			token, ok = stated[name+".content"].(string)
		}
		if ok && token != "" {
			tokens[name], t.ids[token] = token, -1
		}
	}
	for name, content := range stated {
		rest, isAdded := strings.CutPrefix(name, "added_tokens_decoder.")
		number, isText := strings.CutSuffix(rest, ".content")
		if id, err := strconv.ParseInt(number, 10, 64); isAdded && isText && err == nil {
			text, _ := content.(string)
			t.add(text, id)
		}
	}
	if err := t.read(source, path.Join(dir, tokenizerName)); err != nil {
		t.all = false
	}
	var notes []string
	if t.last >= embeddings && embeddings > 0 {
		notes = append(notes, fmt.Sprintf("the tokenizer has ids up to %d, and the embedding has %d rows: the tokenizer is of another model, or tokens were added to it alone", t.last, embeddings))
	}
	for _, name := range []string{"bos_token", "eos_token"} {
		token, named := tokens[name]
		switch id := t.ids[token]; {
		case !named:
		case id >= 0 && !hasID(fields[name+"_id"], id):
			notes = append(notes, fmt.Sprintf("%s of the tokenizer is %q, id %d, and %s_id of %s is %s", name, token, id, name, Name, showID(fields[name+"_id"])))
		case id < 0 && t.all:
			notes = append(notes, fmt.Sprintf("%s of %s is %q, which %s does not have", name, tokenizerConfig, token, tokenizerName))
		}
	}
	return notes
}

// hasID reports whether a field has an id of a token, or does not say which.
func hasID(value any, id int64) bool {
	switch v := value.(type) {
	case json.Number:
		return string(v) == fmt.Sprint(id)
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return hasID(item, id) })
	}
	return true
}

func showID(value any) string {
	list, ok := value.([]any)
	if !ok {
		return fmt.Sprint(value)
	}
	var parts []string
	for _, item := range list {
		parts = append(parts, fmt.Sprint(item))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (t *tokenizer) add(token string, id int64) {
	t.last = max(t.last, id)
	if _, ok := t.ids[token]; ok {
		t.ids[token] = id
	}
}

// errRead ends the reading of a tokenizer.json whose tokens are known.
var errRead = errors.New("the tokens were read")

// read reads the tokens of a tokenizer.json, and not what comes after them, which may be large.
func (t *tokenizer) read(source fs.FS, name string) error {
	f, size, err := storage.Open(source, name)
	if err != nil {
		return err
	}
	defer f.Close()
	d := strictjson.NewReader(io.NewSectionReader(f, 0, size), 100)
	added, vocabulary := false, false
	done := func() error {
		if t.all = vocabulary; added && vocabulary {
			return errRead
		}
		return nil
	}
	err = d.Object(func(key string) error {
		switch key {
		case "added_tokens":
			if err := t.readAdded(d); err != nil {
				return err
			}
			added = true
			return done()
		case "model":
			return d.Object(func(key string) error {
				if key != "vocab" {
					return d.Skip()
				}
				if err := t.readVocabulary(d); err != nil {
					return err
				}
				vocabulary = true
				return done()
			})
		}
		return d.Skip()
	})
	if errors.Is(err, errRead) {
		return nil
	}
	return err
}

// readAdded reads a list of tokens with their ids.
func (t *tokenizer) readAdded(d *strictjson.Decoder) error {
	return d.Array(func() error {
		token, id := "", int64(-1)
		err := d.Object(func(key string) (err error) {
			switch key {
			case "id":
				id, err = d.Uint()
			case "content":
				token, err = d.String()
			default:
				err = d.Skip()
			}
			return err
		})
		t.add(token, id)
		return err
	})
}

// readVocabulary reads the ids of tokens or, of a unigram model, a list of tokens with their scores.
func (t *tokenizer) readVocabulary(d *strictjson.Decoder) error {
	if d.Peek() == strictjson.KindObject {
		return d.Object(func(token string) error {
			id, err := d.Uint()
			t.add(token, id)
			return err
		})
	}
	id := int64(0)
	return d.Array(func() error {
		token, first := "", true
		err := d.Array(func() (err error) {
			if first {
				token, err = d.String()
				first = false
				return err
			}
			return d.Skip()
		})
		t.add(token, id)
		id++
		return err
	})
}
