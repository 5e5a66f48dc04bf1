package transfer

import (
	"cmp"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// job is what one worker does in one go: moves from one source, so that it is read and decoded once,
// or moves into one destination, so that it is filled in order. The latter are moves from files into
// one destination, whose hash is computed on the way then, and all moves into one sink, or all moves in the order of what
// they fill. There may be very many.
type job struct {
	first, n int32         // into jobList.order
	part     *compiledMove // of a move that was divided; nil for other jobs
	bytes    int64
}

// jobList is all jobs of an execution.
type jobList struct {
	*engine
	jobs  []job
	moves []moves.Move
	order []int32 // indices into moves, those of a job one after the other
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
}

// divide returns the parts of a move of a large tensor that has to be decoded, which several workers can do at once:
// where each part is decoded by itself, elements stay in their order, and neither the destination nor a digest needs
// bytes in order. alone says that there is no other move from the source or to the destination.
func (l *jobList) divide(m *compiledMove, alone bool) []*compiledMove {
	data, ok := m.Source.Data.(tensor.Divided)
	_, checked := m.Source.Data.(tensor.Checker)
	whole := m.View.IsRowMajor() && m.elements == m.Source.Elements() && alone
	if !ok || checked || !whole || m.stored || m.target.out == nil || l.needsCRC || l.algorithms.Has(digest.SHA256) {
		return nil
	}
	return m.parts(data, l.limits.part)
}

// parts divides a move of all elements into several moves of about so many bytes of the source, or returns nil.
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
		part.Move, part.elements = &move, (to-from)/m.size
		all = append(all, &part)
		from = to
	}
	if len(all) <= 1 {
		return nil
	}
	return all
}

// newJobs checks the moves of a list and groups them.
func newJobs(e *engine, list moves.List) (*jobList, error) {
	l := &jobList{engine: e, moves: list.Moves}
	uses := map[*tensor.Tensor]int32{}
	for i := range l.moves {
		uses[l.moves[i].Source]++
		e.targets[l.moves[i].Dest].moves.Add(1)
	}
	for i := range e.targets {
		if t := &e.targets[i]; t.moves.Load() == 0 { // a tensor without elements
			if err := e.finish(t, nil); err != nil {
				return nil, err
			}
		}
	}
	if order := l.fileOrder(uses); order != nil {
		e.inOrder = true
		l.order, l.jobs = order, []job{{n: int32(len(order))}}
		return l, nil
	}
	return l, l.group(uses)
}

// group makes the jobs. uses is how many moves each source has.
func (l *jobList) group(uses map[*tensor.Tensor]int32) error {
	bySource := map[*tensor.Tensor]int32{} // jobs of sources with several moves
	byDest := map[int]int32{}
	of := make([]int32, len(l.moves)) // the job of each move, -1 for one that was divided
	for i := range l.moves {
		m, err := l.compile(&l.moves[i])
		if err != nil {
			return tensor.Annotate(err, tensor.Location{Tensor: l.moves[i].Source.Name})
		}
		single := m.target.moves.Load() == 1
		if parts := l.divide(&m, single && uses[m.Source] == 1); parts != nil {
			for _, p := range parts {
				l.jobs = append(l.jobs, job{part: p, bytes: p.bytes()})
			}
			m.target.moves.Store(int32(len(parts)))
			of[i] = -1
			continue
		}
		switch {
		case !single && (m.stored || m.target.out == nil):
			of[i] = jobFor(byDest, m.Dest, &l.jobs)
		case uses[m.Source] > 1:
			of[i] = jobFor(bySource, m.Source, &l.jobs)
		default:
			of[i] = newJob(&l.jobs)
		}
		l.jobs[of[i]].n++
		l.jobs[of[i]].bytes += m.bytes()
	}
	l.fillOrder(of)
	for _, k := range bySource {
		slices.SortStableFunc(l.order[l.jobs[k].first:][:l.jobs[k].n], func(a, b int32) int { return cmp.Compare(l.moves[a].View.Offset, l.moves[b].View.Offset) })
	}
	for _, k := range byDest {
		slices.SortStableFunc(l.order[l.jobs[k].first:][:l.jobs[k].n], func(a, b int32) int { return cmp.Compare(l.moves[a].Offset, l.moves[b].Offset) })
	}
	return nil
}

// fillOrder puts the moves of each job one after the other. of is the job of each move, -1 for none.
func (l *jobList) fillOrder(of []int32) {
	first := int32(0)
	for k := range l.jobs {
		l.jobs[k].first = first
		first += l.jobs[k].n
		l.jobs[k].n = 0
	}
	l.order = make([]int32, first)
	for i, k := range of {
		if k >= 0 {
			l.order[l.jobs[k].first+l.jobs[k].n] = int32(i)
			l.jobs[k].n++
		}
	}
}

// fileOrder returns all moves in the order of the bytes that they fill, if they are executed in it, one after the other: the SHA-256 of a
// file takes its bytes in order, and everything from the first byte on that came too early would be read back. It returns nil if
// that is not wanted or not possible: a Destination without files, or that fills gaps of its own at the end, sources that are best
// read in another order, or more sources at once than there is memory for. uses is how many moves each source has.
func (l *jobList) fileOrder(uses map[*tensor.Tensor]int32) []int32 {
	if !l.algorithms.Has(digest.SHA256) || l.needsCRC || len(l.outputs) == len(l.targets) {
		return nil
	}
	files := map[*output]int{}
	for i := range l.targets {
		f := l.targets[i].out
		if f == nil { // a sink
			return nil
		}
		if _, ok := files[f]; !ok {
			files[f] = len(files)
		}
	}
	order := make([]int32, len(l.moves))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		m, n := &l.moves[a], &l.moves[b]
		t, u := &l.targets[m.Dest], &l.targets[n.Dest]
		return cmp.Or(cmp.Compare(files[t.out], files[u.out]), cmp.Compare(t.offset, u.offset), cmp.Compare(m.Offset, n.Offset))
	})
	left := maps.Clone(uses)
	streams := 0 // sources that need memory of their own, between their first move and their last
	for _, k := range order {
		s := l.moves[k].Source
		buffered := tensor.StreamMemory(s) > 0
		if left[s] == uses[s] && buffered {
			streams++
		}
		sequential := slices.ContainsFunc(tensor.Extents(s), func(x tensor.Extent) bool { return tensor.IsSequential(x.Store) })
		if streams > maxWorkers() || sequential {
			return nil
		}
		if left[s]--; left[s] == 0 && buffered {
			streams--
		}
	}
	return order
}

// jobFor returns the job of a key, which it adds to all jobs if it is new.
func jobFor[K comparable](by map[K]int32, key K, all *[]job) int32 {
	k, ok := by[key]
	if !ok {
		k = newJob(all)
		by[key] = k
	}
	return k
}

func newJob(all *[]job) int32 {
	*all = append(*all, job{})
	return int32(len(*all) - 1)
}

// movesOf returns an iterator over the moves of a job; every job has at least one.
func (l *jobList) movesOf(j *job) iter.Seq[*moves.Move] {
	return func(yield func(*moves.Move) bool) {
		if j.part != nil {
			yield(j.part.Move)
			return
		}
		for _, k := range l.order[j.first:][:j.n] {
			if !yield(&l.moves[k]) {
				return
			}
		}
	}
}

// extents returns where the first source of a job lies.
func (l *jobList) extents(j *job) []tensor.Extent {
	for m := range l.movesOf(j) {
		return tensor.Extents(m.Source)
	}
	return nil
}

// compiled gives the moves of a job as a worker needs them, each with the error that it has.
func (l *jobList) compiled(j *job) iter.Seq2[*compiledMove, error] {
	return func(yield func(*compiledMove, error) bool) {
		if j.part != nil {
			yield(j.part, nil)
			return
		}
		for m := range l.movesOf(j) {
			if c, err := l.compile(m); !yield(&c, err) {
				return
			}
		}
	}
}

// sortSequential sorts jobs by where their sources lie, and returns true, if a source lies in a file that is best read from its
// beginning to its end.
func (l *jobList) sortSequential() (sequential bool) {
	files := map[io.ReaderAt]int64{} // in the order in which they appear
	for i := range l.jobs {
		for _, x := range l.extents(&l.jobs[i]) {
			if _, ok := files[x.Store]; !ok {
				files[x.Store] = int64(len(files))
				sequential = sequential || tensor.IsSequential(x.Store)
			}
		}
	}
	if !sequential {
		return false
	}
	type located struct {
		job
		file, offset int64
	}
	all := make([]located, len(l.jobs))
	for i := range l.jobs {
		all[i].job = l.jobs[i]
		if extents := l.extents(&l.jobs[i]); len(extents) > 0 {
			all[i].file, all[i].offset = files[extents[0].Store], extents[0].Offset
		}
	}
	slices.SortStableFunc(all, func(a, b located) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.offset, b.offset)) })
	for i := range all {
		l.jobs[i] = all[i].job
	}
	return true
}

// planReads tells the files of the sources in which order they will be read.
func (l *jobList) planReads() {
	var order []*tensor.Tensor
	planned := map[*tensor.Tensor]bool{}
	for i := range l.jobs {
		for m := range l.movesOf(&l.jobs[i]) {
			if !planned[m.Source] {
				planned[m.Source] = true
				order = append(order, m.Source)
			}
		}
	}
	tensor.PlanReads(order...)
}

func (e *engine) compile(m *moves.Move) (compiledMove, error) {
	t := &e.targets[m.Dest]
	c := compiledMove{Move: m, target: t, elements: m.View.Elements(), size: m.Source.DType.Size(), destSize: t.DType.Size()}
	if m.IsBytewise(c.target.DType) {
		c.size, c.destSize, c.elements = 1, 1, m.Source.Bytes()
	}
	if c.size == 0 || c.destSize == 0 {
		return c, tensor.Bad("elements of %s have no address of their own", m.Source.DType)
	}
	var err error
	if c.cast, err = m.Cast(c.target.DType); err != nil {
		return c, err
	}
	_, c.stored, err = tensor.Layout(m.Source)
	return c, err
}

// bytes returns the size of the larger side of a move.
func (m *compiledMove) bytes() int64 { return m.elements * max(m.size, m.destSize) }
