// Package sentencepiece reads SentencePiece models (tokenizer.model): the pieces of the vocabulary, and
// how text is split into them.
//
// Source: google/sentencepiece, src/sentencepiece_model.proto.
package sentencepiece

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/griffin-ckpt/griffin/formats/internal/foreign"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Model is the contents of a SentencePiece model.
type Model struct {
	Pieces []Piece // the id of a piece is its index

	BPE          bool // text is split by byte pair encoding
	ByteFallback bool // characters without a piece are split into bytes
	SuffixSpaces bool // a space belongs to the word before it
	Normalizes   bool // characters are changed before text is split
	DummyPrefix  bool // a space is added before the text
	RemoveSpaces bool // leading, trailing and repeated spaces are removed
	KeepSpaces   bool // spaces are not replaced by U+2581

	Unknown, Begin, End, Pad string // texts of the pieces with these meanings
	UnknownText              string // what an unknown piece is decoded to
}

// Piece is one piece of a vocabulary.
type Piece struct {
	Text  string
	Score float32 // pieces with higher scores are merged first
	Kind  Kind
}

// Kind says what a piece stands for.
type Kind uint8

// The kinds of piece.
const (
	Normal      Kind = 1
	Unknown     Kind = 2
	Control     Kind = 3 // has no text, such as the beginning of a text
	UserDefined Kind = 4 // always a token of its own
	Unused      Kind = 5
	Byte        Kind = 6 // stands for one byte
)

// Special reports whether a piece is not the result of merging shorter ones.
func (p *Piece) Special() bool {
	return p.Kind == Unknown || p.Kind == Control || p.Kind == UserDefined
}

// Limits of what Parse accepts.
const (
	MaxFile          = 64 << 20 // bytes of a file; Gemma's has 4 MB
	maxSpecialPieces = 1 << 16  // Gemma has a few hundred
	maxPieceText     = 1 << 10
)

const modelHint = "the SentencePiece model of a RecurrentGemma or Gemma model is its file tokenizer.model"

// Parse parses a SentencePiece model. maxPieces is the size of the model's vocabulary, the most pieces that
// the tokenizer may have. Data that is not a SentencePiece model, or has more pieces, gives a
// *tensor.FormatError.
func Parse(data []byte, maxPieces int64) (*Model, error) {
	p := parser{model: &Model{Unknown: "<unk>", Begin: "<s>", End: "</s>", Pad: "<pad>", UnknownText: " \u2047 ", DummyPrefix: true, RemoveSpaces: true}}
	trainer, normalizer := false, false
	err := eachField(data, 0, func(f field) error {
		switch f.number {
		case 1:
			return p.piece(f)
		case 2:
			trainer = true
			return eachField(f.bytes, f.offset, p.trainerField)
		case 3:
			normalizer = true
			return eachField(f.bytes, f.offset, p.normalizerField)
		}
		return nil
	})
	if bad, ok := err.(*tensor.FormatError); ok {
		if format := foreign.File(data[:min(len(data), foreign.HeadSize)]); format.Kind == foreign.Other {
			return nil, format.Error("")
		}
		return nil, bad.Advise(modelHint)
	}
	if err != nil {
		return nil, err
	}
	pieces := int64(len(p.model.Pieces))
	if pieces == 0 || !trainer || !normalizer {
		return nil, tensor.Bad("not a SentencePiece model: pieces, trainer specification or normalizer specification missing").Advise(modelHint)
	}
	if pieces > maxPieces {
		return nil, tensor.Bad("the tokenizer has %d pieces, but the model's vocabulary has %d", pieces, maxPieces).
			Advise("this is the tokenizer of another model, or of this one before its vocabulary was trimmed; use the trimmed tokenizer")
	}
	return p.model, nil
}

// Find returns the id of the unknown, control or user-defined piece with that text.
func (m *Model) Find(text string) (id int, ok bool) {
	for i := range m.Pieces {
		if p := &m.Pieces[i]; p.Special() && p.Text == text {
			return i, true
		}
	}
	return 0, false
}

// ByteCount returns the number of pieces that stand for one byte.
func (m *Model) ByteCount() int {
	n := 0
	for i := range m.Pieces {
		if m.Pieces[i].Kind == Byte {
			n++
		}
	}
	return n
}

// parser fills in a model.
type parser struct {
	model   *Model
	special int // number of special pieces
}

func (p *parser) piece(f field) error {
	if f.bytes == nil {
		return tensor.Bad("not a SentencePiece model: a piece is not a message").At(f.offset)
	}
	id := len(p.model.Pieces)
	var text []byte
	piece := Piece{Kind: Normal}
	kind := uint64(Normal)
	err := eachField(f.bytes, f.offset, func(f field) error {
		switch f.number {
		case 1:
			text = f.bytes
		case 2:
			piece.Score = math.Float32frombits(uint32(f.value))
		case 3:
			kind = f.value
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(text) == 0 || len(text) > maxPieceText || !utf8.Valid(text) {
		return tensor.Bad("piece %d is empty, too long or not UTF-8", id).At(f.offset)
	}
	if kind < uint64(Normal) || kind > uint64(Byte) {
		return tensor.Bad("piece %d is of unknown type %d", id, kind).At(f.offset)
	}
	piece.Text, piece.Kind = string(text), Kind(kind)
	if piece.Special() {
		if p.special++; p.special > maxSpecialPieces {
			return tensor.Bad("more than %d control and user-defined pieces", maxSpecialPieces).At(f.offset)
		}
	}
	p.model.Pieces = append(p.model.Pieces, piece)
	return nil
}

func (p *parser) trainerField(f field) error {
	switch m := p.model; f.number {
	case 3:
		m.BPE = f.value == 2
	case 24:
		m.SuffixSpaces = f.value != 0
	case 35:
		m.ByteFallback = f.value != 0
	case 44:
		m.UnknownText = string(f.bytes)
	case 45:
		m.Unknown = string(f.bytes)
	case 46:
		m.Begin = string(f.bytes)
	case 47:
		m.End = string(f.bytes)
	case 48:
		m.Pad = string(f.bytes)
	}
	return nil
}

func (p *parser) normalizerField(f field) error {
	switch m := p.model; f.number {
	case 2:
		m.Normalizes = m.Normalizes || len(f.bytes) > 0
	case 3:
		m.DummyPrefix = f.value != 0
	case 4:
		m.RemoveSpaces = f.value != 0
	case 5:
		m.KeepSpaces = f.value == 0
	}
	return nil
}

// field is one field of a protocol buffer message.
type field struct {
	number protowire.Number
	value  uint64 // of a varint or of a number of fixed size
	bytes  []byte // of a length-delimited field, not nil
	offset int64  // in the file, of the field's content
}

// eachField calls f for each field of a message that begins at an offset of the file. It checks all
// lengths and copies nothing.
func eachField(message []byte, offset int64, f func(field) error) error {
	for rest := message; len(rest) > 0; {
		at := offset + int64(len(message)-len(rest))
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 || !number.IsValid() {
			return tensor.Bad("not a SentencePiece model: bad field tag").At(at)
		}
		rest = rest[n:]
		fl := field{number: number}
		switch kind {
		case protowire.VarintType:
			if fl.value, n = protowire.ConsumeVarint(rest); n < 0 {
				return tensor.Bad("not a SentencePiece model: bad number").At(at)
			}
		case protowire.BytesType:
			length, k := protowire.ConsumeVarint(rest)
			if k < 0 || length > math.MaxInt32 {
				return tensor.Bad("not a SentencePiece model: bad length").At(at)
			}
			rest = rest[k:]
			n = int(length)
		case protowire.Fixed32Type:
			value, k := protowire.ConsumeFixed32(rest)
			fl.value, n = uint64(value), max(k, 4)
		case protowire.Fixed64Type:
			n = 8
		default:
			return tensor.Bad("not a SentencePiece model: unknown wire type %d", kind).At(at)
		}
		if n > len(rest) {
			return tensor.Bad("not a SentencePiece model: field %d of %d bytes reaches past its end", number, n).At(at)
		}
		fl.offset = offset + int64(len(message)-len(rest))
		if kind == protowire.BytesType {
			fl.bytes = rest[:n:n]
		}
		rest = rest[n:]
		if err := f(fl); err != nil {
			return err
		}
	}
	return nil
}
