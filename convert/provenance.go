package convert

import (
	"errors"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// provenance is what the source's own conversion.json records of it: its tensors, and what they were
// made from. It is compared with what is read, and carried over.
type provenance struct {
	record  *manifest.Manifest
	path    string
	tensors map[string]*manifest.Tensor // of the plan's sources, by name
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

func newProvenance(p *outline, record *manifest.Manifest, path string) (v *provenance, note string, err error) {
	v = &provenance{record, path, map[string]*manifest.Tensor{}}
	for i := range record.Tensors {
		v.tensors[record.Tensors[i].Name] = &record.Tensors[i]
	}
	known := 0
	for _, t := range p.Sources() {
		entry := v.tensors[t.Name]
		if entry == nil {
			continue
		}
		known++
		if p.adapted(t) {
			delete(v.tensors, t.Name)
			continue
		}
		if entry.DType != t.DType.String() || !slices.Equal(entry.Shape, t.Shape) {
			return nil, "", v.contradicted(p, t.Name, fmt.Sprintf("is %s %s, and %s says %s %s",
				t.DType, tensor.ShapeString(t.Shape), manifest.Name, tensor.QuoteName(entry.DType), tensor.ShapeString(entry.Shape)))
		}
	}
	if known == 0 {
		return nil, fmt.Sprintf("%s is not used: it describes another checkpoint", manifest.Name), nil
	}
	return v, "", nil
}

func (v *provenance) contradicted(p *outline, name, problem string) error {
	return tensor.Bad("%s", problem).In(p.checkpoint.Path).Of(name).
		Advise("the checkpoint was changed or damaged after it was written; remove %s if the change is meant", v.path)
}

// check returns a *tensor.FormatError if a source has another digest than when it was written, or if a
// tensor that is converted back to its original layout has another digest than it had there.
func (v *provenance) check(p *outline, sources, dests *moves.Digests) error {
	for _, t := range p.Sources() {
		sum, known := sources.Source(t)
		entry := v.tensors[t.Name]
		if !known || entry == nil {
			continue
		}
		if equal, _ := sum.Compare(entry.Sum); !equal {
			found, recorded := briefly(sum, entry.Sum)
			return v.contradicted(p, t.Name, fmt.Sprintf("its elements are not those that %s records (%s…, not %s…)", manifest.Name, found, recorded))
		}
	}
	from := v.record.Root()
	for i, all := range v.origins(p) {
		if len(all) != 1 || from.Layout != p.to.String() {
			continue
		}
		d, o, sum := &p.Dests[i], &all[0], dests.Dest(i)
		equal, _ := sum.Compare(o.Sum)
		if o.Rounded || o.DType != d.DType.String() || !slices.Equal(o.Shape, d.Shape) || equal {
			continue
		}
		found, recorded := briefly(sum, o.Sum)
		return v.contradicted(p, p.sourceNames(i), fmt.Sprintf("gives other elements (%s…) than %s, which it was made from, had (%s…), as %s says",
			found, tensor.QuoteName(o.Name), recorded, manifest.Name))
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

// origins returns, for each Dest, the tensors of the record's root from which it comes; none if a part
// of it is of unknown origin.
func (v *provenance) origins(p *outline) [][]manifest.Part {
	all := make([][]manifest.Part, len(p.Dests))
	unknown := map[int]bool{}
	for i := range p.Moves {
		m := &p.Moves[i]
		entry := v.tensors[m.Source.Name]
		if entry == nil || len(v.record.RootParts(entry)) == 0 {
			unknown[m.Dest] = true
			continue
		}
		rounded := m.Divide != 0 || m.Source.DType != p.Dests[m.Dest].DType
		for _, o := range v.record.RootParts(entry) {
			o.Rounded = o.Rounded || rounded
			at := slices.IndexFunc(all[m.Dest], func(x manifest.Part) bool { return x.Name == o.Name })
			if at < 0 {
				all[m.Dest] = append(all[m.Dest], o)
			} else {
				all[m.Dest][at].Rounded = all[m.Dest][at].Rounded || o.Rounded
			}
		}
	}
	for i := range unknown {
		all[i] = nil
	}
	return all
}
