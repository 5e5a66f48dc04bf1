package convert

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/tensor"
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
func (v *provenance) check(p *outline, sources map[*tensor.Tensor]tensor.Sum, written []tensor.Written) error {
	for _, t := range p.Sources() {
		sum, known := sources[t]
		entry := v.tensors[t.Name]
		if known && entry != nil && entry.SHA256 != "" && hex.EncodeToString(sum[:]) != entry.SHA256 {
			return v.contradicted(p, t.Name, fmt.Sprintf("its elements are not those that %s records (SHA-256 %x…, not %s…)",
				manifest.Name, sum[:4], tensor.QuoteName(tensor.Clip(entry.SHA256[:min(len(entry.SHA256), 8)]))))
		}
	}
	from := v.record.Root()
	for i, all := range v.origins(p) {
		if len(all) != 1 || from.Layout != p.to.String() {
			continue
		}
		d, o, sum := &p.Dests[i], &all[0], hex.EncodeToString(written[i].Digest[:])
		if o.Rounded || o.SHA256 == "" || o.DType != d.DType.String() || !slices.Equal(o.Shape, d.Shape) || o.SHA256 == sum {
			continue
		}
		return v.contradicted(p, p.sourceNames(i), fmt.Sprintf("gives other elements (SHA-256 %s…) than %s, which it was made from, had (%s…), as %s says",
			sum[:8], tensor.QuoteName(o.Name), tensor.QuoteName(tensor.Clip(o.SHA256[:min(len(o.SHA256), 8)])), manifest.Name))
	}
	return nil
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
