package zarr

import "slices"

const (
	defaultMaxChunk = 8 << 20
	mostSmaller     = 128 // a chunk is at most so many times smaller than it may be, if there is a choice
)

// cut chooses the shape of the chunks: one index of each axis before p.axis, a range of it, and all
// of those after it.
func (p *Plan) cut() {
	p.Chunk = make([]int64, len(p.Shape))
	for k, n := range p.Shape {
		p.Chunk[k] = max(n, 1)
	}
	if p.Bytes == 0 || len(p.Shape) == 0 {
		return
	}
	p.row = p.Bytes
	several := false // indices of the axes before
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

// rows chooses how many of the n indices of p.axis make a chunk: as many as fit, rather such that
// they divide n, so that no chunk is padded. With even they have to, as elements that are followed
// by others are not to be parted from them by padding.
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

// Chunks returns how many there are: none of an array without elements.
func (p *Plan) Chunks() int64 {
	n := int64(1)
	for _, g := range p.grid {
		n *= g
	}
	return n
}

// Key returns the key of a chunk, without the name of the array. Chunks are counted in the order
// of the elements.
func (p *Plan) Key(chunk int64) string {
	index := make([]int64, len(p.grid))
	for k, n := range slices.Backward(p.grid) {
		index[k], chunk = chunk%n, chunk/n
	}
	return p.keys.key(index)
}

// Run returns how many bytes of elements a chunk holds, which follow those of the chunk before it,
// and how many bytes of padding come after them.
func (p *Plan) Run(chunk int64) (elements, padding int64) {
	if len(p.Shape) == 0 {
		return p.Bytes, 0
	}
	whole := p.Chunk[p.axis]
	within := chunk % p.grid[p.axis]
	rows := min(whole, p.Shape[p.axis]-within*whole)
	return rows * p.row, (whole - rows) * p.row
}
