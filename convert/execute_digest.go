package convert

import (
	"context"
	"maps"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// executeDigests is Execute, and returns the SHA-256 of all sources too. Those that are copied whole
// have that of the copy; others are hashed as they are read, or once more where that is not in order.
func executeDigests(ctx context.Context, p *Plan, dst Destination, progress func(done int64)) ([]Written, *Digests, error) {
	sums := &runningSums{sources: map[*tensor.Tensor]*runningSum{}}
	copied := p.copied()
	for _, m := range p.Moves {
		if _, ok := copied[m.Source]; !ok && sums.sources[m.Source] == nil {
			sums.sources[m.Source] = newRunningSum(m.Source)
		}
	}
	written, err := execute(ctx, p, dst, progress, limitsOf(p, dst), sums)
	if err != nil {
		return nil, nil, err
	}
	hashed, err := sums.finish(ctx, 0)
	if err != nil {
		return nil, nil, err
	}
	return written, p.digests(written, hashed.Sources), nil
}

// digests returns the digests of a plan's outcome, and of its sources those that were hashed and those
// that are copied.
func (p *Plan) digests(written []Written, hashed map[*tensor.Tensor]tensor.Sum) *Digests {
	d := &Digests{Sources: map[*tensor.Tensor]tensor.Sum{}}
	for _, w := range written {
		d.Outputs = append(d.Outputs, w.Digest)
	}
	maps.Copy(d.Sources, hashed)
	for source, dest := range p.copied() {
		d.Sources[source] = written[dest].Digest
	}
	return d
}

// copied returns the sources that are copied whole and unchanged, and to which Dest: what is one's
// digest is the other's.
func (p *Plan) copied() map[*tensor.Tensor]int {
	all := map[*tensor.Tensor]int{}
	for i := range p.Moves {
		m := &p.Moves[i]
		elements := m.Source.Elements()
		if m.View.IsRowMajor() && m.View.Elements() == elements && m.Divide == 0 && m.Source.DType == p.Dests[m.Dest].DType &&
			elements == (&tensor.Tensor{Shape: p.Dests[m.Dest].Shape}).Elements() {
			all[m.Source] = m.Dest
		}
	}
	return all
}
