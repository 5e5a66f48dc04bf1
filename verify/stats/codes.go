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
	count *counts
}

// newCodes returns a counter of total values.
func newCodes(d tensor.DType, size int, total int64) *codes {
	return &codes{dtype: d, size: size, count: newCounts(total)}
}

func (c *codes) add(p []byte) {
	if c.count.few {
		for ; len(p) >= c.size; p = p[c.size:] {
			code := uint16(p[0])
			if c.size == 2 {
				code = binary.LittleEndian.Uint16(p)
			}
			c.count.add(code)
		}
		return
	}
	if c.size == 1 {
		for _, b := range p {
			c.count.n[b]++
		}
		return
	}
	count := c.count.n
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

// values returns the values of codes.
func (c *codes) values(of []uint16) []float64 {
	src := make([]byte, 0, len(of)*c.size)
	for _, code := range of {
		if c.size == 1 {
			src = append(src, byte(code))
		} else {
			src = binary.LittleEndian.AppendUint16(src, code)
		}
	}
	v := make([]float64, len(of))
	tensor.ValuesOf(c.dtype).Decode(v, src)
	return v
}

func (c *codes) stats() *Stats {
	s := noValues()
	var cells []cell
	used := c.count.occurring()
	defer c.count.release()
	for i, v := range c.values(used) {
		n := c.count.n[used[i]]
		switch {
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
		s.Histogram = fill(edgesOf(c.dtype, m.min, m.max), cells)
	}
	return &s
}
