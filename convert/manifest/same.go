package manifest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// errDifferent ends the reading of a record.
var errDifferent = errors.New("a tensor is another")

// Differs returns how another conversion, of n tensors that describe describes, differs from the one that r records: from another source, to
// another layout, or with other options. It is "" if both would write the same, as far as is known without digests: versions of griffin,
// digests and the origin of the source are not compared.
func (r *Record) Differs(other *Head, n int, describe func(i int) *Tensor) (difference string, err error) {
	if difference := r.Head.differs(other); difference != "" {
		return difference, nil
	}
	another := func(t *Tensor) string { return fmt.Sprintf("its tensor %s is another", tensor.QuoteName(t.Name)) }
	i := 0
	err = r.Each(func(_ Span, t *Tensor) error {
		if i >= n || !t.same(describe(i)) {
			difference = another(t)
			return errDifferent
		}
		i++
		return nil
	})
	if err == nil && i < n {
		return another(describe(i)), nil
	}
	if err == errDifferent {
		err = nil
	}
	return difference, err
}

func (h *Head) differs(other *Head) string {
	a, b := &h.Source, &other.Source
	if a.Name != b.Name || a.Format != b.Format || a.Layout != b.Layout || a.Prefix != b.Prefix || a.Address != b.Address || a.Step != b.Step && a.Step != "" && b.Step != "" {
		return fmt.Sprintf("it was made from another source, %s", a.describe())
	}
	if a.Commit != b.Commit || !sameVersions(a.Files, b.Files) {
		return "it was made from another version of the source"
	}
	for _, field := range []struct{ name, a, b string }{
		{"layout", h.Layout, other.Layout},
		{"format", h.Format, other.Format},
		{"dtype", h.DType, other.DType},
	} {
		if field.a != field.b {
			return fmt.Sprintf("its %s is %s, not %s", field.name, field.a, field.b)
		}
	}
	if (h.Settings == nil) != (other.Settings == nil) || h.Settings != nil && *h.Settings != *other.Settings {
		return "its settings are others"
	}
	if !h.HuggingFace.same(other.HuggingFace) {
		return "its configuration expresses the model differently"
	}
	if !h.Adapter.same(other.Adapter) {
		return "another adapter, or none, was merged into it"
	}
	return ""
}

func (s *Source) describe() string {
	if s.Address != "" {
		return s.Address
	}
	if s.Step != "" {
		return fmt.Sprintf("%s (step %s, %s)", s.Name, s.Step, s.Format)
	}
	return fmt.Sprintf("%s (%s)", s.Name, s.Format)
}

// sameVersions reports whether no file has another version in b than in a.
func sameVersions(a, b []FileVersion) bool {
	versions := map[string]string{}
	for _, f := range a {
		versions[f.Name] = f.Version
	}
	return !slices.ContainsFunc(b, func(f FileVersion) bool {
		version, ok := versions[f.Name]
		return ok && version != f.Version
	})
}

// same compares all but Inexact, which is completed when elements were divided.
func (h *HuggingFace) same(other *HuggingFace) bool {
	if h == nil || other == nil {
		return h == other
	}
	return h.MatchRuntime == other.MatchRuntime && h.AttentionWindowSize == other.AttentionWindowSize && h.LogitsSoftCap == other.LogitsSoftCap &&
		h.EmbeddingDividedBy == other.EmbeddingDividedBy && h.TieWordEmbeddings == other.TieWordEmbeddings
}

func (a *Adapter) same(other *Adapter) bool {
	if a == nil || other == nil {
		return a == other
	}
	return slices.EqualFunc(a.Files, other.Files, func(f, g File) bool {
		equal, comparable := f.Compare(g.Sum)
		return f.Name == g.Name && equal && comparable
	})
}

func (t *Tensor) same(other *Tensor) bool {
	sameFrom := slices.EqualFunc(t.From, other.From, func(p, q Part) bool {
		return p.Name == q.Name && p.DType == q.DType && slices.Equal(p.Shape, q.Shape)
	})
	return t.Name == other.Name && t.DType == other.DType && slices.Equal(t.Shape, other.Shape) && t.Rule == other.Rule && t.DividedBy == other.DividedBy && sameFrom
}
