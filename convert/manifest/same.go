package manifest

import (
	"fmt"
	"slices"
)

// Differs returns how another conversion differs from the one that m records: from another source, to another layout,
// or with other options. It is "" if both would write the same, as far as is known without digests: versions of griffin,
// digests and the origin of the source are not compared.
func (m *Manifest) Differs(other *Manifest) string {
	a, b := &m.Source, &other.Source
	if a.Name != b.Name || a.Format != b.Format || a.Layout != b.Layout || a.Prefix != b.Prefix || a.Address != b.Address {
		return fmt.Sprintf("it was made from another source, %s", a.describe())
	}
	if a.Commit != b.Commit || !sameVersions(a.Files, b.Files) {
		return "it was made from another version of the source"
	}
	for _, field := range []struct{ name, a, b string }{
		{"layout", m.Layout, other.Layout},
		{"format", m.Format, other.Format},
		{"dtype", m.DType, other.DType},
	} {
		if field.a != field.b {
			return fmt.Sprintf("its %s is %s, not %s", field.name, field.a, field.b)
		}
	}
	if (m.Settings == nil) != (other.Settings == nil) || m.Settings != nil && *m.Settings != *other.Settings {
		return "its settings are others"
	}
	if !m.HuggingFace.same(other.HuggingFace) {
		return "its configuration expresses the model differently"
	}
	if !m.Adapter.same(other.Adapter) {
		return "another adapter, or none, was merged into it"
	}
	if name := differentTensor(m.Tensors, other.Tensors); name != "" {
		return fmt.Sprintf("its tensor %s is another", name)
	}
	return ""
}

func (s *Source) describe() string {
	if s.Address != "" {
		return s.Address
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

// differentTensor returns the name of the first tensor in which two lists differ, "" for none.
func differentTensor(a, b []Tensor) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return b[i].Name
		case i >= len(b):
			return a[i].Name
		}
		x, y := &a[i], &b[i]
		sameFrom := slices.EqualFunc(x.From, y.From, func(p, q Part) bool {
			return p.Name == q.Name && p.DType == q.DType && slices.Equal(p.Shape, q.Shape)
		})
		if x.Name != y.Name || x.DType != y.DType || !slices.Equal(x.Shape, y.Shape) || x.Rule != y.Rule || x.DividedBy != y.DividedBy || !sameFrom {
			return x.Name
		}
	}
	return ""
}
