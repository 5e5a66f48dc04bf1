package logits

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/reference"
)

// Setting is a setting with which the checkpoint computes otherwise than the recording was made.
type Setting struct {
	Name     SettingName `json:"name"`
	Value    string      `json:"value"`    // with which the checkpoint computes: "17", "true", "transformers5"; a soft cap of "0" is none
	Recorded string      `json:"recorded"` // with which the recording was made
}

// SettingName is the name of a setting.
type SettingName string

// The settings that may explain a fault.
const (
	WindowSetting    SettingName = "attention_window"
	SoftCapSetting   SettingName = "logits_soft_cap"
	ScaleSetting     SettingName = "embedding_scale"
	SemanticsSetting SettingName = "semantics" // not of the checkpoint, but of what runs it
)

// String says what the checkpoint computes with, and what the recording was made with.
func (s *Setting) String() string {
	switch s.Name {
	case WindowSetting:
		return fmt.Sprintf("an attention window of %s; the recording was made with %s", s.Value, s.Recorded)
	case SoftCapSetting:
		value, recorded := fmt.Sprintf("a soft cap of %s on the logits", s.Value), "with "+s.Recorded
		if s.Value == "0" {
			value, recorded = "no soft cap on the logits", "with one of "+s.Recorded
		}
		if s.Recorded == "0" {
			recorded = "without one"
		}
		return value + "; the recording was made " + recorded
	case ScaleSetting:
		if s.Value == "true" {
			return "embeddings that are multiplied by the root of the width; the recording was made without that"
		}
		return "embeddings that are not multiplied by the root of the width; the recording was made with that"
	}
	return fmt.Sprintf("the semantics of %s; the recording was made with those of %s", s.Value, s.Recorded)
}

// withSetting is a hypothesis that the recording was made with another setting.
func withSetting(s Setting, half Half, change func(m *reference.Model)) hypothesis {
	return hypothesis{cause: s.String(), setting: &s, half: half, change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
		change(m)
		return m, p
	}}
}
