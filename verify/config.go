package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/internal/beside"
)

const skippedOriginal = "nothing to check: the settings of an original are in the code that runs it"

// checkConfig compares every field of the config.json of a converted checkpoint with its source. The check is skipped for
// an original, which has none, and for a single file of weights without one. What describes the quantisation of a quantised copy
// was compared with its tensors before, and is left out. found is the model in the converted checkpoint, or nil, and isWhole says whether its tensors
// are all that a model of their sizes has.
func checkConfig(converted *tensor.Checkpoint, found *model.Model, isWhole bool, p *convert.Plan, head headState, isCopy bool) (*Section, error) {
	if p.Layout != model.HuggingFace {
		return &Section{OK: true, Skipped: true, Summary: skippedOriginal}, nil
	}
	info, err := fs.Stat(converted.Source, converted.Root)
	single := err == nil && !info.IsDir()
	fields, err := hfconfig.Fields(converted.Source, converted.Beside(hfconfig.Name))
	switch {
	case errors.Is(err, fs.ErrNotExist) && single:
		return &Section{OK: true, Skipped: true, noConfig: true, Summary: "not checked: there is no config.json beside " + storage.BaseName(converted.Path)}, nil
	case errors.Is(err, fs.ErrNotExist):
		return &Section{Summary: "there is no config.json", Findings: strictjson.Items(Finding{Kind: WrongField, Field: hfconfig.Name, Want: aFile, Got: "none",
			Detail: "transformers cannot load the directory"})}, nil
	case err != nil:
		return nil, err
	}
	if isCopy {
		maps.DeleteFunc(fields, func(name string, _ any) bool {
			return strings.HasPrefix(name, "quantization_config.") || strings.HasPrefix(name, "quantization.")
		})
	}
	sourceFields, err := fieldsOfSource(p)
	if err != nil {
		return nil, err
	}
	s := checkFields(fields, sourceFields, p, found, isWhole, head)
	if stated, err := hfconfig.Read(converted.Source, converted.Beside(hfconfig.Name)); err == nil {
		s.Notes = append(stated.VersionNotes(), s.Notes...)
	}
	return s, nil
}

// fieldsOfSource returns the fields of the config.json of a plan's source; nil if it has none.
func fieldsOfSource(p *convert.Plan) (map[string]any, error) {
	c := p.Source.Checkpoint
	if p.Source.Layout != model.HuggingFace {
		return nil, nil
	}
	fields, err := hfconfig.Fields(c.Source, c.Beside(hfconfig.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return fields, err
}

// checkFields compares the fields of config.json, as hfconfig.Fields returns them. sourceFields are those of the source, nil if
// it has none.
func checkFields(fields, sourceFields map[string]any, p *convert.Plan, found *model.Model, isWhole bool, head headState) *Section {
	s := &Section{}
	var findings []Finding
	checked := 0
	for _, f := range configFields(p, found, head, sourceFields) {
		checked++
		if f.isWindow() {
			findings = append(findings, f.judgeWindow(fields, p)...)
			continue
		}
		if f.isRotation() {
			findings = append(findings, f.judgeRotation(fields, p, found)...)
			continue
		}
		if f.isDType() {
			wrong, note, loaded := f.judgeDType(fields, sourceFields, p)
			findings, s.loaded = append(findings, wrong...), loaded
			if note != "" {
				s.Notes = append(s.Notes, note)
			}
			continue
		}
		wrong := f.check(fields)
		if wrong == nil && isWhole {
			wrong = f.contradicting(fields)
		}
		findings = append(findings, wrong...)
	}
	findings = append(findings, checkTokenIDs(fields, p.Config.VocabSize)...)
	findings = append(findings, judgeRefusals(fields, findings)...)
	findings = append(findings, judgeDepartures(fields, findings)...)
	findings, same := asInSource(findings, fields, sourceFields)
	findings = joinNames(findings)
	s.Notes = slices.Concat(s.Notes, same, configNotes(fields, sourceFields, p), unknownNotes(fields, sourceFields))
	s.Findings = strictjson.Items(findings...)
	s.OK = len(findings) == 0
	s.Summary = fmt.Sprintf("config.json agrees in all %d fields", checked)
	if !s.OK {
		var names []string
		for _, f := range findings {
			names = append(names, strings.Split(f.Field, ", ")...)
		}
		s.Summary = fmt.Sprintf("config.json disagrees in %s: %s", text.Count(len(names), "field"), strings.Join(names, ", "))
	}
	return s
}

// joinNames makes one finding of those that say the same of one value under several names: "dtype, torch_dtype".
func joinNames(findings []Finding) []Finding {
	out := []Finding{}
	for _, f := range findings {
		if n := len(out); n > 0 && out[n-1].Got == f.Got && out[n-1].Want == f.Want && out[n-1].Detail == f.Detail {
			out[n-1].Field += ", " + f.Field
			continue
		}
		out = append(out, f)
	}
	return out
}

// checkTokenIDs finds token ids outside the vocabulary: transformers rejects such a pad_token_id, and the others would never
// occur.
func checkTokenIDs(fields map[string]any, vocabulary int64) []Finding {
	var out []Finding
	for _, name := range []string{"pad_token_id", "bos_token_id", "eos_token_id"} {
		ids, isList := fields[name].([]any)
		if !isList {
			ids = []any{fields[name]}
		}
		for _, id := range ids {
			n, isNumber := id.(json.Number)
			i, err := strconv.ParseInt(string(n), 10, 64)
			if id == nil || isNumber && err == nil && i >= 0 && i < vocabulary {
				continue
			}
			detail := "it is outside the vocabulary"
			if isText(id) {
				detail = "a text is no token id"
			}
			out = append(out, Finding{Kind: WrongField, Field: name, Want: fmt.Sprintf("a token id from 0 to %d", vocabulary-1), Got: showField(id), Detail: detail})
		}
	}
	return out
}

// configNotes notes what is unusual but does not change what the model computes.
func configNotes(fields, sourceFields map[string]any, p *convert.Plan) []string {
	c := &p.Config
	var notes []string
	_, new := fields["dtype"]
	_, old := fields["torch_dtype"]
	if !new && !old && p.SeveralTypes(fields) == "" {
		notes = append(notes, "there is neither dtype nor torch_dtype: transformers 4 loads the weights in float32, transformers 5 as they are")
	}
	if !c.Has(model.Attention) {
		notes = append(notes, "there are no attention blocks: attention_window_size has no effect")
		if used, ok := fields["use_cache"].(bool); used || !ok {
			notes = append(notes, "use_cache is not false, but transformers 5 cannot cache a model without attention blocks: it fails unless each call turns the cache off")
		}
	}
	const dropout = "attention_dropout"
	if stated, ok := sourceFields[dropout].(json.Number); ok && !(&configField{want: 0.0}).matches(stated) && !sameField(fields, sourceFields, dropout) {
		got := "0"
		if value, ok := fields[dropout]; ok {
			got = showField(value)
		}
		notes = append(notes, fmt.Sprintf("%s is %s, and that of the source's config.json is %s", dropout, got, showField(stated)))
	}
	return append(notes, tokenIDNotes(fields, sourceFields)...)
}

// tokenIDNotes compares the ids of tokens with those of the source's config.json or, if it has none, with those of RecurrentGemma, which are
// also what transformers takes for fields that are not there.
func tokenIDNotes(fields, sourceFields map[string]any) []string {
	var notes []string
	for _, id := range []struct{ name, usual string }{{"pad_token_id", "0"}, {"eos_token_id", "1"}, {"bos_token_id", "2"}} {
		shown := func(fields map[string]any) string {
			if value, ok := fields[id.name]; ok {
				return beside.Show(value)
			}
			return id.usual
		}
		got, want := shown(fields), shown(sourceFields)
		_, isNumber := fields[id.name].(json.Number)
		switch {
		case sourceFields == nil && isNumber && got != want:
			notes = append(notes, fmt.Sprintf("%s is %s, and that of RecurrentGemma is %s; the source does not state which is right", id.name, got, want))
		case sourceFields != nil && got != want:
			notes = append(notes, fmt.Sprintf("%s is %s, and that of the source's config.json is %s", id.name, got, want))
		case sourceFields != nil && got != id.usual:
			notes = append(notes, fmt.Sprintf("%s is %s, as the source's config.json says; that of RecurrentGemma is %s", id.name, got, id.usual))
		}
	}
	return notes
}
