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

// The first rule that matches applies, whether it states the whole name or a pattern.
func TestFirstRuleApplies(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"a.w -> x\na.* -> y.*", "x"},
		{"a.* -> y.*\na.w -> x", "y.w"},
		{"?.w -> z\na.w -> x\na.* -> y.*", "z"},
		{"b.* -> z.*\na.w -> x", "x"},
		{"a.w -> x\na.w -> y", "x"},
		{"b.w -> x", "a.w"},
	} {
		m, err := ParseRules("rules", strings.NewReader(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := m.rename("a.w"); got != tt.want {
			t.Errorf("%q: %s, not %s", tt.text, got, tt.want)
		}
	}
}

// FuzzRules reads any text as rules and renames a checkpoint: each tensor has a name of its own afterwards, the old names
// are known, and a text that is no rules is an *Error.
func FuzzRules(f *testing.F) {
	for _, text := range []string{"a.* -> b.*", "*.*.w -> *.x.*", "# none\n\n* -> *", "a.0.w -> a.1.w\na.1.w -> a.0.w", "a -> ", "-> a", "a -> b -> c", "a.*->*.*", "*->x"} {
		f.Add(text, "a.0.w\na.1.w\nb")
	}
	f.Fuzz(func(t *testing.T, text, names string) {
		var tensors []*tensor.Tensor
		for _, name := range strings.SplitN(names, "\n", 20) {
			tensors = append(tensors, &tensor.Tensor{Name: name, DType: tensor.U8, Shape: []int64{0}})
		}
		c, err := tensor.NewCheckpoint("memory", "memory", tensors)
		if err != nil {
			return
		}
		var bad *Error
		rules, err := ParseRules("rules", strings.NewReader(text))
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("%v", err)
			}
			return
		}
		renamed, oldNames, err := rules.Apply(c)
		if err != nil {
			if !errors.As(err, &bad) && tensor.ReasonOf(err) != tensor.TooLarge {
				t.Fatalf("%v", err)
			}
			return
		}
		for i, x := range renamed.Tensors() {
			old, changed := oldNames[x.Name]
			if !changed {
				old = x.Name
			}
			if old != tensors[i].Name || changed == (x.Name == old) || renamed.Tensor(x.Name) != x {
				t.Fatalf("%q became %q, and its old name is %q", tensors[i].Name, x.Name, old)
			}
		}
	})
}
