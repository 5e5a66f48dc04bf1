package tokenizer_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/griffin-ckpt/griffin/formats/sentencepiece"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/tokenizer"
)

// The file and model that TestParity reads; testdata/interop/tokenizer_parity.py makes others.
var (
	parityFile  = flag.String("parity", "testdata/parity.json", "texts with the tokens of SentencePiece")
	parityModel = flag.String("parity-model", modelFile, "the SentencePiece model that splits them")
)

const modelFile = "../../convert/testdata/tokenizer.model"

func open(t testing.TB, path string) *tokenizer.Tokenizer {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	model, err := sentencepiece.Parse(data, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(model)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// sample is a text as google/sentencepiece splits it.
type sample struct {
	Text    string
	Bytes   string // in hexadecimal, instead of Text
	IDs     []int32
	Decoded string
}

func samples(t testing.TB, path string) []sample {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Bytes != "" {
			raw, err := hex.DecodeString(all[i].Bytes)
			if err != nil {
				t.Fatal(err)
			}
			all[i].Text = string(raw)
		}
	}
	return all
}

// TestParity: text is split and joined as by google/sentencepiece.
func TestParity(t *testing.T) {
	tok := open(t, *parityModel)
	all := samples(t, *parityFile)
	failed := 0
	for _, s := range all {
		if got := tok.Encode(s.Text); !slices.Equal(got, s.IDs) {
			t.Errorf("%q: %v, SentencePiece gives %v", s.Text, got, s.IDs)
			failed++
		}
		if got := tok.Decode(s.IDs); got != s.Decoded {
			t.Errorf("%q: decoded to %q, SentencePiece gives %q", s.Text, got, s.Decoded)
			failed++
		}
		if failed > 20 {
			t.Fatal("too many differences")
		}
	}
	t.Logf("%d texts", len(all))
}

// TestEncodeReader: a text that is read piece by piece is split as the whole text is, wherever the pieces end.
func TestEncodeReader(t *testing.T) {
	tok := open(t, *parityModel)
	var whole strings.Builder
	for _, s := range samples(t, *parityFile)[:200] {
		whole.WriteString(s.Text)
	}
	want := tok.Encode(whole.String())
	for name, r := range map[string]io.Reader{
		"at once":     strings.NewReader(whole.String()),
		"bytes":       iotest.OneByteReader(strings.NewReader(whole.String())),
		"halves":      iotest.HalfReader(strings.NewReader(whole.String())),
		"late errors": iotest.DataErrReader(strings.NewReader(whole.String())),
	} {
		var got []int32
		if err := tok.EncodeReader(r, func(tokens []int32) error { got = append(got, tokens...); return nil }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d tokens differ from %d", name, len(got), len(want))
		}
	}
}

// TestEncodeReaderErrors: errors of the reader and of the callback end the reading, and so does a text that cannot be
// divided.
func TestEncodeReaderErrors(t *testing.T) {
	tok := open(t, modelFile)
	broken := errors.New("broken")
	if err := tok.EncodeReader(iotest.ErrReader(broken), func([]int32) error { return nil }); err != broken {
		t.Errorf("reader: %v", err)
	}
	if err := tok.EncodeReader(strings.NewReader("some text"), func([]int32) error { return broken }); err != broken {
		t.Errorf("callback: %v", err)
	}
	var bad *tensor.FormatError
	long := bytes.NewReader(bytes.Repeat([]byte("f"), 5<<20))
	if err := tok.EncodeReader(long, func([]int32) error { return nil }); !errors.As(err, &bad) {
		t.Errorf("a text without a place to divide it: %v", err)
	}
}

// TestDecoder: the text of each token appears as soon as its characters are complete.
func TestDecoder(t *testing.T) {
	tok := open(t, modelFile)
	d := tok.Decoder()
	var got []string
	for _, token := range append(tok.Encode("a😀"), tok.Begin(), tok.End(), 3, 5000, -1) {
		got = append(got, d.Next(token))
	}
	if want := []string{"a", "", "", "", "😀", "", "", " ⁇ ", "\ufffd", "\ufffd"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	d.Next(tok.Encode("é😀")[1]) // the first byte of a character
	if got := d.Flush(); got != "\ufffd" {
		t.Errorf("incomplete character: %q", got)
	}
}

// TestUnsupportedModels: a model that splits text in another way is refused.
func TestUnsupportedModels(t *testing.T) {
	data, err := os.ReadFile(modelFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*sentencepiece.Model){
		"unigram":        func(m *sentencepiece.Model) { m.BPE = false },
		"no bytes":       func(m *sentencepiece.Model) { m.ByteFallback = false },
		"normalizes":     func(m *sentencepiece.Model) { m.Normalizes = true },
		"prefix":         func(m *sentencepiece.Model) { m.DummyPrefix = true },
		"removes":        func(m *sentencepiece.Model) { m.RemoveSpaces = true },
		"keeps":          func(m *sentencepiece.Model) { m.KeepSpaces = true },
		"suffix":         func(m *sentencepiece.Model) { m.SuffixSpaces = true },
		"unused":         func(m *sentencepiece.Model) { m.Pieces[900].Kind = sentencepiece.Unused },
		"twice":          func(m *sentencepiece.Model) { m.Pieces[900].Text = m.Pieces[901].Text },
		"not a byte":     func(m *sentencepiece.Model) { m.Pieces[900].Kind = sentencepiece.Byte },
		"a byte missing": func(m *sentencepiece.Model) { m.Pieces[tokenOf(m, "<0x41>")].Text = "<0x42>" },
		"no beginning":   func(m *sentencepiece.Model) { m.Begin = "<s>" },
		"no end":         func(m *sentencepiece.Model) { m.End = "</s>" },
	} {
		m, err := sentencepiece.Parse(data, 1000)
		if err != nil {
			t.Fatal(err)
		}
		change(m)
		var bad *tensor.FormatError
		if _, err := tokenizer.New(m); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func tokenOf(m *sentencepiece.Model, text string) int {
	return slices.IndexFunc(m.Pieces, func(p sentencepiece.Piece) bool { return p.Text == text })
}

// FuzzEncode: any text is split without a panic, in pieces as at once, and valid text is what its tokens are joined to.
func FuzzEncode(f *testing.F) {
	tok := open(f, modelFile)
	for _, s := range samples(f, "testdata/parity.json")[:100] {
		f.Add(s.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens := tok.Encode(text)
		var read []int32
		if err := tok.EncodeReader(iotest.HalfReader(strings.NewReader(text)), func(t []int32) error { read = append(read, t...); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tokens, read) {
			t.Errorf("%v at once, %v in pieces", tokens, read)
		}
		want := strings.ReplaceAll(string([]rune(text)), "\u2581", " ")
		if got := tok.Decode(tokens); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok := open(b, modelFile)
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. Быстрая лиса. 敏捷的棕色狐狸\n", 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tok.Encode(text)
	}
}
