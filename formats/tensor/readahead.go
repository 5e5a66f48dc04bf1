package tensor

import "io"

// Extent is a range of bytes of a file.
type Extent struct {
	Store          io.ReaderAt
	Offset, Length int64
}

// Planner is implemented by files that are slow to reach. Plan says that the extents, which may lie in
// several files, are going to be read, each once and roughly in this order, so that they can be
// fetched ahead. It returns at once, and an earlier plan stays in force. What is read otherwise is
// right too, only slower.
type Planner interface {
	Plan(extents []Extent)
}

// IsSequential reports whether a file is best read from its beginning to its end, once: it has a method Sequential() bool that
// returns true.
func IsSequential(file io.ReaderAt) bool {
	s, ok := file.(interface{ Sequential() bool })
	return ok && s.Sequential()
}

// Located is implemented by Data that has no Layout but knows the extents that its streams read.
type Located interface {
	Extents() []Extent
}

// Extents returns the extents that reading a tensor reads, nil if they are not known.
func Extents(t *Tensor) []Extent {
	if s, ok, err := Layout(t); ok && err == nil {
		size := s.DType.Size()
		first, end := s.View.Span()
		return []Extent{{Unchecked(s.Store), s.Base + first*size, (end - first) * size}}
	}
	if located, ok := t.Data.(Located); ok {
		return located.Extents()
	}
	return nil
}

// PlanReads tells the files in which tensors are stored that the tensors will be read in this order.
// It does nothing for files that need no plan.
func PlanReads(tensors ...*Tensor) {
	var extents []Extent
	for _, t := range tensors {
		if all := Extents(t); len(all) > 0 && IsPlanned(all[0]) {
			extents = append(extents, all...)
		}
	}
	PlanExtents(extents)
}

// IsPlanned reports whether the file of an extent is a Planner. So are the other files of the checkpoint then.
func IsPlanned(e Extent) bool {
	_, ok := e.Store.(Planner)
	return ok
}

// PlanExtents tells the files of the extents that the extents will be read in this order.
func PlanExtents(extents []Extent) {
	for _, e := range extents {
		if p, ok := e.Store.(Planner); ok {
			p.Plan(extents)
			return
		}
	}
}
