package diff

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// comparer compares chunks of a pair's elements.
type comparer struct {
	a, b         tensor.Values
	sizeA, sizeB int64 // bytes of an element, 0 if it is packed
	sameType     bool
	lanes        int   // numbers of an element: of the side that has more
	ulps         *ulps // nil if the elements are not floating-point numbers of one dtype

	restA, restB rest // of 64-bit integers

	tolerance *Tolerance // nil for the same bits
	toA, toB  rounding   // if the dtypes differ
	cast      []byte

	x, y, narrow []float64
	restX, restY []float64 // of 64-bit integers: what x and y lack; nil if neither side has such integers
	histogram    histogram // of all chunks
}

// chunk is how many elements are compared at a time: few enough to stay in the cache of one core, and whole
// bytes of packed dtypes.
const chunk = 4096

// newComparer returns a comparer for up to most elements at a time.
func newComparer(p *pair, tolerance *Tolerance, most int64) *comparer {
	c := &comparer{a: tensor.ValuesOf(p.a.DType), b: tensor.ValuesOf(p.b.DType), sizeA: p.a.DType.Size(), sizeB: p.b.DType.Size(),
		sameType: p.a.DType == p.b.DType, tolerance: tolerance}
	c.lanes = max(c.a.Lanes, c.b.Lanes)
	most *= int64(c.lanes)
	c.x, c.y = make([]float64, most), make([]float64, most)
	if isWide(p.a.DType) || isWide(p.b.DType) {
		c.restX, c.restY = make([]float64, most), make([]float64, most)
		c.restA, c.restB = restOf(p.a.DType), restOf(p.b.DType)
	}
	if c.sameType {
		c.ulps = ulpsOf(p.a.DType)
		return c
	}
	c.narrow = make([]float64, most)
	c.cast = make([]byte, 8*most)
	c.toA, c.toB = newRounding(p.b.DType, p.a.DType), newRounding(p.a.DType, p.b.DType)
	return c
}

// compare compares n elements, the first of which has the index first.
func (c *comparer) compare(rawA, rawB []byte, first int64, n int) tally {
	t := tally{first: -1}
	x, y := c.x[:n*c.lanes], c.y[:n*c.lanes]
	c.decode(x, rawA, c.a)
	if c.sameType && bytes.Equal(rawA, rawB) {
		t.addEqual(x)
		return t
	}
	c.decode(y, rawB, c.b)
	if c.restX == nil {
		t.addValues(x, y, &c.histogram)
	} else {
		c.restA.decode(c.restX[:len(x)], rawA, c.lanes)
		c.restB.decode(c.restY[:len(y)], rawB, c.lanes)
		t.addWide(x, y, c.restX, c.restY, &c.histogram)
	}
	if c.sameType && c.sizeA > 0 {
		c.countBits(&t, rawA, rawB, first)
		return t
	}
	for i := range n {
		c.countValues(&t, first, i)
	}
	if !c.sameType {
		t.notRoundedA, t.notRoundedB = c.toA.differing(rawB, rawA, c.cast), c.toB.differing(rawA, rawB, c.cast)
	}
	return t
}

// decode reads as many numbers of each element as either side has: the imaginary part of a real number is 0.
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

// countBits counts the elements of one dtype whose bits differ.
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

// countElement counts an element whose bits differ.
func (c *comparer) countElement(t *tally, rawA, rawB []byte, first int64, i int) {
	t.differing++
	part := int(c.sizeA) / c.lanes
	within := true
	for k := i * c.lanes; k < (i+1)*c.lanes; k++ {
		if t.first < 0 && (part == 0 && c.x[k] != c.y[k] || part > 0 && !bytes.Equal(rawA[k*part:][:part], rawB[k*part:][:part])) {
			c.setFirst(t, first+int64(i), k)
		}
		ulp, known := uint64(0), false
		if c.ulps != nil && c.x[k] == c.x[k] && c.y[k] == c.y[k] {
			ulp, known = c.ulps.between(rawA, rawB, k), true
			t.ulp = max(t.ulp, ulp)
		}
		within = within && c.within(k, ulp, known)
	}
	if t.first < 0 { // several codes of one number
		c.setFirst(t, first+int64(i), i*c.lanes)
	}
	if !within {
		t.beyond++
	}
}

// countValues counts an element of two dtypes, or of a packed dtype, if its values differ.
func (c *comparer) countValues(t *tally, first int64, i int) {
	same, within := true, true
	for k := i * c.lanes; k < (i+1)*c.lanes; k++ {
		x, y := c.x[k], c.y[k]
		if c.sameNumber(k) && (!c.sameType || math.Signbit(x) == math.Signbit(y)) || x != x && y != y {
			continue
		}
		if same = false; t.first < 0 {
			c.setFirst(t, first+int64(i), k)
		}
		within = within && c.within(k, 0, false)
	}
	if !same {
		t.differing++
	}
	if !within {
		t.beyond++
	}
}

// setFirst records number k as the first that differs, in the element with that index.
func (c *comparer) setFirst(t *tally, element int64, k int) {
	t.first, t.firstA, t.firstB = element, c.x[k], c.y[k]
	if c.restX != nil {
		t.restA, t.restB = c.restX[k], c.restY[k]
	}
}

// sameNumber reports whether both sides have the same number at k.
func (c *comparer) sameNumber(k int) bool {
	return c.x[k] == c.y[k] && (c.restX == nil || c.restX[k] == c.restY[k])
}

// within reports whether the numbers at k count as equal. They are ulp representable values apart, if that is known.
func (c *comparer) within(k int, ulp uint64, known bool) bool {
	switch {
	case c.tolerance == nil:
		return true
	case c.restX == nil:
		return c.tolerance.within(c.x[k], c.y[k], c.x[k]-c.y[k], ulp, known)
	}
	return c.tolerance.within(c.x[k], c.y[k], wideDifference(c.x[k], c.y[k], c.restX[k], c.restY[k]), ulp, known)
}

// rounding counts the elements of one side that are not those of the other, rounded.
type rounding struct {
	cast   tensor.Cast // nil if the dtype cannot be rounded to
	values tensor.Values
	size   int64
}

func newRounding(from, to tensor.DType) rounding {
	cast, _ := tensor.NewCast(from, to) // the error says that there is none
	return rounding{cast, tensor.ValuesOf(to), to.Size()}
}

// differing returns how many elements of to are not those of from, rounded: 1 if they cannot be rounded. All
// NaN are the same.
func (r rounding) differing(from, to, buffer []byte) (n int64) {
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
