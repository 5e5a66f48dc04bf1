package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
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

func (f *configField) isRotation() bool {
	return slices.Contains(f.names, hfconfig.RopeParameters+"."+f.names[0])
}

// judgeRotation compares a number of the rotary embedding that transformers 5.23 takes, and the one that 4.57 takes if that is another. The latter
// may also be what 4.57 takes from the source. found is the model in the converted checkpoint, or nil.
func (f *configField) judgeRotation(fields map[string]any, p *convert.Plan, found *model.Model) []Finding {
	all := f.check(fields)
	if found == nil {
		return all
	}
	stated, err := found.StatedConfig()
	if err != nil || stated == nil {
		return all
	}
	newer, older := f.rotation(stated.Rope), f.rotation(stated.Rope4)
	if newer == older {
		return all
	}
	isFactor := f.names[0] != "rope_theta"
	var out []Finding
	for _, finding := range all {
		source, err := p.Source.StatedConfig()
		switch isOlder := finding.Field == f.names[0]; {
		case isOlder && err == nil && source != nil && f.rotation(source.Rope4) == older:
			continue
		case isOlder && isFactor && stated.Rotation4(older) == hfconfig.RotationFails:
			finding.Detail = fmt.Sprintf("transformers 4.57 takes it and fails, and 5.23 takes %s instead", hfconfig.Decimal(newer))
		case isOlder:
			finding.Detail = fmt.Sprintf("transformers 4.57 takes it, and 5.23 takes %s instead; %s", hfconfig.Decimal(newer), finding.Detail)
		case !isFactor || older != 0:
			finding.Detail = fmt.Sprintf("transformers 5.23 takes it, and 4.57, which reads the top level only, takes %s; %s", hfconfig.Decimal(older), finding.Detail)
		}
		out = append(out, finding)
	}
	return out
}

// rotation returns the number of a rotary embedding that the field is.
func (f *configField) rotation(r hfconfig.Rope) float64 {
	if f.names[0] == "rope_theta" {
		return r.Theta
	}
	return r.PartialFactor
}

func (f *configField) isDType() bool { return slices.Equal(f.names, hfconfig.DTypeNames) }

// judgeDType compares the dtype in which transformers 5.23 loads the conversion with that in which it loads the source, if its config.json says one, and
// otherwise with that of the weights. note says of a right one that it is not that of the weights, and loaded that it is not that of the source's.
func (f *configField) judgeDType(fields, sourceFields map[string]any, p *convert.Plan) (wrong []Finding, note, loaded string) {
	name, _ := hfconfig.TakenDType(fields)
	got, stated := hfconfig.LoadedDType(fields), hfconfig.LoadedDType(sourceFields)
	severalTypes := p.SeveralTypes(fields) != ""
	wrong = slices.DeleteFunc(f.check(fields), func(w Finding) bool {
		return stated != tensor.Invalid && hfconfig.NamesDType(fields[w.Field], stated)
	})
	switch {
	case len(wrong) > 0:
	case got != tensor.Invalid && got != p.DType && got != stated: // of an object, by the parts of the model
		wrong = append(wrong, f.finding(name, got.String(), showField(got.String())))
	case stated == tensor.Invalid:
	case got == stated && got != p.DType && !severalTypes:
		note = fmt.Sprintf("%s is %q, as the source's config.json says, and the weights are %s: transformers loads them, and computes, in %s", name, got, weightTypes(p), got)
	case got == stated:
	case severalTypes:
		held := *f
		held.want, held.missing, held.null, held.accepts = stated.String(), nil, nil, nil
		if name == "" {
			held.effect = "without it, transformers 5 rounds the weights to the type of the first that it reads"
		}
		wrong = held.check(fields)
	case p.DType != stated && p.Keep:
		loaded = fmt.Sprintf("loaded in %s, not in %s", p.DType, stated)
		note = fmt.Sprintf("transformers 5 loads the conversion in %s, and the source in %s, as its config.json says", p.DType, stated)
	}
	return wrong, note, loaded
}

// weightTypes names the dtypes of a conversion's weights: "float16", "bfloat16 and float16".
func weightTypes(p *convert.Plan) string {
	var all []string
	for i := range p.Dests {
		if name := p.Dests[i].DType.String(); !slices.Contains(p.Extra, i) && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return inWords(all)
}

// asInSource makes notes of findings in fields that the source has alike, if a version of transformers loads them and they are not what the source was
// read by: it does the same with both.
func asInSource(findings []Finding, fields, sourceFields map[string]any) (wrong []Finding, notes []string) {
	same := []string{"attention_dropout", "bos_token_id", "eos_token_id", "quantization_config.quant_method"}
	for _, d := range hfconfig.Departures(fields) {
		if d.Loads() {
			same = append(same, d.Field)
		}
	}
	same = append(same, hfconfig.DTypeNames...)
	for _, f := range findings {
		names := []string{f.Field}
		if slices.Contains(hfconfig.DTypeNames, f.Field) {
			names = hfconfig.DTypeNames // one of them is taken
		}
		differs := func(name string) bool { return !sameField(fields, sourceFields, name) }
		r := refused(fields, f.Field)
		excused := (slices.Contains(same, f.Field) || strings.HasPrefix(f.Field, hfconfig.RopeScaling+".")) && (r == nil || !r.Always()) || r != nil && !r.Always() && f.Detail == r.Effect()
		if sourceFields == nil || !excused || slices.ContainsFunc(names, differs) {
			wrong = append(wrong, f)
			continue
		}
		notes = append(notes, fmt.Sprintf("%s is %s, as the source's config.json says: %s", f.Field, f.Got, f.Detail))
	}
	return wrong, notes
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
