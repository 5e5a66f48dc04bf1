package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/terminal"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/sentencepiece"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference/tokenizer"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// tokensFlag declares --tokens. more says what else is read from a file.
func tokensFlag(more string) cli.Flag {
	return &cli.StringFlag{Name: "tokens", Usage: "take `TOKENS` as they are: a list such as 2,651,37, or a safetensors file with tokens, int32 [batch, length]" + more}
}

func tokenizerFlag() cli.Flag {
	return &cli.StringFlag{Name: "tokenizer", DefaultText: "tokenizer.model beside the weights", Usage: "SentencePiece model `FILE` that splits text into tokens"}
}

// readTokens returns the tokens that --tokens names: a list of numbers, or those of a file. They are tokens of a model.
func readTokens(value string, m *runtime.Model) (*golden.Tokens, error) {
	ids, isList, err := tokenList(value)
	switch {
	case err != nil:
		return nil, err
	case isList:
		for i, id := range ids {
			if int64(id) >= m.Config.VocabSize {
				return nil, usagef("--tokens: %d is outside the vocabulary of %d (token %d, counted from 0)", id, m.Config.VocabSize, i)
			}
		}
		return golden.Row(ids)
	}
	tokens, err := golden.ReadTokens(value)
	if errors.Is(err, fs.ErrNotExist) && strings.Contains(value, ",") {
		return nil, usagef("--tokens: %q is neither a list of numbers nor a file", value).advise("give numbers with commas between them, such as 2,651,37")
	}
	if err == nil {
		err = checkTokens(value, tokens, m)
	}
	return tokens, err
}

// newTokenCount returns the progress of a number of tokens.
func newTokenCount(c *cli.Context, verb string, total int) *terminal.Progress {
	return terminal.NewCount(c.App.ErrWriter, verb, int64(total), func(n int64) string { return text.Count(n, "token") })
}

// textBytes returns the length of the text that tokens complete.
func textBytes(d *tokenizer.Decoder, tokens []int32) int64 {
	n := 0
	for _, token := range tokens {
		n += len(d.Next(token))
	}
	return int64(n)
}

// checkTokens returns an error if a token of a file is outside the model's vocabulary. The file is wrong then, not the model.
func checkTokens(path string, t *golden.Tokens, m *runtime.Model) error {
	i := slices.IndexFunc(t.IDs, func(id int32) bool { return int64(id) >= m.Config.VocabSize })
	if i < 0 {
		return nil
	}
	place := fmt.Sprintf("token %d", i%t.Length)
	if t.Batch > 1 {
		place += fmt.Sprintf(" of row %d", i/t.Length)
	}
	return usagef("--tokens %s: %d is outside the vocabulary of %d (%s, counted from 0)", path, t.IDs[i], m.Config.VocabSize, place).
		advise("give tokens of this model; a fixture of another model has that model's")
}

// utf8Reader reads a text, and returns a *tensor.FormatError for what is not UTF-8. A tokenizer would replace it by U+FFFD, as for a file that is no text.
type utf8Reader struct {
	r    io.Reader
	name string
	rest []byte // the beginning of a character, at offset
	at   int64
}

func (u *utf8Reader) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.rest = append(u.rest, p[:n]...)
	for len(u.rest) > 0 && (err == io.EOF || utf8.FullRune(u.rest)) {
		r, size := utf8.DecodeRune(u.rest)
		if r == utf8.RuneError && size == 1 {
			return 0, tensor.Bad("is not a text in UTF-8").In(u.name).At(u.at).Advise("give a text in UTF-8; iconv converts one of another encoding")
		}
		u.rest, u.at = u.rest[size:], u.at+int64(size)
	}
	return n, err
}

// tokenList parses numbers with commas between them. Anything else is the name of a file.
func tokenList(value string) (ids []int32, isList bool, err error) {
	if strings.Trim(value, "0123456789, ") != "" || strings.Trim(value, ", ") == "" {
		return nil, false, nil
	}
	for field := range strings.SplitSeq(value, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(field), 10, 32)
		if err != nil {
			return nil, true, usagef("--tokens: %q is not a token", field).advise("give numbers with commas between them, or a file (./%s if that is its name)", value)
		}
		ids = append(ids, int32(n))
	}
	return ids, true, nil
}

const tokenizerName = "tokenizer.model"

// openTokenizer returns the tokenizer that --tokenizer names, or else the one beside the weights of a model.
func openTokenizer(c *cli.Context, models ...*runtime.Model) (t *tokenizer.Tokenizer, path string, err error) {
	if path = c.String("tokenizer"); path != "" {
		source, name, err := storage.Locate(path)
		if err != nil {
			return nil, "", err
		}
		t, err = readTokenizer(source, name, path, models[0])
		return t, path, err
	}
	for _, m := range models {
		name := m.Checkpoint.Beside(tokenizerName)
		path = storage.Path(m.Checkpoint.Source, name)
		t, err = readTokenizer(m.Checkpoint.Source, name, path, m)
		if !errors.Is(err, fs.ErrNotExist) {
			return t, path, err
		}
	}
	return nil, "", &noTokenizerError{usagef("there is no %s beside the weights of %s", tokenizerName, models[0].Checkpoint.Path).
		advise("give the tokenizer with --tokenizer FILE, or tokens with --tokens")}
}

// noTokenizerError says that there is no tokenizer, and that none was given.
type noTokenizerError struct{ *usageError }

// Unwrap returns the *usageError.
func (e *noTokenizerError) Unwrap() error { return e.usageError }

func readTokenizer(source fs.FS, name, path string, m *runtime.Model) (*tokenizer.Tokenizer, error) {
	data, err := storage.ReadFile(source, name, sentencepiece.MaxFile)
	if err != nil {
		return nil, err
	}
	parsed, err := sentencepiece.Parse(data, m.Config.VocabSize)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: path})
	}
	t, err := tokenizer.New(parsed)
	return t, tensor.Annotate(err, tensor.Location{File: path})
}

// familyEnd is the token that ends a text in all published models, and in transformers' configuration if it names no other.
const familyEnd = 1

// endTokens returns the tokens that end a text: those of generation_config.json or config.json, and of the tokenizer, which
// may be nil.
func endTokens(m *runtime.Model, t *tokenizer.Tokenizer) ([]int32, error) {
	var ids []int32
	var files []string
	if m.Found.Layout == model.HuggingFace {
		files = []string{"generation_config.json", hfconfig.Name}
	}
	for _, name := range files {
		fields, err := hfconfig.Fields(m.Checkpoint.Source, m.Checkpoint.Beside(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if ids = endIDs(fields["eos_token_id"]); len(ids) > 0 {
			break
		}
	}
	if t != nil && !slices.Contains(ids, t.End()) {
		ids = append(ids, t.End())
	}
	if len(ids) == 0 {
		ids = []int32{familyEnd}
	}
	return ids, nil
}

// endIDs returns a number or a list of numbers.
func endIDs(value any) []int32 {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var ids []int32
	for _, item := range list {
		if number, ok := item.(json.Number); ok {
			if n, err := strconv.ParseInt(number.String(), 10, 32); err == nil {
				ids = append(ids, int32(n))
			}
		}
	}
	return ids
}
