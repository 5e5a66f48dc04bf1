package diff

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// comparer compares stretches of a pair's elements.
type comparer struct {
	a, b    tensor.Values
	sizeA   int64 // bytes of an element, 0 if it is packed
	sizeB   int64
	oneType bool
	lanes   int // numbers of an element: of the side that has more
	steps   *steps

	tolerance *Tolerance // nil for the same bits
	toA, toB  rounds     // where the types differ
	cast      []byte

	x, y, narrow []float64
	changes      changes // of all that was compared
}

// stretch is how many elements are compared at a time: so many that all of them stay in a core's own
// cache, and whole bytes of packed types.
const stretch = 4096

func newComparer(p *pair, tolerance *Tolerance) *comparer {
	c := &comparer{a: tensor.ValuesOf(p.a.DType), b: tensor.ValuesOf(p.b.DType), sizeA: p.a.DType.Size(), sizeB: p.b.DType.Size(),
		oneType: p.a.DType == p.b.DType, tolerance: tolerance}
	c.lanes = max(c.a.Lanes, c.b.Lanes)
	c.x, c.y = make([]float64, stretch*c.lanes), make([]float64, stretch*c.lanes)
	if c.oneType {
		c.steps = stepsOf(p.a.DType)
		return c
	}
	c.narrow = make([]float64, stretch)
	c.cast = make([]byte, 8*stretch)
	c.toA, c.toB = newRounds(p.b.DType, p.a.DType), newRounds(p.a.DType, p.b.DType)
	return c
}

// compare compares n elements, the first of which is element first of the pair.
func (c *comparer) compare(rawA, rawB []byte, first int64, n int) tally {
	t := tally{first: -1}
	x, y := c.x[:n*c.lanes], c.y[:n*c.lanes]
	c.decode(x, rawA, c.a)
	if c.oneType && bytes.Equal(rawA, rawB) {
		t.sumEqual(x)
		return t
	}
	c.decode(y, rawB, c.b)
	t.sum(x, y, &c.changes)
	if c.oneType && c.sizeA > 0 {
		c.countBits(&t, rawA, rawB, first)
		return t
	}
	for i := range n {
		c.countValues(&t, first, i)
	}
	if !c.oneType {
		t.notRoundedA, t.notRoundedB = c.toA.others(rawB, rawA, c.cast), c.toB.others(rawA, rawB, c.cast)
	}
	return t
}

// decode reads as many numbers of each element as either side has: the imaginary part of what is real
// is 0.
func (c *comparer) decode(dst []float64, raw []byte, v tensor.Values) {
	if v.Lanes == c.lanes {
		v.Decode(dst, raw)
		return
	}
	narrow := c.narrow[:len(dst)/c.lanes]
	v.Decode(narrow, raw)
	clear(dst)
	for i, number := range narrow {
		dst[i*c.lanes] = number
	}
}

// countBits looks at elements of one type one by one.
func (c *comparer) countBits(t *tally, rawA, rawB []byte, first int64) {
	size := int(c.sizeA)
	for at := 0; at < len(rawA); at += size {
		if size == 2 && len(rawA)-at >= 8 { // most elements of most differing tensors are the same
			if binary.LittleEndian.Uint64(rawA[at:]) == binary.LittleEndian.Uint64(rawB[at:]) {
				at += 8 - size
				continue
			}
		}
		if bytesEqual(rawA[at:], rawB[at:], size) {
			continue
		}
		c.countElement(t, rawA, rawB, first, at/size)
	}
}

func bytesEqual(a, b []byte, size int) bool {
	switch size {
	case 2:
		return binary.LittleEndian.Uint16(a) == binary.LittleEndian.Uint16(b)
	case 4:
		return binary.LittleEndian.Uint32(a) == binary.LittleEndian.Uint32(b)
	}
	return bytes.Equal(a[:size], b[:size])
}

// countElement counts an element whose bits are not the same.
func (c *comparer) countElement(t *tally, rawA, rawB []byte, first int64, i int) {
	t.differing++
	part := int(c.sizeA) / c.lanes
	within := true
	for k := i * c.lanes; k < (i+1)*c.lanes; k++ {
		if t.first < 0 && (part == 0 && c.x[k] != c.y[k] || part > 0 && !bytes.Equal(rawA[k*part:][:part], rawB[k*part:][:part])) {
			t.first, t.firstA, t.firstB = first+int64(i), c.x[k], c.y[k]
		}
		ulp, known := uint64(0), false
		if c.steps != nil && c.x[k] == c.x[k] && c.y[k] == c.y[k] {
			ulp, known = c.steps.between(rawA, rawB, k), true
			t.ulp = max(t.ulp, ulp)
		}
		within = within && (c.tolerance == nil || c.tolerance.within(c.x[k], c.y[k], ulp, known))
	}
	if t.first < 0 { // codes that stand for the same number
		t.first, t.firstA, t.firstB = first+int64(i), c.x[i*c.lanes], c.y[i*c.lanes]
	}
	if !within {
		t.beyond++
	}
}

// countValues looks at an element of two types, or of a packed type, whose bits say nothing.
func (c *comparer) countValues(t *tally, first int64, i int) {
	same, within := true, true
	for k := i * c.lanes; k < (i+1)*c.lanes; k++ {
		x, y := c.x[k], c.y[k]
		if x == y && (!c.oneType || math.Signbit(x) == math.Signbit(y)) || x != x && y != y {
			continue
		}
		if same = false; t.first < 0 {
			t.first, t.firstA, t.firstB = first+int64(i), x, y
		}
		within = within && (c.tolerance == nil || c.tolerance.within(x, y, 0, false))
	}
	if !same {
		t.differing++
	}
	if !within {
		t.beyond++
	}
}

// rounds counts the elements that are not those of another type rounded to theirs.
type rounds struct {
	cast   tensor.Cast // nil where there is none: then all are others
	values tensor.Values
	size   int64
}

func newRounds(from, to tensor.DType) rounds {
	cast, _ := tensor.NewCast(from, to) // its error is that there is none
	return rounds{cast, tensor.ValuesOf(to), to.Size()}
}

// others returns how many elements of to are not those of from, rounded. NaN is NaN.
func (r rounds) others(from, to, buffer []byte) (n int64) {
	if r.cast == nil {
		return 1
	}
	buffer = buffer[:len(to)]
	r.cast(buffer, from)
	if bytes.Equal(buffer, to) {
		return 0
	}
	var v [2]float64
	for ; len(to) > 0; to, buffer = to[r.size:], buffer[r.size:] {
		if bytes.Equal(buffer[:r.size], to[:r.size]) {
			continue
		}
		r.values.Decode(v[:1], buffer)
		r.values.Decode(v[1:], to)
		if v[0] == v[0] || v[1] == v[1] {
			n++
		}
	}
	return n
}

// steps counts representable values of a floating-point type.
type steps struct {
	bytes  int
	signed bool
}

// stepsOf returns nil for types that are not floating-point numbers of whole bytes.
func stepsOf(d tensor.DType) *steps {
	switch d {
	case tensor.F64, tensor.C128:
		return &steps{8, true}
	case tensor.F32, tensor.C64:
		return &steps{4, true}
	case tensor.F16, tensor.BF16, tensor.C32:
		return &steps{2, true}
	case tensor.F8E4M3, tensor.F8E5M2, tensor.F8E4M3FNUZ, tensor.F8E5M2FNUZ, tensor.F8E4M3B11FNUZ, tensor.F8E3M4:
		return &steps{1, true}
	case tensor.F8E8M0:
		return &steps{1, false}
	}
	return nil
}

// between returns how many representable values it is from number k of a to that of b.
func (s *steps) between(a, b []byte, k int) uint64 {
	x, y := s.place(a[k*s.bytes:]), s.place(b[k*s.bytes:])
	if x < y {
		x, y = y, x
	}
	return uint64(x) - uint64(y)
}

// place numbers the values of the type in ascending order, both zeros 0.
func (s *steps) place(p []byte) int64 {
	var code uint64
	switch s.bytes {
	case 8:
		code = binary.LittleEndian.Uint64(p)
	case 4:
		code = uint64(binary.LittleEndian.Uint32(p))
	case 2:
		code = uint64(binary.LittleEndian.Uint16(p))
	default:
		code = uint64(p[0])
	}
	sign := uint64(1) << (8*s.bytes - 1)
	if s.signed && code&sign != 0 {
		return -int64(code &^ sign)
	}
	return int64(code)
}
