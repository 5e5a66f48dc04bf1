package zero

import (
	"path"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// addPartitioned adds the parameters of stage 3: each is cut into as many pieces as there are ranks, the
// last ones padded, and the flat tensors of a rank one after another hold its pieces of all parameters.
func (r *reader) addPartitioned(m *master, groups [][]pickle.Entry) error {
	all := int64(0)
	for _, t := range m.flat[0] {
		all += t.Shape[0]
	}
	if len(m.flat[0]) == 0 {
		return tensor.Bad("there are no master weights")
	}
	at := int64(0)
	for _, group := range groups {
		for _, e := range group {
			p, err := parameterOf(e)
			if err != nil {
				return err
			}
			per := m.per(p.elements)
			if per > all-at {
				return tensor.Bad("master weights of a rank end after %d elements", all).Of(tensor.Clip(p.name))
			}
			if err := r.add(p.name, p.shape, m.flat[0][0].DType, &joined{m, 0, at, p.elements}); err != nil {
				return err
			}
			at += per
		}
	}
	if at != all {
		return tensor.Bad("parameters take %d of %d elements of a rank's master weights", at, all)
	}
	return nil
}

// per returns how many elements of a parameter each rank has, with padding.
func (m *master) per(elements int64) int64 { return roundUp(elements, m.world) / m.world }

// partitioned returns the pieces of a parameter whose elements begin at at in the flat tensors of each rank.
func (m *master) partitioned(at, elements int64) *partitions {
	per := m.per(elements)
	return &partitions{m, elements, per, m.segments(at, per)}
}

// segment is consecutive elements of the flat tensor of a group.
type segment struct {
	group   int
	from, n int64
	at      int64 // from the start of the rank's piece
}

// segments returns where the elements from at on lie, which is the same for all ranks.
func (m *master) segments(at, n int64) (list []segment) {
	done := int64(0)
	for g, t := range m.flat[0] {
		if from := at + done; from < t.Shape[0] && done < n {
			take := min(n-done, t.Shape[0]-from)
			list = append(list, segment{g, from, take, done})
			done += take
		}
		at -= t.Shape[0]
	}
	return list
}

// partitions are the pieces of a parameter of stage 3. There are as many as ranks, or more.
type partitions struct {
	*master
	elements int64
	per      int64 // elements of a rank's piece
	segments []segment
}

// Len implements assemble.Chunks.
func (p *partitions) Len() int { return len(p.segments) * int(p.world) }

// piece returns the rank and the segment of a piece, and which elements of the parameter it holds.
func (p *partitions) piece(i int) (rank int, s segment, at, n int64) {
	rank, s = i/len(p.segments), p.segments[i%len(p.segments)]
	at = min(int64(rank)*p.per+s.at, p.elements)
	return rank, s, at, min(s.n, p.elements-at)
}

// Box implements assemble.Chunks. The parameter counts as flat.
func (p *partitions) Box(i int) assemble.Box {
	_, _, at, n := p.piece(i)
	return assemble.Box{Offsets: []int64{at}, Sizes: []int64{n}}
}

// Path implements assemble.Chunks.
func (p *partitions) Path(i int) string { return p.paths[i/len(p.segments)] }

// Open implements assemble.Chunks.
func (p *partitions) Open(i int) (*tensor.Tensor, error) {
	rank, s, _, n := p.piece(i)
	return slice(p.flat[rank][s.group], s.from, n)
}

// addFrozen adds the parameters that are not trained, which have no master weights. Of stage 3 each rank
// has a piece.
func (r *reader) addFrozen(m *master) error {
	entries, err := parameters(r.state.root.Get("frozen_param_shapes"))
	if err != nil || len(entries) == 0 {
		return err
	}
	frozen := make([]parameter, len(entries))
	for i, e := range entries {
		if frozen[i], err = parameterOf(e); err != nil {
			return err
		}
	}
	ranks := int64(1)
	if m.stage == 3 {
		ranks = m.world
		if err := missing(r.files.model, ranks, "states of the model"); err != nil {
			return err
		}
	}
	fragments := make([][]*tensor.Tensor, len(frozen)) // by rank
	var paths []string
	for rank := range ranks {
		s := r.state
		if rank > 0 {
			if s, err = r.readState(r.files.model[rank]); err != nil {
				return err
			}
		}
		paths = append(paths, r.pool.Path(path.Join(r.files.dir, r.files.model[rank])))
		byName, err := newTable(s.root.Get("frozen_param_fragments"))
		if err != nil {
			return tensor.Annotate(err, tensor.Location{Record: r.files.model[rank]})
		}
		for i, p := range frozen {
			ref, ok := byName.get(p.name).(*savefile.Ref)
			if !ok {
				return tensor.Bad("frozen parameter is missing").Within(r.files.model[rank]).Of(tensor.Clip(p.name))
			}
			t, err := s.file.Tensor(ref)
			if err != nil {
				return tensor.Annotate(err, tensor.Location{Record: r.files.model[rank], Tensor: tensor.Clip(p.name)})
			}
			fragments[i] = append(fragments[i], t)
		}
	}
	for i, p := range frozen {
		if err := r.addFragments(p, fragments[i], paths); err != nil {
			return err
		}
	}
	return nil
}

// addFragments adds a frozen parameter: one whole tensor, or the pieces of all ranks.
func (r *reader) addFragments(p parameter, parts []*tensor.Tensor, paths []string) error {
	if len(parts) == 1 && parts[0].Elements() == p.elements {
		return r.add(p.name, p.shape, parts[0].DType, parts[0].Data)
	}
	m := &master{paths: paths}
	list := &pieces{master: m}
	at := int64(0)
	for rank, t := range parts {
		if len(t.Shape) != 1 || t.DType != parts[0].DType {
			return tensor.Bad("piece of a frozen parameter is %s%s", t.DType, tensor.ShapeString(t.Shape)).In(paths[rank]).Of(tensor.Clip(p.name))
		}
		m.flat = append(m.flat, []*tensor.Tensor{t})
		n := min(t.Shape[0], p.elements-at)
		list.list = append(list.list, piece{rank, 0, 0, n, at})
		at += n
	}
	data, err := assemble.New(parts[0].DType, []int64{p.elements}, list)
	if err != nil {
		return tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(p.name)})
	}
	return r.add(p.name, p.shape, parts[0].DType, data)
}
