package explain

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// mostListed elements of a sparse difference are listed.
const mostListed = 100

// sparseShare of the elements is what a sparse difference has at most: one in a hundred.
const sparseShare = 100

// claim is what may have been done to A's tensor to make B's.
type claim struct {
	how   *arrangement
	steps []step // then, to every value
	as    *numberFormat

	says []Explanation // one or two
}

// outcome is what checking a claim on every element gave.
type outcome struct {
	wrong int64     // elements, or more than 1% of them where it was given up
	list  []Changed // the first of them
}

func (o *outcome) sparse(elements int64) bool { return o.wrong > 0 && o.wrong <= elements/sparseShare }

// check holds every element of b against what the claims say it is, reading both sides once. All claims
// have one arrangement. It ends early where all of them have more than 1% of the elements against them.
func check(ctx context.Context, a, b *tensor.Tensor, claims []*claim) ([]outcome, error) {
	out := make([]outcome, len(claims))
	elements := b.Elements()
	left := len(claims)
	c := &checking{a: a, b: b}
	if numberFormats[a.DType] != nil && numberFormats[b.DType] != nil {
		c.wide, c.wideB, c.want = make([]float64, pieceElements), make([]float64, pieceElements), make([]float64, pieceElements)
	}
	err := eachPair(ctx, a, claims[0].how, b, func(first int64, p, q []byte) error {
		c.begin(p, q)
		for i, m := range claims {
			if out[i].wrong > elements/sparseShare {
				continue
			}
			c.compare(m, first, &out[i])
			if out[i].wrong > elements/sparseShare {
				left--
			}
		}
		if left == 0 {
			return errGivenUp
		}
		return nil
	})
	if err == errGivenUp {
		err = nil
	}
	return out, err
}

var errGivenUp = fmt.Errorf("given up")

// checking holds one piece of both sides.
type checking struct {
	a, b    *tensor.Tensor
	p, q    []byte
	decoded bool

	wide, wideB, want []float64
}

func (c *checking) begin(p, q []byte) { c.p, c.q, c.decoded = p, q, false }

// compare counts the elements of a piece that are not as the claim says.
func (c *checking) compare(m *claim, first int64, out *outcome) {
	if len(m.steps) == 0 && m.as == nil && c.a.DType == c.b.DType {
		c.compareBits(first, out)
		return
	}
	n := len(c.q) / int(c.b.DType.Size())
	if !c.decoded {
		tensor.ValuesOf(c.a.DType).Decode(c.wide[:n], c.p)
		tensor.ValuesOf(c.b.DType).Decode(c.wideB[:n], c.q)
		c.decoded = true
	}
	want := c.want[:n]
	copy(want, c.wide)
	m.compute(want)
	for i, x := range c.wideB[:n] {
		if y := want[i]; x != y && (x == x || y == y) {
			out.add(func() Changed { return c.changed(first+int64(i), i) })
		}
	}
}

// compute applies the steps, and rounds to the type that B's elements were rounded to.
func (m *claim) compute(values []float64) {
	for _, s := range m.steps {
		s.apply(values)
	}
	if m.as != nil {
		rounding{m.as}.apply(values)
	}
}

func (c *checking) compareBits(first int64, out *outcome) {
	const stretch = 512
	size := int(c.a.DType.Size())
	for at := 0; at < len(c.q); at += stretch * size {
		end := min(at+stretch*size, len(c.q))
		if bytes.Equal(c.p[at:end], c.q[at:end]) {
			continue
		}
		for i := at; i < end; i += size {
			if !bytes.Equal(c.p[i:i+size], c.q[i:i+size]) {
				out.add(func() Changed { return c.changed(first+int64(i/size), i/size) })
			}
		}
	}
}

// add counts an element, and lists it if it is one of the first.
func (o *outcome) add(describe func() Changed) {
	if o.wrong++; len(o.list) < mostListed {
		o.list = append(o.list, describe())
	}
}

// changed describes an element of the piece.
func (c *checking) changed(element int64, i int) Changed {
	return Changed{Index: tensor.Unravel(element, c.b.Shape), A: firstValue(c.a.DType, c.p, i), B: firstValue(c.b.DType, c.q, i)}
}

// firstValue returns the number that an element stands for, the real part of a complex one.
func firstValue(d tensor.DType, p []byte, i int) Number {
	v := tensor.ValuesOf(d)
	var lanes [2]float64
	size := int(d.Size())
	v.Decode(lanes[:v.Lanes], p[i*size:(i+1)*size])
	return Number(lanes[0])
}

// sparseness says which elements remain where a claim holds for all others.
func (o *outcome) sparseness(elements int64) Explanation {
	var where []string
	for i, c := range o.list {
		if i == 3 {
			where = append(where, "…")
			break
		}
		where = append(where, tensor.ShapeString(c.Index))
	}
	word := "elements"
	if o.wrong == 1 {
		word = "element"
	}
	return Explanation{Kind: Sparse, Elements: o.list,
		Detail: fmt.Sprintf("%d of %d %s: %s", o.wrong, elements, word, strings.Join(where, ", "))}
}

// isFloat reports whether constants and rounding are sought for a type.
func isFloat(d tensor.DType) bool { return numberFormats[d] != nil }

// narrowedBy intersects an interval with what every element of b says of the constant, where that leaves
// anything: a few elements may have been changed besides.
func narrowedBy(ctx context.Context, a, b *tensor.Tensor, how *arrangement, first []step, as *numberFormat,
	of constraint, from interval) (interval, error) {
	wide, wideB := make([]float64, pieceElements), make([]float64, pieceElements)
	decodeA, decodeB := tensor.ValuesOf(a.DType).Decode, tensor.ValuesOf(b.DType).Decode
	against, elements := int64(0), b.Elements()
	err := eachPair(ctx, a, how, b, func(_ int64, p, q []byte) error {
		n := len(q) / int(b.DType.Size())
		decodeA(wide[:n], p)
		decodeB(wideB[:n], q)
		for _, s := range first {
			s.apply(wide[:n])
		}
		for i, x := range wide[:n] {
			allowed, says, possible := of(x, wideB[i], as)
			low, high := max(from.low, allowed.low), min(from.high, allowed.high)
			switch {
			case possible && !says:
			case possible && low <= high:
				from = interval{low, high}
			default:
				against++
			}
		}
		if against > elements/sparseShare+elements/1000+8 {
			return errGivenUp
		}
		return nil
	})
	if err == errGivenUp {
		return interval{math.Inf(1), math.Inf(-1)}, nil
	}
	return from, err
}
