package diff

import (
	"context"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Counterparts are the tensors of two checkpoints that belong together, by their names or because they hold the same.
type Counterparts struct {
	Names  map[string]string // of tensors of B, by the name that A has for them. Tensors without counterpart are not in it
	Layers *MovedLayers      // nil if layers of one number belong together
}

// FindCounterparts pairs tensors of two checkpoints as Diff does: layers of other numbers by what most of their tensors hold, others by
// their names, and those whose name the other lacks by what they hold, bit for bit. What has to be compared is read once. The memory
// that it takes grows with the number of tensors. progress, if not nil, is called as Options.Progress is.
func FindCounterparts(ctx context.Context, a, b *tensor.Checkpoint, progress func(stage string, done, total int64)) (*Counterparts, error) {
	d := newDiffer(Options{Progress: progress})
	d.a, d.b = newSide(a, nil), newSide(b, nil)
	d.a.addAll()
	d.b.addAll()
	var err error
	if d.moved, err = alignLayers(ctx, d.a, d.b, false, &d.progress); err != nil {
		return nil, err
	}
	if err := d.pair(model.UnknownLayout); err != nil {
		return nil, err
	}
	if err := d.pairRenamed(ctx); err != nil {
		return nil, err
	}
	found := &Counterparts{Names: map[string]string{}, Layers: d.moved}
	for _, p := range d.pairs {
		if p.a != nil && p.b != nil {
			found.Names[p.a.Name] = p.b.Name
		}
	}
	return found, nil
}
