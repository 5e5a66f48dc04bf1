package transfer

import (
	"cmp"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// job is what one worker does in one go: moves from one source, so that it is read and decoded once,
// or moves into one destination, so that it is filled in order. The latter are moves from files into
// one destination, whose hash is computed on the way then, and all moves into one sink.
type job struct {
	moves []*compiledMove
	bytes int64
}

// compiledMove is a Move with what a worker needs to execute it.
type compiledMove struct {
	*moves.Move
	target   *target
	stored   bool          // the source lies uncompressed in a file
	elements int64         // to move; bytes if elements are packed
	size     int64         // bytes of an element of the source
	destSize int64         // bytes of an element of the destination
	cast     tensor.Divide // converts elements; nil if they are copied unchanged
	part     bool          // of a move that was divided
}

// divide replaces moves of large tensors that have to be decoded by moves of parts, which several workers can do at once:
// where each part is decoded by itself, elements stay in their order, and neither the destination nor a digest needs
// bytes in order.
func (e *engine) divide(all []*compiledMove, byTarget [][]*compiledMove) []*compiledMove {
	uses := map[*tensor.Tensor]int{}
	for _, m := range all {
		uses[m.Source]++
	}
	var divided []*compiledMove
	for _, m := range all {
		data, ok := m.Source.Data.(tensor.Divided)
		_, checked := m.Source.Data.(tensor.Checker)
		whole := m.View.IsRowMajor() && m.elements == m.Source.Elements() && uses[m.Source] == 1 && len(byTarget[m.Dest]) == 1
		if !ok || checked || !whole || m.stored || m.target.out == nil || m.target.needsCRC || e.algorithms.Has(digest.SHA256) {
			divided = append(divided, m)
			continue
		}
		parts := m.parts(data, e.limits.part)
		m.target.moves.Add(int32(len(parts) - 1))
		divided = append(divided, parts...)
	}
	return divided
}

// parts divides a move of all elements into moves of about so many bytes of the source.
func (m *compiledMove) parts(data tensor.Divided, bytes int64) []*compiledMove {
	var all []*compiledMove
	size := m.elements * m.size
	for from := int64(0); from < size; {
		to := data.NextPart(from)
		for to < size && to-from < bytes {
			to = data.NextPart(to)
		}
		part := *m
		move := *m.Move
		move.View = tensor.RowMajor((to - from) / m.size)
		move.View.Offset = from / m.size
		move.Offset += from / m.size
		part.Move, part.elements, part.part = &move, (to-from)/m.size, true
		all = append(all, &part)
		from = to
	}
	if len(all) <= 1 {
		return []*compiledMove{m}
	}
	return all
}

// jobs compiles the moves of a list and groups them.
func (e *engine) jobs(l moves.List) ([]*job, error) {
	byTarget := make([][]*compiledMove, len(l.Dests))
	var all []*compiledMove
	for i := range l.Moves {
		m, err := compile(&l.Moves[i], e.targets)
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: l.Moves[i].Source.Name})
		}
		all = append(all, m)
		byTarget[m.Dest] = append(byTarget[m.Dest], m)
		m.target.moves.Add(1)
	}
	for i, filling := range byTarget {
		if len(filling) == 0 { // a tensor without elements
			if err := e.finish(e.targets[i], nil); err != nil {
				return nil, err
			}
		}
	}
	all = e.divide(all, byTarget)
	bySource := map[*tensor.Tensor]*job{}
	byDest := map[int]*job{}
	var jobs []*job
	for _, m := range all {
		if m.part {
			jobs = append(jobs, &job{[]*compiledMove{m}, m.elements * max(m.size, m.destSize)})
			continue
		}
		var j *job
		if len(byTarget[m.Dest]) == 1 || !m.stored && m.target.out != nil {
			j = jobFor(bySource, m.Source, &jobs)
		} else {
			j = jobFor(byDest, m.Dest, &jobs)
		}
		j.moves = append(j.moves, m)
		j.bytes += m.elements * max(m.size, m.destSize)
	}
	for _, j := range bySource {
		slices.SortStableFunc(j.moves, func(a, b *compiledMove) int { return cmp.Compare(a.View.Offset, b.View.Offset) })
	}
	for _, j := range byDest {
		slices.SortStableFunc(j.moves, func(a, b *compiledMove) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	return jobs, nil
}

// jobFor returns the job of a key, which it adds to all jobs if it is new.
func jobFor[K comparable](by map[K]*job, key K, all *[]*job) *job {
	if by[key] == nil {
		by[key] = &job{}
		*all = append(*all, by[key])
	}
	return by[key]
}

// sortSequential sorts jobs by where their sources lie, and returns true, if a source lies in a file that is best read from its
// beginning to its end.
func sortSequential(jobs []*job) (sequential bool) {
	files := map[io.ReaderAt]int{} // in the order in which they appear
	type position struct {
		file   int
		offset int64
	}
	first := map[*job]position{}
	for _, j := range jobs {
		for i, e := range tensor.Extents(j.moves[0].Source) {
			if _, ok := files[e.Store]; !ok {
				files[e.Store] = len(files)
				sequential = sequential || tensor.IsSequential(e.Store)
			}
			if i == 0 {
				first[j] = position{files[e.Store], e.Offset}
			}
		}
	}
	if sequential {
		slices.SortStableFunc(jobs, func(a, b *job) int {
			return cmp.Or(cmp.Compare(first[a].file, first[b].file), cmp.Compare(first[a].offset, first[b].offset))
		})
	}
	return sequential
}

// planReads tells the files of the sources in which order they will be read.
func planReads(jobs []*job) {
	var order []*tensor.Tensor
	planned := map[*tensor.Tensor]bool{}
	for _, j := range jobs {
		for _, m := range j.moves {
			if !planned[m.Source] {
				planned[m.Source] = true
				order = append(order, m.Source)
			}
		}
	}
	tensor.PlanReads(order...)
}

func compile(m *moves.Move, targets []*target) (*compiledMove, error) {
	c := &compiledMove{Move: m, target: targets[m.Dest], elements: m.View.Elements(), size: m.Source.DType.Size(), destSize: targets[m.Dest].DType.Size()}
	if m.IsBytewise(c.target.DType) {
		c.size, c.destSize, c.elements = 1, 1, m.Source.Bytes()
	}
	if c.size == 0 || c.destSize == 0 {
		return nil, tensor.Bad("elements of %s have no address of their own", m.Source.DType)
	}
	var err error
	if c.cast, err = m.Cast(c.target.DType); err != nil {
		return nil, err
	}
	_, c.stored, err = tensor.Layout(m.Source)
	return c, err
}
