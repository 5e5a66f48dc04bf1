package diff

import (
	"context"
	"fmt"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// compareElements compares all pairs of one shape: first their bytes, where the types are the same, and
// then the values of those that differ.
func (d *differ) compareElements(ctx context.Context) error {
	d.meter.tell = d.options.Progress
	var same, apart []*pair
	for _, p := range d.pairs.all {
		switch {
		case p.diff.Status != "":
		case p.a.DType == p.b.DType:
			same = append(same, p)
		default:
			apart = append(apart, p)
		}
	}
	differ, err := d.compareBytes(ctx, same)
	if err != nil {
		return err
	}
	for _, p := range same {
		if differ[p] {
			apart = append(apart, p)
		} else {
			p.diff.Status = Equal
		}
	}
	return d.measureAll(ctx, apart)
}

// section is a range of a pair's elements that one worker measures.
type section struct {
	pair     *pair
	first, n int64
	tally    *tally
}

// measureAll finds the metrics of pairs, and what they make of them.
func (d *differ) measureAll(ctx context.Context, pairs []*pair) error {
	var all []section
	total := int64(0)
	byPair := make([][]*tally, len(pairs))
	for i, p := range pairs {
		n := p.a.Elements()
		step := max(n, 1)
		if p.a.Direct() && p.b.Direct() {
			step = d.rangeElements
		}
		for first := int64(0); first < n; first += step {
			s := section{p, first, min(step, n-first), &tally{first: -1}}
			all = append(all, s)
			byPair[i] = append(byPair[i], s.tally)
		}
		total += p.a.Tensor.Bytes()
	}
	d.meter.begin("measuring", total)
	if err := inParallel(ctx, all, d.measure); err != nil {
		return err
	}
	for i, p := range pairs {
		whole := &tally{first: -1}
		for _, t := range byPair[i] {
			whole.add(t)
		}
		d.judge(p, whole)
	}
	return nil
}

// measure compares the values of a section.
func (d *differ) measure(ctx context.Context, s section) error {
	a, err := openSection(s.pair.a, s.first)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := openSection(s.pair.b, s.first)
	if err != nil {
		return err
	}
	defer b.Close()
	c := newComparer(s.pair, d.options.Tolerance)
	for at := int64(0); at < s.n; at += stretch {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(stretch, s.n-at)
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
		d.meter.add(int64(len(rawA)))
	}
	s.tally.changes = &c.changes
	return nil
}

// sectionReader gives the stored bytes of consecutive elements.
type sectionReader struct {
	io.ReadCloser
	of     *Operand
	memory []byte
}

func openSection(o *Operand, first int64) (*sectionReader, error) {
	r, err := o.Open(first)
	if err != nil {
		return nil, err
	}
	return &sectionReader{ReadCloser: r, of: o, memory: make([]byte, (stretch*int64(o.DType.Bits())+7)/8)}, nil
}

// next returns the bytes of the next n elements, which are valid until the next call.
func (r *sectionReader) next(n int64) ([]byte, error) {
	p := r.memory[:(n*int64(r.of.DType.Bits())+7)/8]
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, r.of.name(short(err))
	}
	return p, nil
}

// short makes the early end of a tensor's elements an error about the input.
func short(err error) error {
	if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
		return tensor.Bad("the elements end early")
	}
	return err
}

// judge makes the entry of a pair whose values were compared.
func (d *differ) judge(p *pair, t *tally) {
	e := p.diff
	oneType := p.a.DType == p.b.DType
	e.Status = Differs
	if !oneType {
		e.Status = DType
	}
	if t.differing > 0 || t.nanA+t.nanB+t.infA+t.infB > 0 {
		e.Metrics = t.metrics(e.Shape, oneType && stepsOf(p.a.DType) != nil, d.options.Tolerance != nil)
	}
	if d.options.Tolerance != nil && t.beyond == 0 {
		e.Status = Equal
	}
	if oneType || t.differing == 0 {
		return
	}
	switch {
	case t.notRoundedB == 0:
		e.Explanation = &explain.Explanation{Kind: explain.Rounded, Detail: fmt.Sprintf("to %s", p.b.DType)}
	case t.notRoundedA == 0:
		e.Explanation = &explain.Explanation{Kind: explain.Rounded, Detail: fmt.Sprintf("A is B rounded to %s", p.a.DType)}
	}
}
