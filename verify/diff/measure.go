package diff

import (
	"context"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// compareElements compares all pairs of one shape: their bytes, if the dtypes are the same, and then the
// values of those that differ.
func (d *differ) compareElements(ctx context.Context) error {
	var sameType, measured []*pair
	for _, p := range d.pairs {
		switch {
		case p.diff.Status != "":
		case p.a.DType == p.b.DType:
			sameType = append(sameType, p)
		default:
			measured = append(measured, p)
		}
	}
	unequal, err := d.compareBytes(ctx, sameType)
	if err != nil {
		return err
	}
	for _, p := range sameType {
		if unequal[p] {
			measured = append(measured, p)
		} else {
			p.diff.Status = Equal
		}
	}
	return d.measureAll(ctx, measured)
}

// section is a range of a pair's elements that one worker measures.
type section struct {
	pair     *pair
	first, n int64
	tally    *tally
}

// measureAll determines the metrics of pairs, and their status.
func (d *differ) measureAll(ctx context.Context, pairs []*pair) error {
	var all []section
	total := int64(0)
	byPair := make([][]*tally, len(pairs))
	for i, p := range pairs {
		n := p.a.Elements()
		step := max(n, 1)
		if p.a.direct() && p.b.direct() {
			step = d.rangeElements
		}
		for first := int64(0); first < n; first += step {
			s := section{p, first, min(step, n-first), &tally{first: -1}}
			all = append(all, s)
			byPair[i] = append(byPair[i], s.tally)
		}
		total += p.a.Bytes()
	}
	d.progress.start("measuring", total)
	if err := inParallel(ctx, all, d.measure); err != nil {
		return err
	}
	for i, p := range pairs {
		sum := &tally{first: -1}
		for _, t := range byPair[i] {
			sum.add(t)
		}
		d.complete(p, sum)
	}
	return nil
}

// measure compares the values of a section.
func (d *differ) measure(ctx context.Context, s section) error {
	a, err := openSection(s.pair.a, s.first, min(chunk, s.n))
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := openSection(s.pair.b, s.first, min(chunk, s.n))
	if err != nil {
		return err
	}
	defer b.Close()
	c := newComparer(s.pair, d.options.Tolerance, min(chunk, s.n))
	for at := int64(0); at < s.n; at += chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(chunk, s.n-at)
		rawA, err := a.next(n)
		if err != nil {
			return err
		}
		rawB, err := b.next(n)
		if err != nil {
			return err
		}
		t := c.compare(rawA, rawB, s.first+at, int(n))
		s.tally.add(&t)
		d.progress.add(int64(len(rawA)))
	}
	s.tally.changes = c.histogram.changes()
	return nil
}

// sectionReader reads the stored bytes of consecutive elements.
type sectionReader struct {
	io.ReadCloser
	of     *operand
	buffer []byte
}

// openSection opens an operand from an element on, to read up to most elements at a time.
func openSection(o *operand, first, most int64) (*sectionReader, error) {
	r, err := o.open(first)
	if err != nil {
		return nil, err
	}
	return &sectionReader{r, o, make([]byte, o.bytesOf(most))}, nil
}

// bytesOf returns how many bytes n elements have.
func (o *operand) bytesOf(n int64) int64 { return (n*int64(o.DType.Bits()) + 7) / 8 }

// next returns the bytes of the next n elements, which are valid until the next call.
func (r *sectionReader) next(n int64) ([]byte, error) {
	p := r.buffer[:r.of.bytesOf(n)]
	return p, r.of.annotate(tensor.ReadFull(r, p))
}

// complete fills in the entry of a pair whose values were compared.
func (d *differ) complete(p *pair, t *tally) {
	e := p.diff
	sameType := p.a.DType == p.b.DType
	e.Status = Differs
	if !sameType {
		e.Status = DType
	}
	if t.differing > 0 || t.nanA+t.nanB+t.infA+t.infB > 0 {
		e.Metrics = t.metrics(e.Shape, sameType && ulpsOf(p.a.DType) != nil, d.options.Tolerance != nil)
	}
	if d.options.Tolerance != nil && t.beyond == 0 {
		e.Status = Equal
	}
	if sameType || t.differing == 0 {
		return
	}
	switch {
	case t.notRoundedB == 0:
		e.Explanation = &explain.Explanation{Kind: explain.Rounded, Detail: "to " + p.b.DType.String()}
	case t.notRoundedA == 0:
		e.Explanation = &explain.Explanation{Kind: explain.Rounded, Detail: "A is B rounded to " + p.a.DType.String()}
	}
}
