package explain

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// sparseShare bounds a sparse difference: at most one in so many elements was changed.
const sparseShare = 100

// claim is what may have been done to A's tensor to make B's: put into another order, and then computed
// with a constant, and then rounded.
type claim struct {
	order    *arrangement
	constant *constant     // nil for none
	format   *numberFormat // nil if nothing is rounded; the result is then rounded to B's dtype

	steps []Explanation // one or two
}

// mismatches are the elements of B that are not as a claim says.
type mismatches struct {
	n    int64     // how many; after more than 1% counting may have stopped
	list []Changed // the first of them

	rounded int64 // elements that rounding changed, as the claim says; not those that only rounding to B's dtype does
}

// add counts an element, and lists it if it is one of the first.
func (m *mismatches) add(describe func() Changed) {
	const maxListed = 100
	if m.n++; len(m.list) < maxListed {
		m.list = append(m.list, describe())
	}
}

// few reports whether there are some, but not more than a sparse difference has.
func (m *mismatches) few(elements int64) bool { return m.n > 0 && m.n <= elements/sparseShare }

// explanation says that the mismatches, of so many elements, were changed.
func (m *mismatches) explanation(elements int64) Explanation {
	var where []string
	for i, c := range m.list {
		if i == 3 {
			where = append(where, "…")
			break
		}
		where = append(where, tensor.ShapeString(c.Index))
	}
	return Explanation{Kind: Sparse, Elements: m.list, Changed: m.n,
		Detail: fmt.Sprintf("%d of %d elements: %s", m.n, elements, strings.Join(where, ", "))}
}

// errStop ends a reading early.
var errStop = errors.New("stop")

// check compares every element of b with what the claims say it is, reading both sides once. All claims
// have the same order. It stops early if each claim has more than 1% of the elements against it.
func (s *search) check(claims []*claim) ([]mismatches, error) {
	out := make([]mismatches, len(claims))
	limit := s.b.tensor.Elements() / sparseShare
	left := len(claims)
	c := &comparison{a: s.a.tensor, b: s.b.tensor, own: numberFormats[s.b.tensor.DType]}
	if isFloat(c.a.DType) && isFloat(c.b.DType) {
		c.values = newDecoder(c.a, c.b)
		c.want = make([]float64, min(pieceElements, c.b.Elements()))
	}
	err := s.eachPair(claims[0].order, func(first int64, p, q []byte) error {
		c.start(first, p, q)
		for i, claim := range claims {
			if out[i].n > limit {
				continue
			}
			if c.compare(claim, &out[i]); out[i].n > limit {
				left--
			}
		}
		if left == 0 {
			return errStop
		}
		return nil
	})
	if err == errStop {
		err = nil
	}
	return out, err
}

// comparison compares one piece of both sides at a time.
type comparison struct {
	a, b  *tensor.Tensor
	first int64 // index of the piece's first element
	p, q  []byte

	values       *decoder
	own          *numberFormat // of B
	wideA, wideB []float64     // the decoded piece; nil if it is not decoded yet
	want         []float64
}

func (c *comparison) start(first int64, p, q []byte) {
	c.first, c.p, c.q, c.wideA, c.wideB = first, p, q, nil, nil
}

// compare adds the elements of the piece that are not as the claim says.
func (c *comparison) compare(m *claim, out *mismatches) {
	if m.constant == nil && m.format == nil && c.a.DType == c.b.DType {
		c.compareBits(out)
		return
	}
	if c.wideA == nil {
		c.wideA, c.wideB = c.values.decode(c.p, c.q)
	}
	want := c.want[:len(c.wideA)]
	copy(want, c.wideA)
	if m.constant != nil {
		m.constant.apply(want)
	}
	plain := func(x float64) float64 { return x } // what x becomes without the rounding of the claim
	if m.format != nil {
		m.format.roundAll(want)
		if !c.own.contains(m.format) {
			c.own.roundAll(want)
		}
		if m.format != c.own {
			plain = c.own.round
		}
	}
	for i, x := range c.wideB {
		switch y := want[i]; {
		case x != y && (x == x || y == y):
			out.add(func() Changed { return c.changed(i) })
		case y == c.wideA[i] || c.wideA[i] != c.wideA[i]:
		case y != plain(c.wideA[i]):
			out.rounded++
		}
	}
}

func (c *comparison) compareBits(out *mismatches) {
	const run = 512 // elements
	size := int(c.a.DType.Size())
	for at := 0; at < len(c.q); at += run * size {
		end := min(at+run*size, len(c.q))
		if bytes.Equal(c.p[at:end], c.q[at:end]) {
			continue
		}
		for i := at; i < end; i += size {
			if !bytes.Equal(c.p[i:i+size], c.q[i:i+size]) {
				out.add(func() Changed { return c.changed(i / size) })
			}
		}
	}
}

// changed describes element i of the piece.
func (c *comparison) changed(i int) Changed {
	return Changed{Index: tensor.Unravel(c.first+int64(i), c.b.Shape), A: elementValue(c.a.DType, c.p, i), B: elementValue(c.b.DType, c.q, i)}
}

// elementValue returns the number that an element stands for, the real part of a complex one.
func elementValue(d tensor.DType, p []byte, i int) Number {
	v := tensor.ValuesOf(d)
	var lanes [2]float64
	size := int(d.Size())
	v.Decode(lanes[:v.Lanes], p[i*size:(i+1)*size])
	return Number(lanes[0])
}

// decoder decodes pieces of two tensors of floating-point elements.
type decoder struct {
	decodeA, decodeB func(dst []float64, src []byte)
	sizeB            int
	a, b             []float64
}

func newDecoder(a, b *tensor.Tensor) *decoder {
	most := min(pieceElements, b.Elements())
	return &decoder{tensor.ValuesOf(a.DType).Decode, tensor.ValuesOf(b.DType).Decode, int(b.DType.Size()),
		make([]float64, most), make([]float64, most)}
}

// decode returns the values of a piece, which are valid until the next call.
func (d *decoder) decode(p, q []byte) (a, b []float64) {
	a, b = d.a[:len(q)/d.sizeB], d.b[:len(q)/d.sizeB]
	d.decodeA(a, p)
	d.decodeB(b, q)
	return a, b
}
