package nearest

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/names"
)

// Pattern returns what a pattern that matches no name of a tensor most likely stands for, or "": with stars around it, if several names contain it,
// and with dots if they have it between dots, or else the name that Tensor returns. Stars and dots around it are not part of it. If its parts are spelt like those of names, it is
// the pattern of those, if that matches a name.
func Pattern(pattern string, all []string) string {
	word := strings.Trim(pattern, "*.")
	if word == "" {
		return ""
	}
	if strings.Contains(word, "*") {
		return respelt(pattern, all)
	}
	found, first, within := 0, "", 0
	for _, name := range all {
		if strings.Contains(name, word) {
			within++
		}
		at := strings.Index("."+name+".", "."+word+".")
		if at < 0 {
			continue
		}
		if found++; found > 1 {
			continue
		}
		first = word
		if at > 0 {
			first = "*." + first
		}
		if at+len(word) < len(name) {
			first += ".*"
		}
	}
	if found > 1 && first != pattern {
		return first
	}
	if strings.Contains(pattern, "*") {
		return cmp.Or(respelt(pattern, all), Tensor(word, all))
	}
	if within > 1 {
		return "*" + word + "*"
	}
	return cmp.Or(Tensor(word, all), respelt(pattern, all))
}

// respelt returns the pattern whose parts between dots and stars are those of names that they are spelt like, if it matches a name: with
// stars around it, if need be. The name of a list of layers, which precedes numbers, stands for any other. Numbers are as they are.
func respelt(pattern string, all []string) string {
	known, lists := partsOf(all)
	segments := strings.Split(pattern, ".")
	for i, segment := range segments {
		isList := len(lists) == 1 && i+1 < len(segments) && isNumber(segments[i+1])
		pieces := strings.Split(segment, "*")
		for k, piece := range pieces {
			switch near := ""; {
			case piece == "" || isNumber(piece) || len(pieces) == 1 && slices.Contains(known, piece):
			case len(pieces) > 1 && slices.ContainsFunc(known, func(s string) bool { return strings.Contains(s, piece) }):
			default:
				if near = Name(piece, known); near == "" && isList && len(pieces) == 1 {
					near = lists[0]
				}
				if near == "" {
					return ""
				}
				pieces[k] = near
			}
		}
		segments[i] = strings.Join(pieces, "*")
	}
	spelt := strings.Join(segments, ".")
	for _, candidate := range []string{spelt, spelt + "*", spelt + ".*", "*." + strings.TrimPrefix(spelt, "*."), "*." + spelt + ".*"} {
		if candidate != pattern && slices.ContainsFunc(all, func(name string) bool { return names.Glob(candidate, name) }) {
			return candidate
		}
	}
	return ""
}

// partsOf returns what names have between dots, but numbers, and which of these parts precede numbers.
func partsOf(all []string) (known, lists []string) {
	const most = 10_000 // parts that are compared letter by letter
	parts, before := map[string]bool{}, map[string]bool{}
	for _, name := range all {
		last := ""
		for part := range strings.SplitSeq(name, ".") {
			if !isNumber(part) {
				if len(parts) < most {
					parts[part] = true
				}
			} else if last != "" && len(before) < most {
				before[last] = true
			}
			last = part
		}
	}
	return slices.Sorted(maps.Keys(parts)), slices.Sorted(maps.Keys(before))
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
