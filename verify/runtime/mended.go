package runtime

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
)

// Wrong says what in a Hugging Face directory is not as its conversion should have made it.
type Wrong struct {
	Fields []string // of config.json, with the names that hfconfig.Fields gives them
	Files  bool     // the names of the files of weights
	Names  bool     // those of the tensors
}

// Mended returns the model in a Hugging Face directory as its conversion, of which p is the plan, should have made it: what is wrong is as p has it, and
// the embedding has the dtype of p. What the directory lacks otherwise stays as it is. original is what the original computes. Only Explain, Directory
// and Compare may be asked about the result.
func (m *Model) Mended(p *convert.Plan, wrong *Wrong, original *model.Config) (*Model, error) {
	d, err := m.Directory()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(m.Found.Family.HuggingFace.Fields(&p.Config, p.HF, p.DType))
	if err != nil {
		return nil, err
	}
	planned, err := hfconfig.ParseFields(text)
	if err != nil {
		return nil, err
	}
	if text, err = json.Marshal(nested(mendFields(d.Fields, planned, wrong.Fields))); err != nil {
		return nil, err
	}
	mended := *d
	if wrong.Files {
		mended.Files = nil
	}
	if wrong.Names {
		mended.renamed = nil
	}
	if err := mended.read(text); err != nil {
		return nil, err
	}
	stated := mended.Stated
	c := p.Config
	c.AttentionWindow, c.LogitsSoftCap, c.EmbeddingScale, c.SeparateHead = stated.AttentionWindowSize, stated.LogitsSoftCap, true, !stated.TieWordEmbeddings
	n := *m
	n.Config, n.directory, mended.Written = c, &mended, c
	n = *n.WithOriginal(original.AttentionWindow, original.LogitsSoftCap, m.Evidence)
	mended.Original, mended.DType = n.Original, p.Dests[p.Embedding].DType
	mended.Beyond = model.BeyondOriginal(m.Found, &mended.Original)
	mended.uncomputed = len(mended.Beyond) > 0
	mended.Extra = nil
	for _, i := range p.Extra {
		mended.Extra = append(mended.Extra, p.Dests[i].Name)
	}
	return &n, nil
}

// mendFields returns fields of a config.json with those that are wrong as they are planned.
func mendFields(fields, planned map[string]any, wrong []string) map[string]any {
	mended := map[string]any{}
	isWrong := func(name string) bool {
		for _, w := range wrong {
			if name == w || strings.HasPrefix(name, w+".") {
				return true
			}
		}
		return false
	}
	for name, value := range fields {
		if !isWrong(name) {
			mended[name] = value
		}
	}
	for name, value := range planned {
		if isWrong(name) {
			mended[name] = value
		}
	}
	return mended
}

// nested returns the objects that have fields with names as hfconfig.Fields gives them.
func nested(fields map[string]any) map[string]any {
	object := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		inner := object
		path := strings.Split(name, ".")
		for _, key := range path[:len(path)-1] {
			next, ok := inner[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				inner[key] = next
			}
			inner = next
		}
		inner[path[len(path)-1]] = fields[name]
	}
	return object
}
