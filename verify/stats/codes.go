package stats

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// codes counts how often each value of a dtype of 8 or 16 bits occurs. The statistics follow exactly.
type codes struct {
	dtype tensor.DType
	size  int
	count []int64
}

func newCodes(d tensor.DType, size int) *codes {
	return &codes{dtype: d, size: size, count: make([]int64, 1<<(8*size))}
}

func (c *codes) add(p []byte) {
	if c.size == 1 {
		for _, b := range p {
			c.count[b]++
		}
		return
	}
	count := (*[1 << 16]int64)(c.count)
	for ; len(p) >= 8; p = p[8:] {
		x := binary.LittleEndian.Uint64(p)
		count[uint16(x)]++
		count[uint16(x>>16)]++
		count[uint16(x>>32)]++
		count[x>>48]++
	}
	for ; len(p) >= 2; p = p[2:] {
		count[binary.LittleEndian.Uint16(p)]++
	}
}

// values returns the value of each code.
func (c *codes) values() []float64 {
	src := make([]byte, len(c.count)*c.size)
	for i := range c.count {
		if c.size == 1 {
			src[i] = byte(i)
		} else {
			binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
		}
	}
	v := make([]float64, len(c.count))
	tensor.ValuesOf(c.dtype).Decode(v, src)
	return v
}

func (c *codes) stats() *Stats {
	s := noValues()
	var cells []cell
	for i, v := range c.values() {
		n := c.count[i]
		switch {
		case n == 0:
			continue
		case math.IsNaN(v):
			s.NaN += n
		case math.IsInf(v, 0):
			s.Inf += n
		default:
			if v == 0 {
				s.Zeros += n
			}
			cells = append(cells, cell{v, n})
		}
	}
	s.Values = s.NaN + s.Inf
	slices.SortFunc(cells, func(a, b cell) int { return cmp.Compare(a.low, b.low) })
	var m moments
	for _, x := range cells {
		s.Values += x.n
		m.merge(moments{n: x.n, mean: x.low, min: x.low, max: x.low})
	}
	m.into(&s)
	if m.n > 0 {
		s.Histogram = fill(edges(m.min, m.max, func(x float64) float64 { return x }), cells)
	}
	return &s
}
