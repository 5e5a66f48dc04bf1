package huggingface

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/sentencepiece"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// message appends a length-delimited field to a protocol buffer message.
func message(to []byte, number uint64, content []byte) []byte {
	to = binary.AppendUvarint(to, number<<3|2)
	to = binary.AppendUvarint(to, uint64(len(content)))
	return append(to, content...)
}

func number(to []byte, field, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(to, field<<3), value)
}

func piece(to []byte, text string, kind sentencepiece.Kind) []byte {
	p := message(nil, 1, []byte(text))
	p = append(p, 2<<3|5, 0, 0, 0, 0) // score
	return message(to, 1, number(p, 3, uint64(kind)))
}

// smallModel describes a small SentencePiece model. gemmaLike returns one like Gemma's.
type smallModel struct {
	first     []string // control pieces
	unknown   sentencepiece.Kind
	bytes     int
	kind      uint64
	fallback  uint64
	charsmap  string
	prefix    uint64
	removes   uint64
	escapes   uint64
	noTrainer bool
	user      []string // user-defined pieces
}

func gemmaLike() smallModel {
	return smallModel{first: []string{"<pad>", "<eos>", "<bos>"}, unknown: sentencepiece.Unknown, bytes: 256, kind: 2, fallback: 1, escapes: 1}
}

func (s smallModel) encode() []byte {
	var m []byte
	for _, text := range s.first {
		m = piece(m, text, sentencepiece.Control)
	}
	m = piece(m, "<unk>", s.unknown)
	for i := range s.bytes {
		m = piece(m, fmt.Sprintf("<0x%02X>", i), sentencepiece.Byte)
	}
	m = piece(m, endOfTurn, sentencepiece.UserDefined)
	for _, text := range s.user {
		m = piece(m, text, sentencepiece.UserDefined)
	}
	m = piece(m, "a", sentencepiece.Normal)
	trainer := number(nil, 3, s.kind)
	trainer = number(trainer, 35, s.fallback)
	for i, text := range []string{"<unk>", "<bos>", "<eos>", "<pad>"} {
		trainer = message(trainer, 45+uint64(i), []byte(text))
	}
	if !s.noTrainer {
		m = message(m, 2, trainer)
	}
	normalizer := message(nil, 2, []byte(s.charsmap))
	normalizer = number(normalizer, 3, s.prefix)
	normalizer = number(normalizer, 4, s.removes)
	return message(m, 3, number(normalizer, 5, s.escapes))
}

func writeFile(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokenizer.model")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadTokenizer(t *testing.T) {
	tok, err := readTokenizer("../testdata/tokenizer.model", 1000)
	if err != nil {
		t.Fatal(err)
	}
	sp := tok.sp
	if len(sp.Pieces) != 1000 || sp.ByteCount() != 256 || sp.Pad != "<pad>" || sp.End != "<eos>" || sp.Begin != "<bos>" || sp.Unknown != "<unk>" {
		t.Errorf("%d pieces, %d bytes, %s %s %s %s", len(sp.Pieces), sp.ByteCount(), sp.Pad, sp.End, sp.Begin, sp.Unknown)
	}
	if id, ok := sp.Find(endOfTurn); !ok || id != 12 || sp.Pieces[id].Kind != sentencepiece.UserDefined {
		t.Errorf("%s is piece %d, %t", endOfTurn, id, ok)
	}
	if id, ok := sp.Find("\u2581\u2581"); !ok || sp.Pieces[id].Kind != sentencepiece.UserDefined {
		t.Errorf("two spaces are piece %d, %t", id, ok)
	}
	if _, err := readTokenizer(filepath.Join(t.TempDir(), "none"), 1000); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestTokenizersThatAreRefused(t *testing.T) {
	good := gemmaLike().encode()
	if _, err := readTokenizer(writeFile(t, good), 300); err != nil {
		t.Fatalf("the one they are made from: %v", err)
	}
	escaped := gemmaLike()
	escaped.user = []string{"ko\u2581", "\u2581\u2581"}
	if _, err := readTokenizer(writeFile(t, escaped.encode()), 300); err != nil {
		t.Fatalf("pieces with U+2581: %v", err)
	}
	change := func(f func(*smallModel)) []byte {
		s := gemmaLike()
		f(&s)
		return s.encode()
	}
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "not a SentencePiece model: pieces, trainer specification or normalizer specification missing"},
		{"text", []byte("<pad>\n<eos>\n<bos>\n"), "not a SentencePiece model: unknown wire type 4"},
		{"json", []byte(`{"version": "1.0", "model": {}}`), "not a SentencePiece model"},
		{"zip", []byte("PK\x03\x04 and so on"), "is the beginning of a zip archive"},
		{"truncated", good[:len(good)-3], "reaches past its end"},
		{"zeros", make([]byte, 100), "bad field tag"},
		{"length", []byte{10, 0xff, 0xff, 0xff, 0xff, 0x7f}, "bad length"},
		{"overlong number", append([]byte{8}, slices.Repeat([]byte{0x80}, 12)...), "bad number"},
		{"piece that is a number", number(nil, 1, 7), "a piece is not a message"},
		{"empty piece", piece(nil, "", sentencepiece.Normal), "piece 0 is empty"},
		{"long piece", piece(nil, strings.Repeat("x", 2000), sentencepiece.Normal), "piece 0 is empty, too long"},
		{"not UTF-8", piece(nil, "\xff", sentencepiece.Normal), "not UTF-8"},
		{"type", piece(nil, "a", 9), "piece 0 is of unknown type 9"},
		{"no trainer", change(func(s *smallModel) { s.noTrainer = true }), "specification missing"},
		{"unigram", change(func(s *smallModel) { s.kind = 1 }), "it is not a BPE model"},
		{"no byte fallback", change(func(s *smallModel) { s.fallback = 0 }), "no byte fallback"},
		{"a byte missing", change(func(s *smallModel) { s.bytes = 255 }), "no byte fallback"},
		{"spaces", change(func(s *smallModel) { s.user = []string{"x", "ko ", "ba ko"} }), `user-defined pieces with spaces, which SentencePiece never finds in a text: "ko ", "ba ko"`},
		{"normalises", change(func(s *smallModel) { s.charsmap = "x" }), "it normalises characters"},
		{"dummy prefix", change(func(s *smallModel) { s.prefix = 1 }), "adds a space before the text"},
		{"removes spaces", change(func(s *smallModel) { s.removes = 1 }), "removes spaces"},
		{"keeps spaces", change(func(s *smallModel) { s.escapes = 0 }), "does not escape spaces"},
		{"other order", change(func(s *smallModel) { s.first = []string{"<bos>", "<eos>", "<pad>"} }), "<pad> is not piece 0"},
		{"no padding", change(func(s *smallModel) { s.first = []string{"<eos>", "<bos>"} }), "<pad> is not piece 0"},
		{"no unknown", change(func(s *smallModel) { s.unknown = sentencepiece.Normal }), "no piece for unknown text"},
		{"too many pieces", slices.Concat(good, piece(nil, "b", sentencepiece.Normal), slices.Repeat(piece(nil, "c", sentencepiece.Normal), 100)), "the tokenizer has 363 pieces, but the model's vocabulary has 300"},
		{"too many special pieces", slices.Repeat(piece(nil, "c", sentencepiece.Control), 1<<16+1), "more than 65536 control and user-defined pieces"},
	} {
		path := writeFile(t, tt.data)
		_, err := readTokenizer(path, 300)
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) || bad.File != path {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
		if tt.name == "json" && !strings.Contains(bad.Hint, "tokenizer.model") {
			t.Errorf("%s: hint %q", tt.name, bad.Hint)
		}
	}
}

func TestTokenizerWithoutMask(t *testing.T) {
	tok, err := readTokenizer(writeFile(t, gemmaLike().encode()), 300)
	if err != nil {
		t.Fatal(err)
	}
	files, err := tok.files(false)
	if err != nil {
		t.Fatal(err)
	}
	// transformers 5 would add a piece that the model has no embedding for
	if !strings.Contains(string(files[1].Content), `"mask_token": null`) || strings.Contains(string(files[1].Content), "chat_template") {
		t.Errorf("%s", files[1].Content)
	}
}

func FuzzTokenizer(f *testing.F) {
	good := gemmaLike().encode()
	f.Add(good)
	f.Add(good[:100])
	f.Add(message(piece(nil, "a", sentencepiece.Normal), 2, []byte{0x18, 2}))
	if data, err := os.ReadFile("../testdata/tokenizer.model"); err == nil {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sp, err := sentencepiece.Parse(data, 1<<20)
		if err != nil {
			var bad *tensor.FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("not a FormatError: %v", err)
			}
			return
		}
		if len(sp.Pieces) > len(data) {
			t.Fatalf("%d pieces of %d bytes", len(sp.Pieces), len(data))
		}
		tok := &tokenizer{path: "x", data: data, sp: sp}
		if tok.check() == nil {
			if _, err := tok.files(true); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestChatNeedsTurns: the id of <end_of_turn> comes from the tokenizer, or is Gemma's.
func TestChatNeedsTurns(t *testing.T) {
	o := Options{Config: map[string]any{}, InstructionTuned: true, VocabSize: 300}
	var chat *ChatError
	if _, err := Files(o); !errors.As(err, &chat) || chat.Tokenizer != "" || chat.Piece != endOfTurn {
		t.Errorf("without a tokenizer: %v", err)
	}
	o.Tokenizer = writeFile(t, gemmaLike().encode())
	if _, err := Files(o); !errors.As(err, &chat) || chat.Tokenizer != o.Tokenizer || chat.Piece != startOfTurn {
		t.Errorf("a tokenizer without turns: %v", err)
	}
	o.Tokenizer, o.VocabSize = "", gemmaVocabulary
	d, err := Files(o)
	if err != nil || !strings.Contains(string(d.Files[1].Content), "107") {
		t.Errorf("Gemma's vocabulary: %+v, %v", d, err)
	}
}

// What AutoTokenizer makes of a directory is said where it is not the tokenizer of the model.
func TestTokenizerRemark(t *testing.T) {
	beside := fstest.MapFS{"model.pt": {}, "tokenizer.model": {}}
	alone := fstest.MapFS{"model.pt": {}}
	for _, tt := range []struct {
		names  []string
		source fs.FS
		want   string
	}{
		{[]string{"config.json", "tokenizer.json"}, alone, ""},
		{[]string{"vocab.json"}, alone, ""},
		{[]string{"tokenizer.model", "tokenizer_config.json"}, alone, ""},
		{[]string{"tokenizer.model"}, alone, "transformers 5 puts no <bos> before a text"},
		{[]string{"tokenizer_config.json"}, alone, "there is no tokenizer: "},
		{nil, beside, "there is no tokenizer, although tokenizer.model lies beside the source: "},
	} {
		got := TokenizerRemark(tt.names, &tensor.Checkpoint{Source: tt.source, Root: "model.pt"})
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%v: %q, want %q", tt.names, got, tt.want)
		}
	}
}
