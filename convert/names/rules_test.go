package names

import (
	"errors"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestInvalidRules(t *testing.T) {
	c, err := tensor.NewCheckpoint("memory", "memory", []*tensor.Tensor{{Name: "a.w"}, {Name: "b.w"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ text, want string }{
		{"a.w -> x\nb.w", `rules: line 2: "b.w" is not of the form`},
		{"\n\n -> x", "line 3: a side of -> is empty"},
		{"a.* -> x.*.*", "line 1: the right side has more *"},
		{"a -> b -> c", "line 1"},
		{"# nothing\nc.* -> d.*", `line 2: "c.*" applies to no tensor of memory`},
		{"*.w -> same", `"a.w" and "b.w" would both be called "same"`},
		{"a.w -> b.w", `would both be called "b.w"`},
		{"a.w -> x\n" + strings.Repeat("y", maxRuleBytes+1), "line 2: longer than 4096 bytes"},
		{strings.Repeat("a.w -> x\n", maxRules+1), "line 10001: more than 10000 rules"},
	} {
		m, err := ParseRules("rules", strings.NewReader(tt.text))
		if err == nil {
			_, _, err = m.Apply(c)
		}
		var choice *Error
		if !errors.As(err, &choice) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: %v, not %s", tt.text, err, tt.want)
		}
	}
}
