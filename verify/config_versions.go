package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
)

func (f *configField) isWindow() bool { return slices.Contains(hfconfig.WindowNames, f.names[0]) }

// judgeWindow compares the attention window that transformers 5.23 takes, and the one that 4.57 takes if that is another. The
// latter may also be what 4.57 takes from the source.
func (f *configField) judgeWindow(fields map[string]any, p *convert.Plan) []Finding {
	newer, older := *f, *f
	newer.names, older.names = hfconfig.WindowNames[:1], hfconfig.WindowNames[1:]
	if _, aliased := fields[hfconfig.SlidingWindow]; !aliased {
		return older.check(fields)
	}
	out := newer.check(fields)
	if stated, err := p.Source.StatedConfig(); err == nil && stated != nil {
		same := older
		same.want = stated.AttentionWindowSize4
		if len(same.check(fields)) == 0 {
			return out
		}
	}
	for _, finding := range older.check(fields) {
		finding.Detail = "transformers 4.57 takes it and ignores sliding_window; " + finding.Detail
		out = append(out, finding)
	}
	return out
}

// judgeTypes finds fields of a type that transformers 5.23 refuses, unless something was found in them before.
func judgeTypes(fields map[string]any, before []Finding) []Finding {
	var out []Finding
	for _, wrong := range hfconfig.TypeErrors(fields) {
		if slices.ContainsFunc(before, func(f Finding) bool { return f.Field == wrong.Field }) {
			continue
		}
		value := fields[wrong.Field]
		want := strings.Join(wrong.Types, " or ")
		if wrong.Types[0] == "float" && hfconfig.IsInteger(value) {
			want = fmt.Sprintf("%s.0", value)
		}
		out = append(out, Finding{Kind: WrongField, Field: wrong.Field, Want: want, Got: showField(value),
			Detail: "transformers 5.23 refuses to load a config.json with a value of this type"})
	}
	return out
}
