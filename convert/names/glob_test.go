package names

import (
	"strings"
	"testing"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		parts         []string // nil for no match
	}{
		{"a.b", "a.b", []string{}},
		{"a.b", "a.bc", nil},
		{"*", "", []string{""}},
		{"a*", "abc", []string{"bc"}},
		{"*.w", "a.b.w", []string{"a.b"}},
		{"h.*.attn.*", "h.3.attn.q.w", []string{"3", "q.w"}},
		{"*.x.*", "a.x.b.x.c", []string{"a", "b.x.c"}},
		{"?.w", "é.w", nil},
		{"l.?.w", "l.1.w", []string{}},
		{"*a*b", "xaab", []string{"x", "a"}},
		{"*a*b", "xaabc", nil},
		{"", "", []string{}},
		{"", "a", nil},
	} {
		parts, ok := globParts(tt.pattern, tt.name)
		if ok != (tt.parts != nil) || ok && strings.Join(parts, "|") != strings.Join(tt.parts, "|") {
			t.Errorf("%q on %q: %q, %v", tt.pattern, tt.name, parts, ok)
		}
	}
	if Glob(strings.Repeat("*a", 2000)+"b", strings.Repeat("a", 100000)) {
		t.Error("there is no b")
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("h.*.attn.*", "h.3.attn.q.w")
	f.Add("*a*b", "xaab")
	f.Add("\xa1?", "\xa1b")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 200 || len(name) > 2000 {
			return
		}
		parts, ok := globParts(pattern, name)
		if !ok {
			return
		}
		var built []byte
		for _, c := range []byte(pattern) {
			switch {
			case c == '*':
				built = append(built, parts[0]...)
				parts = parts[1:]
			case c == '?':
				built = append(built, name[len(built)])
			default:
				built = append(built, c)
			}
		}
		if string(built) != name || len(parts) > 0 {
			t.Errorf("%q on %q: %q, %q left", pattern, name, built, parts)
		}
	})
}
