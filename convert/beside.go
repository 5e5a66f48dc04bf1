package convert

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// sourceRemarks prepares the copy of the source's config.json, and says what is worth knowing of it and of the files beside it. vocabulary is
// that of the model, and dtype that of its weights.
func sourceRemarks(o *huggingface.Options, vocabulary int64, dtype tensor.DType) ([]string, error) {
	config, err := hfconfig.Fields(o.Source, o.SourceConfig)
	if err != nil {
		return nil, err
	}
	remarks, err := leaveOut(o, config)
	if err != nil {
		return nil, err
	}
	remarks = append(remarks, replaceRefused(o, config, dtype)...)
	if !o.InstructionTuned { // the generation configuration is written anew
		remarks = append(remarks, tokenRemarks(o, config, vocabulary)...)
	}
	if o.Tokenizer == "" {
		remarks = append(remarks, hfconfig.TokenizerNotes(o.Source, path.Dir(o.SourceConfig), vocabulary, config)...)
	}
	return remarks, nil
}

// leaveOut removes fields of the source's config.json with which transformers loads or computes something else than the weights
// and the other fields say, or fails. If it takes weights or a configuration from a file that was not read, the source is refused. The remarks name what is left out.
func leaveOut(o *huggingface.Options, fields map[string]any) (remarks []string, err error) {
	for _, d := range hfconfig.Departures(fields) {
		if d.Elsewhere {
			return nil, tensor.Bad("%s: %s, which was not read", d.Field, d.Effect).In(storage.Path(o.Source, o.SourceConfig))
		}
		if d.Field == "quantization_config" && d.Value != nil {
			continue
		}
		o.Changed = append(o.Changed, huggingface.Field{Name: d.Field, Remove: true})
		remarks = append(remarks, fmt.Sprintf("%s is left out of config.json: %s", d.Field, d.Effect))
	}
	return remarks, nil
}

// replaceRefused gives fields with which transformers does not load the source's config.json the values that a conversion of an original has. Only
// fields whose value is the same for all models, and the dtype, are replaced. Where a refused field says what the model computes, the source is not
// converted. Ids of tokens are kept.
func replaceRefused(o *huggingface.Options, fields map[string]any, dtype tensor.DType) (remarks []string) {
	isChanged := func(name string) bool {
		return slices.ContainsFunc(o.Changed, func(f huggingface.Field) bool { return f.Name == name })
	}
	set := func(name string, value any) {
		o.Changed = append(o.Changed, huggingface.Field{Name: name, Value: value})
		remarks = append(remarks, fmt.Sprintf("config.json gets %s %v, with which transformers loads it", name, value))
	}
	for _, name := range hfconfig.DTypeNames {
		if !isChanged(name) && !hfconfig.IsDType(fields, name) {
			set(name, dtype.String())
		}
	}
	for _, r := range hfconfig.Refusals(fields) {
		own, ok := o.Config[r.Field]
		switch isToken := strings.HasSuffix(r.Field, "_token_id"); {
		case isChanged(r.Field):
		case ok && !isToken:
			set(r.Field, own)
		default:
			remarks = append(remarks, fmt.Sprintf("config.json keeps %s, with which %s", r.Field, r.Effect()))
		}
	}
	return remarks
}

// tokenRemarks name the ids of tokens of the config.json of a source that are outside the vocabulary, and those that the generation configuration states
// differently. Both are copied as they are.
func tokenRemarks(o *huggingface.Options, config map[string]any, vocabulary int64) (remarks []string) {
	for _, name := range []string{"bos_token_id", "eos_token_id"} { // such a pad_token_id is a Refusal
		ids, isList := config[name].([]any)
		if !isList {
			ids = []any{config[name]}
		}
		for _, id := range ids {
			if n, ok := id.(json.Number); ok && hfconfig.IsInteger(n) && !inVocabulary(n, vocabulary) {
				remarks = append(remarks, fmt.Sprintf("config.json keeps %s %s, which is none of the %d tokens", name, n, vocabulary))
			}
		}
	}
	const generation = "generation_config.json"
	fields, err := hfconfig.Fields(o.Source, path.Join(path.Dir(o.SourceConfig), generation))
	if err != nil {
		return remarks // there is none, or transformers ignores it
	}
	for _, name := range []string{"bos_token_id", "pad_token_id"} { // a chat ends with other tokens than a text
		stated, generated := config[name], fields[name]
		if stated != nil && generated != nil && fmt.Sprint(stated) != fmt.Sprint(generated) {
			remarks = append(remarks, fmt.Sprintf("%s of the source is %v in %s and %v in %s: both are kept", name, stated, hfconfig.Name, generated, generation))
		}
	}
	return remarks
}

// inVocabulary reports whether a number is a token of a vocabulary.
func inVocabulary(n json.Number, vocabulary int64) bool {
	id, err := n.Int64()
	return err == nil && id >= 0 && id < vocabulary
}

// tokenizerRemark says what AutoTokenizer makes of the files of the destination.
func tokenizerRemark(files []huggingface.File, source *tensor.Checkpoint) string {
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	return huggingface.TokenizerRemark(names, source)
}

// changeArchitectures gives config.json the architectures of a causal model if that of the source states others, as of a
// classifier, whose head is left out: transformers would make a head of random weights.
func (c *conversion) changeArchitectures(o *huggingface.Options) error {
	p := c.plan
	const name = "architectures"
	if p.stated == nil || !slices.ContainsFunc(p.Left, func(t *tensor.Tensor) bool { return model.IsBeside(p.Source, t) }) {
		return nil
	}
	fields, err := hfconfig.Fields(o.Source, o.SourceConfig)
	if err != nil {
		return err
	}
	stated, own := fields[name], o.Config[name]
	if stated == nil || fmt.Sprint(stated) == fmt.Sprint(own) {
		return nil
	}
	o.Changed = append(o.Changed, huggingface.Field{Name: name, Value: own})
	c.remarks = append(c.remarks, fmt.Sprintf("config.json gets architectures %v instead of %v, whose head is left out", own, stated))
	return nil
}

// leftBeside returns names in the directory of the configuration of c that were not copied, without the weights themselves and without the steps of the
// training run that c is a step of.
func leftBeside(c *tensor.Checkpoint, names []string, dir string) []string {
	var steps []formats.Step
	if c.Root != dir {
		steps, _ = formats.Steps(c.Source, dir) // if that fails, c is no step of a run
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return path.Join(dir, name) == c.Root || slices.ContainsFunc(steps, func(s formats.Step) bool { return s.Name == name })
	})
}
