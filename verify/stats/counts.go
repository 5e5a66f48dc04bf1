package stats

import (
	"slices"
	"sync"
)

// counts counts how often each of 2^16 codes occurs. Of few values it remembers the codes that occur, so that the time
// of a small tensor is that of its values.
type counts struct {
	n    *[1 << 16]int64
	few  bool
	used []uint16 // if few: the codes that occur, in the order of their first occurrence
}

// fewValues is the largest number of values of which counts remembers the codes.
const fewValues = 4096

// spare are arrays of zeros.
var spare = sync.Pool{New: func() any { return new([1 << 16]int64) }}

// newCounts returns counts of total values.
func newCounts(total int64) *counts {
	return &counts{n: spare.Get().(*[1 << 16]int64), few: total <= fewValues}
}

func (c *counts) add(code uint16) {
	if c.few && c.n[code] == 0 {
		c.used = append(c.used, code)
	}
	c.n[code]++
}

// occurring returns the codes that occur, in ascending order.
func (c *counts) occurring() []uint16 {
	if c.few {
		slices.Sort(c.used)
		return c.used
	}
	var used []uint16
	for code, n := range c.n {
		if n > 0 {
			used = append(used, uint16(code))
		}
	}
	return used
}

// release gives the memory back. The counts are not used afterwards.
func (c *counts) release() {
	if c.few {
		for _, code := range c.used {
			c.n[code] = 0
		}
	} else {
		clear(c.n[:])
	}
	spare.Put(c.n)
	c.n = nil
}
