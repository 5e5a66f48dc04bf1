package huggingface

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// sentencePiece is what a SentencePiece model file says about its vocabulary, as far as the
// description of the tokenizer for transformers needs it.
//
// Source: google/sentencepiece, src/sentencepiece_model.proto.
type sentencePiece struct {
	pieces  int64 // size of the vocabulary
	special []specialPiece
	bytes   int // number of pieces that stand for one byte

	bpe             bool
	byteFallback    bool
	suffixSpaces    bool
	unk, bos, eos   string
	pad             string
	normalizes      bool // changes characters before it splits text
	dummyPrefix     bool // adds a space before the text
	removesSpaces   bool
	keepsWhitespace bool // does not replace spaces by U+2581
}

// specialPiece is a piece that splitting text does not yield.
type specialPiece struct {
	id   int64
	text string
	kind pieceKind
}

type pieceKind uint64

const (
	pieceNormal      pieceKind = 1
	pieceUnknown     pieceKind = 2
	pieceControl     pieceKind = 3
	pieceUserDefined pieceKind = 4
	pieceUnused      pieceKind = 5
	pieceByte        pieceKind = 6
)

const (
	maxSentencePieceFile = 64 << 20 // Gemma's is 4 MB
	maxSpecialPieces     = 1 << 16  // Gemma has a few hundred
	maxPieceText         = 1 << 10
)

// parseSentencePiece parses a SentencePiece model. maxPieces is the size of the vocabulary, the most
// pieces that the tokenizer may have.
func parseSentencePiece(data []byte, maxPieces int64) (*sentencePiece, error) {
	sp := &sentencePiece{unk: "<unk>", bos: "<s>", eos: "</s>", pad: "<pad>", dummyPrefix: true, removesSpaces: true}
	trainer, normalizer := false, false
	err := eachField(data, 0, func(f field) error {
		switch f.number {
		case 1:
			return sp.addPiece(f)
		case 2:
			trainer = true
			return eachField(f.bytes, f.offset, sp.trainerField)
		case 3:
			normalizer = true
			return eachField(f.bytes, f.offset, sp.normalizerField)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if sp.pieces == 0 || !trainer || !normalizer {
		return nil, tensor.Bad("not a SentencePiece model: pieces, trainer specification or normalizer specification missing")
	}
	if sp.pieces > maxPieces {
		return nil, tensor.Bad("the tokenizer has %d pieces, but the model's vocabulary has %d", sp.pieces, maxPieces).
			Advise("this is the tokenizer of another model, or of this one before its vocabulary was trimmed; use the trimmed tokenizer")
	}
	return sp, nil
}

func (sp *sentencePiece) addPiece(f field) error {
	if f.bytes == nil {
		return tensor.Bad("not a SentencePiece model: a piece is not a message").At(f.offset)
	}
	p := specialPiece{id: sp.pieces, kind: pieceNormal}
	var text []byte
	err := eachField(f.bytes, f.offset, func(f field) error {
		switch f.number {
		case 1:
			text = f.bytes
		case 3:
			p.kind = pieceKind(f.value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(text) == 0 || len(text) > maxPieceText || !utf8.Valid(text) {
		return tensor.Bad("piece %d is empty, too long or not UTF-8", p.id).At(f.offset)
	}
	sp.pieces++
	switch p.kind {
	case pieceUnknown, pieceControl, pieceUserDefined:
		if len(sp.special) == maxSpecialPieces {
			return tensor.Bad("more than %d control and user-defined pieces", maxSpecialPieces).At(f.offset)
		}
		p.text = string(text)
		sp.special = append(sp.special, p)
	case pieceByte:
		sp.bytes++
	case pieceNormal, pieceUnused:
	default:
		return tensor.Bad("piece %d is of unknown type %d", p.id, p.kind).At(f.offset)
	}
	return nil
}

func (sp *sentencePiece) trainerField(f field) error {
	switch f.number {
	case 3:
		sp.bpe = f.value == 2
	case 24:
		sp.suffixSpaces = f.value != 0
	case 35:
		sp.byteFallback = f.value != 0
	case 45:
		sp.unk = string(f.bytes)
	case 46:
		sp.bos = string(f.bytes)
	case 47:
		sp.eos = string(f.bytes)
	case 48:
		sp.pad = string(f.bytes)
	}
	return nil
}

func (sp *sentencePiece) normalizerField(f field) error {
	switch f.number {
	case 2:
		sp.normalizes = sp.normalizes || len(f.bytes) > 0
	case 3:
		sp.dummyPrefix = f.value != 0
	case 4:
		sp.removesSpaces = f.value != 0
	case 5:
		sp.keepsWhitespace = f.value == 0
	}
	return nil
}

// find returns the special piece with that text, or nil.
func (sp *sentencePiece) find(text string) *specialPiece {
	for i := range sp.special {
		if sp.special[i].text == text {
			return &sp.special[i]
		}
	}
	return nil
}

// field is one field of a protocol buffer message.
type field struct {
	number protowire.Number
	value  uint64 // of a varint
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
			n = 4
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
