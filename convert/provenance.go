package convert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/adapter"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// provenance is what the source's own conversion.json records of it: its tensors, and what they were
// made from. It is compared with what is read, and carried over.
type provenance struct {
	record *manifest.Record
	path   string
	spans  []manifest.Span // in record, of the source of each Move
}

// readProvenance returns nil if there is no conversion.json, or none that griffin wrote for this
// checkpoint; note says so if there is one. One that contradicts the names, types and shapes of the
// checkpoint is a *tensor.FormatError.
func readProvenance(p *outline) (v *provenance, note string, err error) {
	record, path, err := p.manifest()
	if bad := (*tensor.FormatError)(nil); errors.As(err, &bad) {
		return nil, fmt.Sprintf("%s is not used: %s", manifest.Name, bad.Problem), nil
	}
	if record == nil || err != nil {
		return nil, "", err
	}
	return newProvenance(p, record, path)
}

func newProvenance(p *outline, record *manifest.Record, path string) (v *provenance, note string, err error) {
	v = &provenance{record, path, make([]manifest.Span, len(p.Moves))}
	sources := tensor.IndexNames(len(p.Moves), func(k int) string { return p.Moves[k].Source.Name })
	known, contradicted := false, len(p.Moves)
	var contradiction error // of the first move of those that are contradicted
	err = record.Each(func(at manifest.Span, entry *manifest.Tensor) error {
		for _, k := range sources.Of(entry.Name) {
			t := p.Moves[k].Source
			known = true
			if adapter.IsMerged(t) {
				continue
			}
			v.spans[k] = at
			if int(k) < contradicted && (entry.DType != t.DType.String() || !slices.Equal(entry.Shape, t.Shape)) {
				contradicted = int(k)
				contradiction = v.contradicted(p, t.Name, fmt.Sprintf("is %s %s, and %s says %s %s",
					t.DType, tensor.ShapeString(t.Shape), manifest.Name, tensor.QuoteName(entry.DType), tensor.ShapeString(entry.Shape)))
			}
		}
		return nil
	})
	if err = cmp.Or(err, contradiction); err != nil {
		return nil, "", err
	}
	if !known {
		return nil, fmt.Sprintf("%s is not used: it names none of the checkpoint's tensors", manifest.Name), nil
	}
	return v, "", nil
}

func (v *provenance) contradicted(p *outline, name, problem string) error {
	advice := fmt.Sprintf("the checkpoint was changed or damaged after it was written; remove %s if the change is meant", v.path)
	if form := v.record.HuggingFace; form != nil && form.MatchRuntime != "" && v.record.Settings != nil {
		advice += fmt.Sprintf(", and set attention_window_size in config.json to %d, the original's window, which only that file has", v.record.Settings.AttentionWindow)
	}
	return tensor.Bad("%s", problem).In(p.checkpoint.Path).Of(name).Advise("%s", advice)
}

// check returns a *tensor.FormatError if a source has another digest than when it was written, or if a
// tensor that is converted back to its original layout has another digest than it had there.
func (v *provenance) check(p *outline, sources, dests *moves.Digests) error {
	entries, err := v.record.Open()
	if err != nil {
		return err
	}
	defer entries.Close()
	for k := range p.Moves {
		t := p.Moves[k].Source
		sum, known := sources.Source(t)
		if !known || v.spans[k] == (manifest.Span{}) {
			continue
		}
		entry, err := entries.At(v.spans[k])
		if err != nil {
			return err
		}
		if equal, _ := sum.Compare(entry.Sum); !equal {
			found, recorded := briefly(sum, entry.Sum)
			return v.contradicted(p, t.Name, fmt.Sprintf("its elements are not those that %s records (%s…, not %s…)", manifest.Name, found, recorded))
		}
	}
	if v.record.Root().Layout != p.to.String() {
		return nil
	}
	origins := &origins{v, p, entries}
	for i := range p.Dests {
		if err := origins.check(i, dests.Dest(i)); err != nil {
			return err
		}
	}
	return nil
}

// briefly returns the beginnings of two different digests by one hash function. The second is from a file.
func briefly(found, recorded digest.Sum) (a, b string) {
	name := "BLAKE3 "
	if found.BLAKE3 == recorded.BLAKE3 || found.BLAKE3 == "" || recorded.BLAKE3 == "" {
		name, found.BLAKE3, recorded.BLAKE3 = "SHA-256 ", found.SHA256, recorded.SHA256
	}
	return name + found.BLAKE3[:8], tensor.QuoteName(tensor.Clip(recorded.BLAKE3[:min(len(recorded.BLAKE3), 8)]))
}

// origins finds the tensors of the record's root from which those of a destination come.
type origins struct {
	*provenance
	outline *outline
	entries *manifest.Tensors
}

// check compares the digest of a Dest with that of the only tensor from which it comes.
func (o *origins) check(dest int, sum digest.Sum) error {
	all, err := o.of(dest)
	if err != nil || len(all) != 1 {
		return err
	}
	d, from := &o.outline.Dests[dest], &all[0]
	equal, _ := sum.Compare(from.Sum)
	if from.Rounded || from.DType != d.DType.String() || !slices.Equal(from.Shape, d.Shape) || equal {
		return nil
	}
	found, recorded := briefly(sum, from.Sum)
	return o.contradicted(o.outline, o.outline.sourceNames(dest), fmt.Sprintf("gives other elements (%s…) than %s, which it was made from, had (%s…), as %s says",
		found, tensor.QuoteName(from.Name), recorded, manifest.Name))
}

// of returns the tensors from which a Dest comes; none if a part of it is of unknown origin.
func (o *origins) of(dest int) (all []manifest.Part, err error) {
	first, end := o.outline.RangeOf(dest)
	for k := first; k < end; k++ {
		if o.spans[k] == (manifest.Span{}) {
			return nil, nil
		}
		entry, err := o.entries.At(o.spans[k])
		if err != nil {
			return nil, err
		}
		parts := o.record.RootParts(entry)
		if len(parts) == 0 {
			return nil, nil
		}
		m := &o.outline.Moves[k]
		rounded := m.Divide != 0 || m.Source.DType != o.outline.Dests[dest].DType
		for _, part := range parts {
			at := slices.IndexFunc(all, func(x manifest.Part) bool { return x.Name == part.Name })
			if at < 0 {
				at, all = len(all), append(all, part)
			}
			all[at].Rounded = all[at].Rounded || part.Rounded || rounded
		}
	}
	return all, nil
}
