package logits

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
)

// Setting is a setting with which the checkpoint computes otherwise than the recording was made.
type Setting struct {
	Name     SettingName `json:"name"`
	Value    string      `json:"value"`    // with which the checkpoint computes: "17", "true", "transformers5"; a soft cap of "0" is none
	Recorded string      `json:"recorded"` // with which the recording was made

	// Given says that the caller gave Value, because the checkpoint does not state the setting. Then the checkpoint need not be wrong.
	Given bool `json:"given,omitempty"`
}

// SettingName is the name of a setting.
type SettingName string

// The settings that may explain a fault. Those that a checkpoint may not state have their names in model.SettingNames.
const (
	WindowSetting    SettingName = "attention_window"
	SoftCapSetting   SettingName = "logits_soft_cap"
	ScaleSetting     SettingName = "embedding_scale"
	SemanticsSetting SettingName = "semantics" // not of the checkpoint, but of what runs it
)

// String says what the checkpoint computes with, and what the recording was made with.
func (s *Setting) String() string {
	value := s.Value
	switch s.Name {
	case WindowSetting:
		value = "an attention window of " + value
	case SoftCapSetting:
		if x, err := strconv.ParseFloat(value, 64); err == nil {
			value = strconv.FormatFloat(x, 'f', -1, 64) // without an exponent, as config.json has 1048576
		}
		if value = fmt.Sprintf("a soft cap of %s on the logits", value); s.Value == "0" {
			value = "no soft cap on the logits"
		}
	case ScaleSetting:
		if value = "embeddings without the factor root of the width"; s.Value == "true" {
			value = "embeddings with the factor root of the width"
		}
	case SemanticsSetting:
		value = "the semantics of " + value
	default:
		value = string(s.Name) + " " + value
	}
	if s.Given {
		value += ", as given"
	}
	return value + "; the recording was made " + s.Made()
}

// Made says how the recording was made: "with 30", "without one".
func (s *Setting) Made() string {
	switch {
	case s.Name == SoftCapSetting && s.Recorded == "0":
		return "without one"
	case s.Name == SoftCapSetting && s.Value == "0":
		return "with one of " + s.Recorded
	case s.Name == ScaleSetting && s.Recorded == "true":
		return "with the factor"
	case s.Name == ScaleSetting:
		return "without the factor"
	case s.Name == SemanticsSetting:
		return "with those of " + s.Recorded
	}
	return "with " + s.Recorded
}

// setting returns a setting that explains a fault, and whether it was given.
func (l *localiser) setting(name SettingName, value, recorded string) *Setting {
	given := l.given.Value(string(name)) != ""
	switch {
	case name == SemanticsSetting:
		given = l.as != nil
	case l.given.Preset != "" && slices.Contains(model.SettingNames[:], string(name)):
		given = true
	}
	return &Setting{Name: name, Value: value, Recorded: recorded, Given: given}
}

// withSetting is a hypothesis that the recording was made with another setting.
func withSetting(s *Setting, half Half, change func(m *reference.Model)) hypothesis {
	return hypothesis{cause: s.String(), setting: s, half: half, change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
		change(m)
		return m, p
	}}
}

// keep keeps a setting of blocks that explains a fault, for those that it does not explain alone.
func (l *localiser) keep(h hypothesis) {
	isNamed := func(x hypothesis) bool { return x.setting.Name == h.setting.Name }
	if ofBlocks := h.setting.IsNumeric() || h.setting != nil && h.setting.Name == WindowSetting; ofBlocks && !slices.ContainsFunc(l.found, isNamed) {
		l.found = append(l.found, h)
	}
}

// explainBeside tries again to explain the faults that nothing explains, of a model with the settings that explain others, as long as that finds
// more of them.
func (l *localiser) explainBeside() error {
	own := l.reference
	defer func() { l.reference = own }()
	for n := 0; n < len(l.found); {
		n = len(l.found)
		m := *own
		for _, h := range l.found {
			h.change(&m, nil)
		}
		l.reference = &m
		for _, f := range l.faults {
			if f.Cause != "" || !f.Proved {
				continue
			}
			again, explain := *f, l.explain
			if again.Tensors = nil; !f.inBlock() {
				again.Tensors, explain = f.Tensors, func(f *Fault) error { return (&headTrial{l, f}).explain() }
			}
			if err := explain(&again); err != nil {
				return err
			}
			if again.Cause != "" {
				*f = again
			}
		}
	}
	return nil
}
