package diff

// changes counts differences |a - b| by the exponent of a float64.
type changes [2048]int64

const (
	exponentBias  = 1023
	notFiniteSize = 2047 // a difference of finite numbers that overflows
)

// plus returns the counts of both, of which either may be nil. It may change c.
func (c *changes) plus(d *changes) *changes {
	if c == nil || d == nil {
		if c == nil {
			return d
		}
		return c
	}
	for i, n := range d {
		c[i] += n
	}
	return c
}

// list returns the differences that are not 0 (those below the least normal float64 count as 0).
func (c *changes) list() []Change {
	out := []Change{}
	if c == nil {
		return out
	}
	for i, n := range c {
		if i > 0 && i < notFiniteSize && n > 0 {
			out = append(out, Change{Exponent: i - exponentBias, Count: n})
		}
	}
	return out
}
