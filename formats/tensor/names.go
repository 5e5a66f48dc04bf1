package tensor

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// QuoteName returns a name from a file as it can stand in one line of text: as it is if all of it
// is printable, otherwise quoted as a Go string. A name longer than 200 bytes loses its middle.
func QuoteName(name string) string {
	if len(name) > 200 {
		name = strings.ToValidUTF8(name[:100], "") + "…" + strings.ToValidUTF8(name[len(name)-60:], "")
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(name)
	}
	return name
}

// JoinNames joins names with commas. Of more than eight it lists the first eight and counts the
// rest.
func JoinNames(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// Clip shortens a name from a file to 200 bytes, since the name in a hostile file may be megabytes
// long.
func Clip(name string) string {
	const most = 200
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}
