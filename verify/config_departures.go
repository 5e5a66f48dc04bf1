package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// judgeDepartures finds fields with which transformers loads or computes something else, or fails, unless something was found
// in them before.
func judgeDepartures(fields map[string]any, before []Finding) []Finding {
	var out []Finding
	for _, d := range hfconfig.Departures(fields) {
		if slices.ContainsFunc(before, func(f Finding) bool { return f.Field == d.Field || strings.HasPrefix(f.Field, d.Field+".") }) {
			continue
		}
		out = append(out, Finding{Kind: WrongField, Field: d.Field, Want: noField, Got: showField(d.Value), Detail: d.Effect})
	}
	return out
}

// unknownNotes names the fields that change what generate() does, and those that griffin does not know, unless the source has
// the same.
func unknownNotes(fields, sourceFields map[string]any) []string {
	var notes []string
	differing := func(names []string) []string {
		return slices.DeleteFunc(names, func(name string) bool { return sourceFields != nil && sameField(fields, sourceFields, name) })
	}
	if names := differing(hfconfig.GenerationFields(fields)); len(names) > 0 {
		notes = append(notes, fmt.Sprintf("generate() depends on %s: transformers 4.57 takes %s from config.json, and 5.23 if there is no generation_config.json",
			strings.Join(shownFields(fields, names), ", "), them(len(names))))
	}
	if names := differing(hfconfig.UnknownFields(fields)); len(names) > 0 {
		notes = append(notes, fmt.Sprintf("%s not known to griffin, and transformers may act on %s: %s", text.CountAre(len(names), "field"), them(len(names)),
			strings.Join(shownFields(fields, names), ", ")))
	}
	return notes
}

// sameField reports whether two files have the same value of a field, objects included.
func sameField(a, b map[string]any, name string) bool {
	for _, fields := range [][2]map[string]any{{a, b}, {b, a}} {
		for key, value := range fields[0] {
			other, ok := fields[1][key]
			if (key == name || strings.HasPrefix(key, name+".")) && (!ok || showField(value) != showField(other)) {
				return false
			}
		}
	}
	return true
}

// shownFields writes fields with their values: "do_sample true". Long ones are cut short.
func shownFields(fields map[string]any, names []string) []string {
	const most = 8
	var out []string
	for _, name := range names[:min(len(names), most)] {
		shown := name
		if value, ok := fields[name]; ok {
			shown += " " + showField(value)
		}
		out = append(out, shown)
	}
	if more := len(names) - most; more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return out
}

func them(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}
