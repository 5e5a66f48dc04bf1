package zarr

import "slices"

const (
	defaultMaxChunk = 8 << 20
	mostSmaller     = 128 // how much smaller than MaxChunk a chunk may be, to avoid padding
)

// cut chooses the shape of the chunks: one index of each axis before p.axis, a range of p.axis, and all of each
// axis after it.
func (p *Plan) cut() {
	p.Chunk = make([]int64, len(p.Shape))
	for k, n := range p.Shape {
		p.Chunk[k] = max(n, 1)
	}
	if p.Bytes == 0 || len(p.Shape) == 0 {
		return
	}
	p.row = p.Bytes
	several := false // there are several indices of the axes before
	for p.axis = range p.Shape {
		n := p.Shape[p.axis]
		p.row /= n
		if p.row <= p.MaxChunk {
			p.Chunk[p.axis] = p.rows(n, several && !p.Compress)
			return
		}
		p.Chunk[p.axis] = 1
		several = several || n > 1
	}
}

// rows chooses how many of the n indices of p.axis a chunk has: as many as fit, preferably a divisor of n, so that
// no chunk is padded. With even it must be a divisor, since padding would separate elements from those after them.
func (p *Plan) rows(n int64, even bool) int64 {
	most := min(max(p.MaxChunk/p.row, 1), n)
	best := int64(0)
	for k := most; k > 0 && best == 0; k-- {
		if n%k == 0 {
			best = k
		}
	}
	switch {
	case best >= most/4:
		return best
	case !even:
		pieces := (n + most - 1) / most
		return (n + pieces - 1) / pieces
	case best*p.row >= p.MaxChunk/mostSmaller:
		return best
	}
	return n
}

// Chunks returns the number of chunks. An array without elements has none.
func (p *Plan) Chunks() int64 {
	n := int64(1)
	for _, g := range p.grid {
		n *= g
	}
	return n
}

// Key returns the key of a chunk, without the name of the array. Chunks are numbered in the order of the elements.
func (p *Plan) Key(chunk int64) string {
	index := make([]int64, len(p.grid))
	for k, n := range slices.Backward(p.grid) {
		index[k], chunk = chunk%n, chunk/n
	}
	return p.keys.key(index)
}

// Run returns how many bytes of elements a chunk holds, and how many bytes of padding follow them. The elements
// follow those of the chunk before.
func (p *Plan) Run(chunk int64) (elements, padding int64) {
	if len(p.Shape) == 0 {
		return p.Bytes, 0
	}
	whole := p.Chunk[p.axis]
	within := chunk % p.grid[p.axis]
	rows := min(whole, p.Shape[p.axis]-within*whole)
	return rows * p.row, (whole - rows) * p.row
}
