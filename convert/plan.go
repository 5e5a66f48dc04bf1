package convert

import (
	"context"
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Plan is everything that a conversion will write to the weights, known before the first byte is
// written. It does not change after NewPlan returned it.
type Plan struct {
	moves.List // the tensors of the destination, and what fills them

	Source *model.Model // what is converted
	Layout model.Layout // of the destination
	Config model.Config // in the original's terms
	Preset string       // the preset that gave settings, or ""
	DType  tensor.DType // of the destination; if tensors differ, that of most elements
	Keep   bool         // each tensor keeps its dtype

	// SettingsKnown reports whether Config has the settings. A conversion between original layouts does
	// not need them.
	SettingsKnown bool

	// SettingsRecorded are the names of the settings that were not given, and that the source's conversion.json has.
	SettingsRecorded []string

	SettingsOrigins model.Origins // if SettingsKnown

	WindowAssumed bool // as model.Configured has it

	HF *manifest.HuggingFace // how config.json expresses Config; nil unless Layout is HuggingFace

	Embedding int              // index into Dests
	Extra     []int            // indices into Dests of tensors that are not parameters of the family
	Copies    []model.Copy     // output heads that are left out because they should be copies of the embedding
	Left      []*tensor.Tensor // tensors of the source that do not belong to the model (optimizer state, ...)
	Notes     []Note           // what the user should know

	types        []tensor.DType // of the destination's weights, that of most elements first
	allowInexact bool
	stated       *hfconfig.Config // the source's config.json if both layouts are HuggingFace, or nil
}

// Note is something that the user should know about a conversion, in one sentence.
type Note struct {
	Kind NoteKind
	Text string
}

// NoteKind classifies notes for callers that do not show all of them.
type NoteKind uint8

// The kinds of notes.
const (
	OtherNote     NoteKind = iota
	WindowNote             // attention_window_size is not the model's window, to match a runtime, or may not be
	SoftCapNote            // logits_soft_cap is a number that stands for no soft cap
	ExtraKeptNote          // tensors that are not parameters of the family are kept
	TypesNote              // what Plan.SeveralTypes says
	HeadNote               // the original implementations do not compute with the output head
	RecordNote             // what model.Configured.Overruled says
)

func (p *Plan) note(kind NoteKind, format string, args ...any) {
	p.Notes = append(p.Notes, Note{kind, fmt.Sprintf(format, args...)})
}

// CheckCopies compares the tensors of p.Copies with what they should be copies of. One that differs is
// a *tensor.FormatError. It is called before anything is written.
func (p *Plan) CheckCopies(ctx context.Context) error {
	return model.CheckCopies(ctx, p.Source, p.Copies)
}

// copiesTensors reports whether the tensors of a Hugging Face directory are copied as they are,
// whatever their meaning in its config.json.
func (p *Plan) copiesTensors() bool {
	return p.Source.Layout == model.HuggingFace && p.Layout == model.HuggingFace && p.Keep
}

// OwnHead returns the name in the destination of the output head that is a matrix of its own; "" if there is none.
func OwnHead(p *Plan) string {
	if h := model.OwnHead(p.Source, &p.Config); h != nil {
		for i := range p.Moves {
			if p.Moves[i].Source == h.Tensor {
				return p.Dests[p.Moves[i].Dest].Name
			}
		}
	}
	return ""
}

// divisionOf returns the move that divides the embedding, or nil.
func divisionOf(l moves.List) *moves.Move {
	for i := range l.Moves {
		if l.Moves[i].Divide != 0 {
			return &l.Moves[i]
		}
	}
	return nil
}

// settings returns the settings as conversion.json has them, or nil.
func (p *Plan) settings() *manifest.Settings {
	if !p.SettingsKnown {
		return nil
	}
	return &manifest.Settings{Preset: p.Preset, AttentionWindow: p.Config.AttentionWindow, WindowAssumed: p.WindowAssumed,
		LogitsSoftCap: manifest.Float(p.Config.LogitsSoftCap), EmbeddingScale: p.Config.EmbeddingScale}
}

// form returns p.HF if config.json has other numbers than the settings, or nil.
func (p *Plan) form() *manifest.HuggingFace {
	if p.HF == nil || p.HF.Plain(p.Config.LogitsSoftCap) {
		return nil
	}
	return p.HF
}
