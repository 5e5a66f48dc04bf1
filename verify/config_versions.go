package verify

import (
	"slices"

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

// judgeRefusals finds fields that keep transformers from loading the directory, unless something was found in them before.
func judgeRefusals(fields map[string]any, before []Finding) []Finding {
	var out []Finding
	for _, r := range hfconfig.Refusals(fields) {
		if !slices.ContainsFunc(before, func(f Finding) bool { return f.Field == r.Field }) {
			got := noField
			if _, ok := fields[r.Field]; ok || r.Value != nil {
				got = showField(r.Value)
			}
			out = append(out, Finding{Kind: WrongField, Field: r.Field, Want: r.Wants, Got: got, Detail: r.Effect()})
		}
	}
	return out
}

// refused returns the Refusal of a field, nil for none.
func refused(fields map[string]any, name string) *hfconfig.Refusal {
	for _, r := range hfconfig.Refusals(fields) {
		if r.Field == name {
			return &r
		}
	}
	return nil
}
