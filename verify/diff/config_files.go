package diff

import (
	"cmp"
	"context"
	"io/fs"
	"path"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/verify/internal/beside"
)

// compareExistence says that only one side has a config.json: a difference if the other is a directory that needs one, otherwise
// a note.
func (d configs) compareExistence() {
	has := [2]bool{hasConfig(d.a.checkpoint), hasConfig(d.b.checkpoint)}
	for i, s := range []*side{d.a, d.b} {
		if has[i] || !has[1-i] || s.checkpoint.Format == peft.Format { // which needs none
			continue
		}
		letter := string(rune('A' + i))
		info, err := fs.Stat(s.checkpoint.Source, s.checkpoint.Root)
		switch {
		case s.model != nil && s.model.Layout != model.HuggingFace:
			d.note("%s, an original, has no config.json: only what its shapes show was compared", letter)
		case err == nil && info.IsDir():
			c := ConfigDifference{Field: hfconfig.Name, A: "a file", B: "a file", Detail: "transformers cannot load the side without it"}
			*[]*string{&c.A, &c.B}[i] = ""
			d.result.Config = append(d.result.Config, c)
		default:
			d.note("%s has no config.json: only what its shapes show was compared", letter)
		}
	}
}

// compareFiles compares the other files that transformers acts on: the generation configuration, the tokenizer, an adapter, and
// code.
func (d configs) compareFiles(ctx context.Context) error {
	var files [2]*beside.Files
	for i, s := range []*side{d.a, d.b} {
		var err error
		if files[i], err = beside.Read(ctx, s.checkpoint.Source, path.Dir(s.checkpoint.Beside(hfconfig.Name))); err != nil {
			return err
		}
	}
	a, b := files[0], files[1]
	d.compareGeneration(a, b)
	for _, name := range beside.Differences(a.Tokenizer, b.Tokenizer) {
		c := ConfigDifference{Field: name, Detail: "text may become other tokens, and a chat another text"}
		for i, shown := range []*string{&c.A, &c.B} {
			if sum := files[i].Tokenizer[name]; sum != "" {
				*shown = "sha256 " + sum[:16]
			}
		}
		d.result.Config = append(d.result.Config, c)
	}
	d.compareFile(beside.Adapter, a.Adapter, b.Adapter, "transformers loads the adapter along with the model")
	for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(a.Code, b.Code)))) {
		d.compareFile(name, slices.Contains(a.Code, name), slices.Contains(b.Code, name), "transformers runs this code")
	}
	return nil
}

// compareGeneration compares the fields of the generation configurations. A side without the file has the tokens that config.json
// names.
func (d configs) compareGeneration(a, b *beside.Files) {
	if a.Corrupt != "" || b.Corrupt != "" {
		d.compareFile(beside.Generation, a.Corrupt == "", b.Corrupt == "", "transformers ignores the other, which is no JSON object")
		return
	}
	if a.Generation == nil && b.Generation == nil {
		return
	}
	of := func(f, other *beside.Files) map[string]any {
		if f.Generation == nil {
			return f.UsualGeneration(other.Generation)
		}
		return f.Generation
	}
	x, y := of(a, b), of(b, a)
	for _, name := range beside.GenerationDifferences(x, y) {
		stated := slices.ContainsFunc(d.result.Config, func(c ConfigDifference) bool { return c.Field == name })
		if stated && (a.Generation == nil || b.Generation == nil) {
			continue // a difference of config.json
		}
		c := ConfigDifference{Field: beside.Generation + ": " + name, Detail: cmp.Or(effects[name], "generate() does something else")}
		if value, ok := x[name]; ok {
			c.A = beside.Show(value)
		}
		if value, ok := y[name]; ok {
			c.B = beside.Show(value)
		}
		d.result.Config = append(d.result.Config, c)
	}
}

// compareFile lists a file that only one side has.
func (d configs) compareFile(name string, inA, inB bool, detail string) {
	const present = "a file"
	switch {
	case inA && !inB:
		d.result.Config = append(d.result.Config, ConfigDifference{Field: name, A: present, Detail: detail})
	case inB && !inA:
		d.result.Config = append(d.result.Config, ConfigDifference{Field: name, B: present, Detail: detail})
	}
}
