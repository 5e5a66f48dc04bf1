package logits

import (
	"fmt"
	"math"
	"strings"
)

// Fault is a place in the model that is at fault for a result outside the envelope.
type Fault struct {
	Block  int       `json:"block"`          // -1 for the embedding, the number of blocks for the final norm and the logits
	Half   Half      `json:"half,omitempty"` // of the block; "" if the fixture does not show it
	Kind   FaultKind `json:"kind"`
	Site   string    `json:"site"`           // of the results outside
	Pass   string    `json:"pass,omitempty"` // "", "packed" or "decode": the first pass that is outside
	Proved bool      `json:"proved"`         // it was given the fixture's own input, so that what is before it has no part in this
	First  Location  `json:"first"`          // the first token outside
	Worst  Location  `json:"worst"`          // the token and channel with the largest share of what is allowed, in any pass
	Values *Values   `json:"values,omitempty"`

	WorstPass string `json:"worst_pass,omitempty"` // of the worst token: "", "packed" or "decode"

	// Cause is what the checkpoint does otherwise than the recording: with the opposite change of the model, and with the settings that explain
	// other faults, all results are inside. It is "" if none of the changes that are tried does that. Setting is set if it is a setting.
	Cause   string   `json:"cause,omitempty"`
	Setting *Setting `json:"setting,omitempty"`
	Where   string   `json:"where,omitempty"` // what the tokens and channels outside have in common
	Tensors []string `json:"tensors"`         // that may be at fault, by their full names; none if a setting is
	Detail  string   `json:"detail"`          // a sentence with all of it

	Places int     `json:"-"` // how many faults it stands for (Result.Fold); 0 for itself
	where  *places // of those, or nil

	members []*Fault       // those
	broken  []brokenTensor // that cause it
}

// Members returns the faults that a folded one stands for, or the fault itself.
func (f *Fault) Members() []*Fault {
	if f.members == nil {
		return []*Fault{f}
	}
	return f.members
}

// Values are the two values of Fault.Worst. Only embeddings have them, which are compared bit for bit.
type Values struct {
	Recorded   Number `json:"recorded"`   // by the fixture
	Checkpoint Number `json:"checkpoint"` // that the checkpoint gives
}

// String says which is which.
func (v *Values) String() string {
	return fmt.Sprintf("the recording has %v, this checkpoint gives %v", float32(v.Recorded), float32(v.Checkpoint))
}

// Half is a half of a block.
type Half string

// The halves of a block.
const (
	TemporalHalf Half = "temporal"
	MLPHalf      Half = "mlp"
)

// FaultKind is the kind of place at fault: the kind of a block, or a part of the model outside the blocks.
type FaultKind string

// The kinds of places at fault.
const (
	EmbeddingFault   FaultKind = "embedding"
	RecurrentFault   FaultKind = "recurrent"
	AttentionFault   FaultKind = "attention"
	FinalNormFault   FaultKind = "final norm"
	LogitsFault      FaultKind = "logits"
	RecordingFault   FaultKind = "recording"   // the fixture has values that are not finite, which the model gives as numbers
	WeightsFault     FaultKind = "weights"     // the fixture was recorded from other weights, or likely so
	DecodingFault    FaultKind = "decoding"    // only decoding is outside
	SettingsFault    FaultKind = "settings"    // all outputs are inside, but together they show that the recording was made with another setting
	AccumulatedFault FaultKind = "accumulated" // each block alone is inside, but their errors add up to too much
)

// InCheckpoint reports whether the fault is in a part of the model, and not in the recording, or in all weights.
func (f *Fault) InCheckpoint() bool { return f.Kind != RecordingFault && f.Kind != WeightsFault }

// Unlike reports whether the fault is that nothing is near what was recorded. Where that is first so does not matter.
func (f *Fault) Unlike() bool { return f.Kind == WeightsFault && f.Cause == "" }

// inBlock reports whether the fault is in one block.
func (f *Fault) inBlock() bool { return f.Kind == RecurrentFault || f.Kind == AttentionFault }

// Title names the place at fault.
func (f *Fault) Title() string {
	title := f.place()
	if f.Kind == AccumulatedFault {
		title = string(f.Kind)
	}
	if f.where == nil && f.inBlock() && f.Half == MLPHalf {
		title += " half"
	}
	return strings.ToUpper(title[:1]) + title[1:]
}

// place names the place at fault in a sentence.
func (f *Fault) place() string {
	switch {
	case f.where != nil:
		return f.where.title
	case f.Kind == RecordingFault:
		return "the recording"
	case f.Unlike():
		return "likely other weights or another model"
	case f.Kind == AccumulatedFault:
		return f.Site
	case !f.inBlock():
		return string(f.Kind)
	case f.Half == MLPHalf:
		return fmt.Sprintf("block %d, MLP", f.Block)
	case f.Half == TemporalHalf:
		return fmt.Sprintf("block %d, temporal half (%s)", f.Block, f.Kind)
	}
	return fmt.Sprintf("block %d (%s)", f.Block, f.Kind)
}

// describe returns Detail.
func (f *Fault) describe() string {
	if f.Kind == RecordingFault {
		return "the recording itself is not finite, and cannot prove these values: " + strings.Replace(f.Cause, ", which", "", 1)
	}
	if f.Kind == SettingsFault {
		return f.place() + ": " + f.Where + f.explanation()
	}
	var b strings.Builder
	b.WriteString(f.place())
	at := func(place, pass string, l *Location) string {
		if place != "" {
			place = " in " + place
		}
		return fmt.Sprintf("%s at %s of row %d", place, strings.TrimSpace(fmt.Sprintf("%s token %d", pass, l.Token)), l.Row)
	}
	fmt.Fprintf(&b, ": first wrong%s (position %d), worst%s, channel %d", at(f.FirstIn(), f.Pass, &f.First), f.First.Position, at(f.WorstIn(), f.WorstPass, &f.Worst), f.Worst.Channel)
	if v := f.Values; v != nil { // to be equal, whatever the envelope
		fmt.Fprintf(&b, ": %v", v)
	} else if share := float64(f.Worst.Share); !math.IsInf(share, 0) && share > 1 {
		fmt.Fprintf(&b, ", %.3g times the envelope", share)
	}
	if f.Where != "" {
		fmt.Fprintf(&b, "; %s", f.Where)
	}
	return b.String() + f.explanation()
}

// explanation is the end of Detail.
func (f *Fault) explanation() string {
	if f.Cause == "" || f.Kind == RecordingFault || f.Kind == WeightsFault {
		return ""
	}
	return "; explained by: " + f.Cause
}

// Symptom is Detail without Cause, for where the cause is known otherwise.
func (f *Fault) Symptom() string { return strings.TrimSuffix(f.Detail, f.explanation()) }
