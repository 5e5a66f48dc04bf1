package assemble

import (
	"bytes"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// panelBytes is the size of a panel at most. The part of a chunk that is read for it takes as much
// again at most.
const panelBytes = 2 << 20

// panels makes panels of a whole tensor. A panel is a range of indices of one axis, a single index of
// each axis before it, and all of each axis after it. What a chunk has of that is consecutive in the
// chunk, and follows what it had of the panel before.
type panels struct {
	*whole
	view    tensor.View
	passed  int // indices of the order before which no chunk has more elements
	open    map[int32]*chunk
	scratch []byte
}

// Close implements tensor.PanelSource.
func (p *panels) Close() error {
	for _, c := range p.open {
		c.close()
	}
	clear(p.open)
	return nil
}

// Panel implements tensor.PanelSource.
func (p *panels) Panel(buffer []byte, first int64) ([]byte, error) {
	size := p.dtype.Size()
	box, n := tensor.LeadingBox(p.view, first, panelBytes/size)
	if int64(cap(buffer)) < n*size {
		buffer = make([]byte, n*size)
	}
	buffer = buffer[:n*size]
	panel := Box{tensor.Unravel(first, p.shape), box.Shape}
	for at := p.passed; at < len(p.order); at++ {
		part, ok := p.box(at).intersect(panel)
		if ok {
			if err := p.fill(buffer, panel, part, at); err != nil {
				return nil, tensor.Annotate(err, tensor.Location{File: p.chunks.Path(int(p.order[at]))})
			}
		}
		if len(p.shape) == 0 {
			continue
		}
		chunk := p.box(at)
		if at == p.passed && chunk.Offsets[0]+chunk.Sizes[0] <= panel.Offsets[0] {
			p.passed++
		}
		if chunk.Offsets[0] >= panel.Offsets[0]+panel.Sizes[0] {
			break
		}
	}
	return buffer, nil
}

// intersect returns the box that two boxes have in common, and whether they have one.
func (b Box) intersect(other Box) (Box, bool) {
	for k, from := range b.Offsets {
		if from >= other.Offsets[k]+other.Sizes[k] || other.Offsets[k] >= from+b.Sizes[k] {
			return Box{}, false
		}
	}
	common := Box{make([]int64, len(b.Offsets)), make([]int64, len(b.Offsets))}
	for k := range b.Offsets {
		from := max(b.Offsets[k], other.Offsets[k])
		to := min(b.Offsets[k]+b.Sizes[k], other.Offsets[k]+other.Sizes[k])
		common.Offsets[k], common.Sizes[k] = from, to-from
	}
	return common, true
}

// fill reads a part of the chunk at an index of the order and puts it into the panel. A replica is
// compared with what the panel has.
func (p *panels) fill(buffer []byte, panel, part Box, at int) error {
	c, err := p.chunk(at, part)
	if err != nil {
		return err
	}
	size := p.dtype.Size()
	bytes := size
	for _, n := range part.Sizes {
		bytes *= n
	}
	place := placement(panel, part, size)
	replica := p.isReplica(at)
	if place.whole(bytes) && !replica {
		err = c.read(buffer[place.offset:][:bytes], part)
	} else {
		if int64(cap(p.scratch)) < bytes {
			p.scratch = make([]byte, bytes)
		}
		scratch := p.scratch[:bytes]
		if err = c.read(scratch, part); err == nil && !replica {
			place.scatter(buffer, scratch)
		} else if err == nil && !place.equal(buffer, scratch) {
			err = p.unequal(at, part)
		}
	}
	if err == nil && c.left == 0 {
		err = c.finish()
		delete(p.open, p.order[at])
	}
	return err
}

// unequal returns the error about a replica that differs from the chunk that the panel has.
func (p *panels) unequal(at int, part Box) error {
	first := at
	for p.isReplica(first) {
		first--
	}
	return tensor.Bad("replicas of the elements %s differ from those in %s", part, p.chunks.Path(int(p.order[first]))).Because(Unequal)
}

// Unequal is the reason of the error about replicas that are not equal.
const Unequal tensor.Reason = "replicas are not equal"

// chunk returns the open chunk at an index of the order, of which that part is read next.
func (p *panels) chunk(at int, part Box) (*chunk, error) {
	i := p.order[at]
	if c := p.open[i]; c != nil {
		return c, nil
	}
	box := p.box(at)
	t, err := p.chunks.Open(int(i))
	if err != nil {
		return nil, err
	}
	if t.DType != p.dtype || !slices.Equal(t.Shape, box.Sizes) {
		return nil, tensor.Bad("chunk is %s%s where %s%s belongs", t.DType, tensor.ShapeString(t.Shape), p.dtype, tensor.ShapeString(box.Sizes))
	}
	c, err := openChunk(p.whole, i, t, box, slices.Equal(part.Offsets, box.Offsets))
	if err == nil {
		p.open[i] = c
	}
	return c, err
}

// place says where the elements of a part go in a panel: runs of bytes at equal distances, along each
// axis that does not belong to the runs.
type place struct {
	offset int64 // of the first byte
	run    int64 // bytes that follow one another in both
	axes   []axis
}

// axis is count runs with their distance in the panel and in the part.
type axis struct{ count, step, stride int64 }

func placement(panel, part Box, size int64) place {
	p := place{run: size}
	step, stride := size, size
	for k := len(part.Sizes) - 1; k >= 0; k-- {
		n := part.Sizes[k]
		p.offset += (part.Offsets[k] - panel.Offsets[k]) * step
		if n > 1 && len(p.axes) == 0 && step == p.run {
			p.run *= n
		} else if n > 1 {
			p.axes = append(p.axes, axis{n, step, stride})
		}
		step *= panel.Sizes[k]
		stride *= n
	}
	slices.Reverse(p.axes)
	return p
}

// whole reports whether the part is one run of bytes in the panel.
func (p place) whole(bytes int64) bool { return p.run == bytes }

// scatter copies a part to its place in the panel.
func (p place) scatter(panel, part []byte) {
	p.walk(p.axes, panel[p.offset:], part, func(to, from []byte) bool { copy(to, from); return true })
}

// equal reports whether the panel has the part at its place.
func (p place) equal(panel, part []byte) bool {
	return p.walk(p.axes, panel[p.offset:], part, bytes.Equal)
}

// walk calls do with each run of the panel and of the part until it returns false.
func (p place) walk(axes []axis, panel, part []byte, do func(panel, part []byte) bool) bool {
	if len(axes) == 0 {
		return do(panel[:p.run], part[:p.run])
	}
	for i := range axes[0].count {
		if !p.walk(axes[1:], panel[i*axes[0].step:], part[i*axes[0].stride:], do) {
			return false
		}
	}
	return true
}
