package diff

import (
	"context"
	"io"
	"iter"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// compareElements compares all pairs of one shape: their bytes, if the dtypes are the same, and then the
// values of those that differ.
func (d *differ) compareElements(ctx context.Context) error {
	var sameType, measured []*pair
	for _, p := range d.pairs {
		switch {
		case p.status != "":
		case p.a.DType == p.b.DType:
			sameType = append(sameType, p)
		default:
			measured = append(measured, p)
		}
	}
	if err := d.compareBytes(ctx, sameType); err != nil {
		return err
	}
	for _, p := range sameType {
		if p.unequal.Load() {
			measured = append(measured, p)
		} else {
			p.status = Equal
		}
	}
	return d.measureAll(ctx, measured)
}

// section is a range of a pair's elements that one worker measures.
type section struct {
	pair     *pair
	first, n int64
	parts    *parts // of the pair; nil if the section is all of it
	part     int
}

// parts are the tallies of the sections of one pair.
type parts struct {
	tallies []tally
	left    atomic.Int32 // sections that are not yet measured
}

// measureAll determines the metrics of pairs, and their status.
func (d *differ) measureAll(ctx context.Context, pairs []*pair) error {
	total := int64(0)
	for _, p := range pairs {
		total += p.a.Bytes()
	}
	d.progress.start("measuring", total)
	return inParallel(ctx, d.sections(pairs), d.measure)
}

// sections divides pairs into sections.
func (d *differ) sections(pairs []*pair) iter.Seq[section] {
	return func(yield func(section) bool) {
		for _, p := range pairs {
			n := p.a.Elements()
			if n == 0 {
				d.complete(p, &tally{first: -1})
				continue
			}
			step, of := n, (*parts)(nil)
			if p.a.direct() && p.b.direct() && n > d.rangeElements {
				step = d.rangeElements
				of = &parts{tallies: make([]tally, (n+step-1)/step)}
				of.left.Store(int32(len(of.tallies)))
			}
			for first := int64(0); first < n; first += step {
				if !yield(section{p, first, min(step, n-first), of, int(first / step)}) {
					return
				}
			}
		}
	}
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
	sum := tally{first: -1}
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
		sum.add(&t)
		d.progress.add(int64(len(rawA)))
	}
	sum.changes = c.histogram.changes()
	d.add(s, &sum)
	return nil
}

// add adds the tally of a section, and completes the pair if it is the last.
func (d *differ) add(s section, t *tally) {
	if s.parts == nil {
		d.complete(s.pair, t)
		return
	}
	s.parts.tallies[s.part] = *t
	if s.parts.left.Add(-1) > 0 {
		return
	}
	sum := &tally{first: -1}
	for i := range s.parts.tallies {
		sum.add(&s.parts.tallies[i])
	}
	d.complete(s.pair, sum)
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

// complete states the result for a pair whose values were compared.
func (d *differ) complete(p *pair, t *tally) {
	sameType := p.a.DType == p.b.DType
	p.status = Differs
	if !sameType {
		p.status = DType
	}
	if t.differing > 0 || t.nanA+t.nanB+t.infA+t.infB > 0 {
		p.found().metrics = t.metrics(p.a.Shape, sameType && ulpsOf(p.a.DType) != nil, d.options.Tolerance != nil).pack()
	}
	if d.options.Tolerance != nil && t.beyond == 0 {
		p.status = Equal
	}
	if sameType || t.differing == 0 {
		return
	}
	switch {
	case t.notRoundedB == 0:
		p.found().explanation = &explain.Explanation{Kind: explain.Rounded, Detail: "to " + p.b.DType.String()}
	case t.notRoundedA == 0:
		p.found().explanation = &explain.Explanation{Kind: explain.Rounded, Detail: "the other way: A is B rounded to " + p.a.DType.String()}
	}
}
