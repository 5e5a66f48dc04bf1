package diff

import (
	"context"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// content identifies what a tensor holds.
type content struct {
	kind   string
	digest digest.Sum
}

// pairRenamed pairs tensors that only A has with those that only B has and that hold the same elements, bit
// for bit. Of several that hold the same, the first of A is paired with the first of B.
func (d *differ) pairRenamed(ctx context.Context) error {
	if d.options.Raw {
		return nil
	}
	for _, p := range d.pairs {
		if p.a != nil && p.b != nil && (d.b.hasOtherList(p.b) || d.mixed && unwrap(p.a.Name, "") != unwrap(p.b.Name, "")) {
			p.renamed, p.aligned = p.status == Equal, true
		}
	}
	candidates := d.renameCandidates()
	if len(candidates) == 0 {
		return nil
	}
	total := int64(0)
	for _, p := range candidates {
		total += p.only().Bytes()
	}
	d.progress.start("looking for renamed tensors", total)
	var mu sync.Mutex
	contents := map[*pair]content{}
	err := inParallel(ctx, slices.Values(candidates), func(ctx context.Context, p *pair) error {
		o := p.only()
		sum, err := tensor.Digest(ctx, o.Tensor, digest.Default)
		if err != nil {
			return o.annotate(err)
		}
		d.progress.add(o.Bytes())
		mu.Lock()
		defer mu.Unlock()
		contents[p] = content{o.kind(), sum}
		return nil
	})
	if err != nil {
		return err
	}
	onlyB := map[content][]*pair{}
	for _, p := range candidates {
		if p.a == nil {
			onlyB[contents[p]] = append(onlyB[contents[p]], p)
		}
	}
	joined := map[*pair]bool{}
	for _, p := range candidates {
		if same := onlyB[contents[p]]; p.b == nil && len(same) > 0 {
			d.join(p, same[0])
			joined[same[0]] = true
			onlyB[contents[p]] = same[1:]
		}
	}
	d.pairs = slices.DeleteFunc(d.pairs, func(p *pair) bool { return joined[p] })
	return nil
}

// renameCandidates returns the pairs without counterpart for which the other side has one of the same
// dtype and shape.
func (d *differ) renameCandidates() []*pair {
	kinds := map[Status]map[string]bool{OnlyA: {}, OnlyB: {}}
	for _, p := range d.pairs {
		if of := kinds[p.status]; of != nil {
			of[p.only().kind()] = true
		}
	}
	var out []*pair
	for _, p := range d.pairs {
		if kinds[p.status] != nil && p.only().Elements() > 0 && kinds[OnlyA][p.only().kind()] && kinds[OnlyB][p.only().kind()] {
			out = append(out, p)
		}
	}
	return out
}

// join makes one pair of two that have one side each and hold the same elements. It is a.
func (d *differ) join(a, b *pair) {
	a.b = b.b
	a.status, a.renamed = Equal, true
	a.aligned = d.moved.belong(unwrap(a.name, d.a.prefix), unwrap(b.b.Name, d.b.prefix))
}

// verifyChecksums verifies the checksums that the formats keep of the tensors that were read, unless that
// was done while they were read.
func (d *differ) verifyChecksums(ctx context.Context) error {
	seen := map[*tensor.Tensor]bool{}
	var all []*tensor.Tensor
	for _, p := range d.pairs {
		if p.a == nil || p.b == nil || p.status == Shape {
			continue
		}
		for _, t := range []*tensor.Tensor{p.a.stored(), p.b.stored()} {
			if _, ok := t.Data.(tensor.Checker); ok && !seen[t] {
				seen[t] = true
				all = append(all, t)
			}
		}
	}
	return inParallel(ctx, slices.Values(all), func(_ context.Context, t *tensor.Tensor) error {
		return annotate(t.Name, t.Data.(tensor.Checker).Check())
	})
}

// Counterparts are the tensors of two checkpoints that belong together, by their names or because they hold the same.
type Counterparts struct {
	Names  map[string]string // of tensors of B, by the name that A has for them. Tensors without counterpart are not in it
	Layers *MovedLayers      // nil if layers of one number belong together
}

// FindCounterparts pairs tensors of two checkpoints as Diff does: layers of other numbers by what most of their tensors hold or look like, others by
// their names, and those whose name the other lacks by what they hold, bit for bit. What has to be compared is read once. The memory
// that it takes grows with the number of tensors. progress, if not nil, is called as Options.Progress is.
func FindCounterparts(ctx context.Context, a, b *tensor.Checkpoint, progress func(stage string, done, total int64)) (*Counterparts, error) {
	d := newDiffer(Options{Progress: progress})
	d.a, d.b = newSide(a, nil), newSide(b, nil)
	d.a.addAll()
	d.b.addAll()
	var err error
	if d.moved, err = alignLayers(ctx, d.a, d.b, &d.progress); err != nil {
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
