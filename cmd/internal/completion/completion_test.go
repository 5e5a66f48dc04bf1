package completion

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// commands are those of the tests.
func commands() []Command {
	fixed := func(values ...string) func(*Line, string) []string {
		return func(*Line, string) []string { return values }
	}
	var tensors []string
	for layer := range 30 {
		tensors = append(tensors, fmt.Sprintf("layers.%d.a", layer), fmt.Sprintf("layers.%d.b", layer))
	}
	tensors = append(tensors, "norm.scale")
	return []Command{
		{Name: "convert", Flags: []Flag{
			{Names: []string{"dtype"}, Takes: Value, Values: fixed("keep", "float16", "float32")},
			{Names: []string{"scale"}, Takes: OptionalValue, Values: fixed("true", "false")},
			{Names: []string{"only"}, Takes: Value, Repeat: true, Values: func(line *Line, _ string) []string {
				if !slices.Equal(line.Paths, []string{"ckpt"}) {
					return nil
				}
				return tensors
			}},
			{Names: []string{"match"}, Takes: Value, Values: func(_ *Line, current string) []string {
				return List([]string{"one", "two", "three"}, current)
			}},
			{Names: []string{"card"}, Takes: Value, Files: true},
			{Names: []string{"window"}, Takes: Value},
		}},
		{Name: "completion", Values: []string{"bash", "zsh"}},
	}
}

func TestComplete(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"", "words help version convert completion"},
		{"co", "words convert completion"},
		{"-", "words --help --version"},
		{"--v", "words --version"},
		{"help --", "words"},
		{"help con", "words convert"},
		{"upload ", "words"},
		{"convert ", "files"},
		{"convert --", "words --dtype --scale --only --match --card --window --help"},
		{"convert --dtype float16 --only x a b --", "words --scale --only --match --card --window --help"},
		{"convert -- --", "files"},
		{"convert --dtype ", "words keep float16 float32"},
		{"convert --dtype f", "words float16 float32"},
		{"convert -dtype f", "words float16 float32"},
		{"convert --dtype=float3", "words --dtype=float32"},
		{"convert --scale ", "files"},
		{"convert --scale=", "words --scale=true --scale=false"},
		{"convert --nothing=", "words"},
		{"convert --card ", "files"},
		{"convert --card=a", "files"},
		{"convert --window ", "words"},
		{"convert --match ", "words one two three"},
		{"convert --match two,", "words two,one two,three"},
		{"convert --only ", "words"},
		{"convert ckpt --only ", "beginnings layers. norm.scale"},
		{"convert ckpt --only l", "beginnings " + strings.Join(times(30, "layers.%d."), " ")},
		{"convert ckpt --only layers.2", "words layers.2.a layers.2.b " + strings.Join(pairs(20, 30), " ")},
		{"completion ", "words bash zsh"},
		{"completion bash ", "words"},
	} {
		words := strings.Split(tt.line, " ")
		var b strings.Builder
		if err := Answer(&b, "zsh", words, commands()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(withoutUsage(b.String())), " "); got != tt.want {
			t.Errorf("%s|: got %s, want %s", tt.line, got, tt.want)
		}
	}
}

func withoutUsage(answer string) string {
	var b strings.Builder
	for line := range strings.Lines(answer) {
		word, _, _ := strings.Cut(line, "\t")
		b.WriteString(word + "\n")
	}
	return b.String()
}

func times(n int, format string) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

func pairs(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("layers.%d.a", i), fmt.Sprintf("layers.%d.b", i))
	}
	return all
}

// bash replaces only what follows = or :, and wants characters that it would interpret escaped.
func TestAnswerBash(t *testing.T) {
	odd := []Command{{Name: "inspect", Flags: []Flag{{Names: []string{"dump"}, Takes: Value, Values: func(*Line, string) []string { return []string{"a:b [0]", "a:c"} }}}}}
	for _, tt := range []struct{ line, word, want string }{
		{"griffin inspect --dump ", "", `a:b\ \[0\] a:c`},
		{"griffin inspect --dump a:", ":", `b\ \[0\] c`},
		{"griffin inspect --dump a:b", "b", `b\ \[0\]`},
		{"griffin inspect --dump 'a:b", "'a:b", `a:b [0]`},
		{"griffin inspect --dump=", "=", `a:b\ \[0\] a:c`},
		{"X=1 griffin inspect --dump=a", "a", `a:b\ \[0\] a:c`},
		{"griffin inspect x\\ y --du", "--du", `--dump`},
	} {
		var b strings.Builder
		if err := Answer(&b, "bash", []string{tt.line, tt.word}, odd); err != nil {
			t.Fatal(err)
		}
		_, words, _ := strings.Cut(b.String(), "\n")
		if got := strings.ReplaceAll(strings.TrimSuffix(words, "\n"), "\n", " "); got != tt.want {
			t.Errorf("%s|: got %s, want %s", tt.line, got, tt.want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		line string
		want []string
	}{
		{"", []string{""}},
		{"griffin", []string{"griffin"}},
		{"griffin ", []string{"griffin", ""}},
		{`A=1 _b2="x y" griffin  'a b' c\ d "e\"f" g`, []string{"griffin", "a b", "c d", `e"f`, "g"}},
		{`griffin 'a \`, []string{"griffin", `a \`}},
		{`griffin ''`, []string{"griffin", ""}},
		{`griffin "a=b`, []string{"griffin", "a=b"}},
	} {
		if got := split(tt.line); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.line, got, tt.want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("bash", "griffin convert --dtype=f", "f")
	f.Add("bash", `griffin "con`, `"con`)
	f.Add("fish", "convert", "--only")
	f.Fuzz(func(t *testing.T, shell, a, b string) {
		var out strings.Builder
		if err := Answer(&out, shell, []string{a, b}, commands()); err != nil {
			t.Fatal(err)
		}
	})
}
