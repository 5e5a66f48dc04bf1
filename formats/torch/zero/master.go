package zero

import (
	"io"
	"path"
	"sort"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// master is the flat tensors of master weights.
type master struct {
	stage    int64
	world    int64
	paths    []string           // of the file of each rank, as users call it
	flat     [][]*tensor.Tensor // of each rank one for each group
	starts   [][]int64          // of stages 1 and 2: where the partition of each rank begins in each group, and where the last ends
	paddings any                // of stages 1 and 2: elements after each parameter, None for none
}

// readMaster reads the optimizer states of all ranks.
func (r *reader) readMaster() (*master, error) {
	m := &master{world: 1}
	for rank := int64(0); rank < m.world; rank++ {
		name := r.files.optim[rank]
		if name == "" {
			if rank > 0 {
				return nil, missing(r.files.optim, m.world, "optimizer states")
			}
			return nil, tensor.Bad("file of rank 0 with optimizer states is missing").
				Advise("the checkpoint is incomplete: copy the files of all ranks")
		}
		f, err := r.read(name)
		if err != nil {
			return nil, err
		}
		root, _ := f.Root.(*pickle.Dict)
		if root == nil {
			return nil, notState(name)
		}
		optimizer, ok := root.Get("optimizer_state_dict").(*pickle.Dict)
		if !ok {
			return nil, notState(name)
		}
		if rank == 0 {
			if err := m.describe(optimizer); err != nil {
				return nil, tensor.Annotate(err, tensor.Location{Record: name})
			}
			if err := missing(r.files.optim, m.world, "optimizer states"); err != nil {
				return nil, err
			}
		}
		flat, err := m.groups(f, optimizer)
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Record: name})
		}
		m.paths, m.flat = append(m.paths, r.pool.Path(path.Join(r.files.dir, name))), append(m.flat, flat)
	}
	return m, nil
}

// describe reads the stage and the number of ranks.
func (m *master) describe(optimizer *pickle.Dict) error {
	switch stage := optimizer.Get("zero_stage").(type) {
	case int64:
		m.stage = stage
	case *pickle.Object: // ZeroStageEnum(2)
		if len(stage.Args.Items) == 1 {
			m.stage, _ = stage.Args.Items[0].(int64)
		}
	}
	if m.stage < 1 || m.stage > 3 {
		return tensor.Bad("optimizer states are of no stage of ZeRO that is known: %d", m.stage)
	}
	switch count := optimizer.Get("partition_count").(type) {
	case int64:
		m.world = count
	default: // one for each group
		list, ok := savefile.Integers(count)
		m.world = 0
		for _, n := range list {
			m.world = max(m.world, n)
		}
		if !ok {
			m.world = 0
		}
	}
	if m.world < 1 || m.world > maxWorld {
		return tensor.Bad("optimizer states are of %d partitions", m.world)
	}
	m.paddings = optimizer.Get("param_alignment_paddings")
	return nil
}

// groups returns the flat tensors of a rank. Of stage 3 they have as many elements as those of rank 0.
func (m *master) groups(f *savefile.File, optimizer *pickle.Dict) ([]*tensor.Tensor, error) {
	key := "single_partition_of_fp32_groups"
	if m.stage == 3 {
		key = "fp32_flat_groups"
	}
	list, ok := optimizer.Get(key).(*pickle.List)
	if !ok {
		return nil, tensor.Bad("there is no %s", key)
	}
	var flat []*tensor.Tensor
	for i, item := range list.Items {
		ref, ok := item.(*savefile.Ref)
		if !ok {
			return nil, tensor.Bad("%s holds something that is not a tensor", key)
		}
		t, err := f.Tensor(ref)
		if err != nil {
			return nil, err
		}
		if len(t.Shape) != 1 || t.DType.Size() == 0 {
			return nil, tensor.Bad("%s holds %s%s, which is not flat", key, t.DType, tensor.ShapeString(t.Shape))
		}
		if len(m.flat) > 0 && (i >= len(m.flat[0]) || t.DType != m.flat[0][i].DType || m.stage == 3 && t.Shape[0] != m.flat[0][i].Shape[0]) {
			return nil, tensor.Bad("group %d is %s%s, and differs from that of rank 0", i, t.DType, tensor.ShapeString(t.Shape))
		}
		flat = append(flat, t)
	}
	if len(m.flat) > 0 && len(flat) != len(m.flat[0]) {
		return nil, tensor.Bad("rank has %d groups, rank 0 has %d", len(flat), len(m.flat[0]))
	}
	return flat, nil
}

// piece is consecutive elements of a flat tensor, and where they belong in a parameter.
type piece struct {
	rank, group int
	from        int64 // in the flat tensor
	n           int64
	at          int64 // in the parameter
}

// pieces are the pieces of a parameter.
type pieces struct {
	*master
	list []piece
}

// Len implements assemble.Chunks.
func (p *pieces) Len() int { return len(p.list) }

// Box implements assemble.Chunks. The parameter counts as flat.
func (p *pieces) Box(i int) assemble.Box {
	return assemble.Box{Offsets: []int64{p.list[i].at}, Sizes: []int64{p.list[i].n}}
}

// Path implements assemble.Chunks.
func (p *pieces) Path(i int) string { return p.paths[p.list[i].rank] }

// Open implements assemble.Chunks.
func (p *pieces) Open(i int) (*tensor.Tensor, error) {
	x := p.list[i]
	return slice(p.flat[x.rank][x.group], x.from, x.n)
}

// joined is the data of a parameter. There can be 200,000, so that its pieces are found when it is read.
type joined struct {
	*master
	group    int   // of stages 1 and 2
	at       int64 // where it begins in the group, or of stage 3 in the flat tensors of each rank
	elements int64
}

// Stream implements tensor.Data.
func (j *joined) Stream(off int64) (io.ReadCloser, error) {
	var chunks assemble.Chunks
	if j.stage == 3 {
		chunks = j.partitioned(j.at, j.elements)
	} else {
		chunks = j.concatenated(j.group, j.at, j.elements)
	}
	whole, err := assemble.New(j.flat[0][j.group].DType, []int64{j.elements}, chunks)
	if err != nil {
		return nil, err
	}
	return whole.Stream(off)
}

// ChecksAtEnd implements tensor.CheckedAtEnd.
func (j *joined) ChecksAtEnd() bool { return true }

// slice returns consecutive elements of a flat tensor.
func slice(t *tensor.Tensor, from, n int64) (*tensor.Tensor, error) {
	return tensor.Viewed(t, tensor.View{Shape: []int64{n}, Strides: []int64{1}, Offset: from})
}

// addConcatenated adds the parameters of stages 1 and 2: the partitions of a group one after another hold
// its parameters, with padding at the end.
func (r *reader) addConcatenated(m *master, groups [][]pickle.Entry) error {
	if len(groups) != len(m.flat[0]) {
		return tensor.Bad("there are shapes of %d groups and master weights of %d", len(groups), len(m.flat[0]))
	}
	for g, group := range groups {
		paddings, err := m.paddingsOf(g, len(group))
		if err != nil {
			return err
		}
		m.starts = append(m.starts, m.startsOf(g))
		all := m.starts[g][m.world]
		at := int64(0)
		for i, e := range group {
			p, err := parameterOf(e)
			if err != nil {
				return err
			}
			if p.elements > all-at {
				return tensor.Bad("master weights of group %d end after %d elements", g, all).Of(tensor.Clip(p.name))
			}
			if err := r.add(p.name, p.shape, m.flat[0][g].DType, &joined{m, g, at, p.elements}); err != nil {
				return err
			}
			at += p.elements
			if paddings != nil {
				at += min(paddings[i], all-at)
			}
		}
		if align := 2 * m.world; roundUp(at, align) != roundUp(all, align) {
			return tensor.Bad("parameters of group %d take %d of %d elements of the master weights", g, at, all)
		}
	}
	m.paddings = nil // which the tensors do not need
	return nil
}

// concatenated returns the pieces of a parameter whose elements begin at at in a group.
func (m *master) concatenated(group int, at, elements int64) *pieces {
	starts := m.starts[group]
	p := &pieces{master: m}
	for done := int64(0); done < elements; {
		rank := sort.Search(int(m.world), func(r int) bool { return starts[r+1] > at+done })
		n := min(elements-done, starts[rank+1]-at-done)
		p.list = append(p.list, piece{rank, group, at + done - starts[rank], n, done})
		done += n
	}
	return p
}

// startsOf returns where the partition of each rank begins in a group, and where the last one ends.
func (m *master) startsOf(group int) []int64 {
	starts := make([]int64, 1, m.world+1)
	for rank, flat := range m.flat {
		starts = append(starts, starts[rank]+flat[group].Shape[0])
	}
	return starts
}

// paddingsOf returns how many elements follow each parameter of a group, nil for none.
func (m *master) paddingsOf(group, parameters int) ([]int64, error) {
	list, ok := m.paddings.(*pickle.List)
	if !ok {
		return nil, nil
	}
	if group >= len(list.Items) {
		return nil, tensor.Bad("group %d has no paddings", group)
	}
	paddings, ok := savefile.Integers(list.Items[group])
	if !ok || len(paddings) != parameters {
		return nil, tensor.Bad("group %d of %d parameters has paddings that do not fit", group, parameters)
	}
	for _, n := range paddings {
		if n < 0 {
			return nil, tensor.Bad("group %d has a negative padding", group)
		}
	}
	return paddings, nil
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
