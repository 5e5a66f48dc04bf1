package ranks

import (
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// addDTensor adds one rank's part of a DTensor.
func (r *reader) addDTensor(f *savefile.File, name string, d *dtensor, at int) error {
	spec := d.spec
	if spec.problem != nil {
		return spec.problem
	}
	local, err := f.Tensor(d.local)
	if err != nil {
		return err
	}
	if _, _, err := tensor.SizeOf(local.DType, spec.shape); err != nil {
		return err
	}
	m, err := spec.mesh.of(f, r.group.ranks[at])
	if err != nil {
		return err
	}
	r.world = max(r.world, m.world)
	if m.coordinate == nil {
		return nil // the rank has no part of it
	}
	if spec.wrong != nil {
		return spec.wrong
	}
	if len(spec.placements) != len(m.shape) {
		return tensor.Bad("DTensor has %d placements on a mesh of %d dimensions", len(spec.placements), len(m.shape))
	}
	axes, err := locate(spec.shape, spec.placements, m)
	if err != nil {
		return err
	}
	return r.addLocal(name, spec.shape, local, axes, at)
}

// addLocal adds a local tensor, whose indices along each axis are spans of the whole tensor's.
func (r *reader) addLocal(name string, shape []int64, local *tensor.Tensor, axes [][]span, at int) error {
	want := make([]int64, len(shape))
	boxes := []assemble.Box{{}} // in the whole tensor
	from := [][]int64{nil}      // and where each begins in the local one
	for k, spans := range axes {
		var longer []assemble.Box
		var begins [][]int64
		for _, s := range spans {
			for i, b := range boxes {
				longer = append(longer, assemble.Box{Offsets: append(slices.Clone(b.Offsets), s.from), Sizes: append(slices.Clone(b.Sizes), s.n)})
				begins = append(begins, append(slices.Clone(from[i]), want[k]))
			}
			want[k] += s.n
		}
		if len(longer) > maxSpans {
			return tensor.Bad("a rank has more than %d pieces of the tensor", maxSpans)
		}
		boxes, from = longer, begins
	}
	if !slices.Equal(local.Shape, want) {
		return tensor.Bad("the rank has %s of the shape %s, where its placements give it %s",
			tensor.ShapeString(local.Shape), tensor.ShapeString(shape), tensor.ShapeString(want))
	}
	for i, b := range boxes {
		piece := local
		if len(boxes) > 1 {
			view := tensor.RowMajor(local.Shape...)
			for k := range b.Sizes {
				view = view.Narrow(k, from[i][k], b.Sizes[k])
			}
			var err error
			if piece, err = tensor.Viewed(local, view); err != nil {
				return err
			}
		}
		if err := r.addPart(name, local.DType, shape, piece, b, at); err != nil {
			return err
		}
	}
	return nil
}

// placement is how a tensor lies along one dimension of a mesh.
type placement struct {
	axis  int   // of the tensor that is cut, -1 if each rank has all of it
	times int64 // split_factor of a _StridedShard, 1 for others
}

// placementsOf returns the placements of a DTensorSpec in the order in which they are applied, with the
// dimension of the mesh that each is for.
func placementsOf(spec *pickle.Object, rank int) ([]placement, error) {
	var items []any
	switch p := spec.Attribute("placements").(type) {
	case *pickle.Tuple:
		items = p.Items
	case *pickle.List:
		items = p.Items
	}
	list := make([]placement, len(items))
	for i, item := range items {
		object, ok := item.(*pickle.Object)
		if !ok {
			return nil, tensor.Bad("DTensor has a placement that is none")
		}
		class, _ := object.Class.(*pickle.Global)
		if class == nil {
			class = &pickle.Global{}
		}
		list[i] = placement{axis: -1, times: 1}
		switch class.Name {
		case "Replicate":
			continue
		case "Shard":
		case "_StridedShard", "StridedShard":
			list[i].times, _ = object.Attribute("split_factor").(int64)
		case "Partial", "_Partial", "_MaskPartial":
			return nil, tensor.Bad("is %s on dimension %d of the mesh: its values are still to be summed over the ranks", class.Name, i).
				Advise("redistribute it in the training program before it is saved: tensor.full_tensor()")
		default:
			return nil, tensor.Bad("has the placement %s, which griffin does not know", tensor.Clip(class.String()))
		}
		axis, ok := object.Attribute("dim").(int64)
		if axis < 0 {
			axis += int64(rank)
		}
		if !ok || axis < 0 || axis >= int64(rank) || list[i].times < 1 {
			return nil, tensor.Bad("DTensor of %d axes is cut along the axis %s", rank, pickle.Show(object.Attribute("dim")))
		}
		list[i].axis = int(axis)
	}
	return list, checkOrder(spec, list)
}

// checkOrder refuses placements that are not applied from the first dimension of the mesh to the last:
// where several cut one axis, torch may have cut it in another order.
func checkOrder(spec *pickle.Object, placements []placement) error {
	order, ok := spec.Attribute("shard_order").(*pickle.Tuple)
	if !ok {
		return nil
	}
	for _, item := range order.Items {
		entry, ok := item.(*pickle.Object)
		if !ok || len(entry.Args.Items) != 2 {
			return tensor.Bad("DTensor has an order of shards that is none")
		}
		if dims, ok := savefile.Integers(entry.Args.Items[1]); !ok || !slices.IsSorted(dims) {
			return tensor.Bad("axis %s is cut in an order that griffin does not know", pickle.Show(entry.Args.Items[0]))
		}
	}
	return nil
}

// span is consecutive indices of an axis.
type span struct{ from, n int64 }

// maxSpans is how many pieces of a tensor a rank may have.
const maxSpans = 1 << 12

// locate returns which indices along each axis of a tensor a rank has, in the order in which it has them.
func locate(shape []int64, placements []placement, m mesh) ([][]span, error) {
	axes := make([][]span, len(shape))
	for k, n := range shape {
		axes[k] = []span{{0, n}}
	}
	for d, p := range placements {
		if p.axis < 0 {
			continue
		}
		if p.times > maxSpans {
			return nil, tensor.Bad("axis %d is split %d times", p.axis, p.times)
		}
		n := total(axes[p.axis])
		step := (n + p.times - 1) / p.times
		var taken []span
		for i := range p.times { // of each part, as a further Shard has it
			from, to := min(i*step, n), min((i+1)*step, n)
			count, width := m.coordinate[d], (to-from+m.shape[d]-1)/m.shape[d]
			begin, end := min(from+count*width, to), min(from+(count+1)*width, to)
			taken = append(taken, cut(axes[p.axis], begin, end)...)
		}
		axes[p.axis] = taken
	}
	return axes, nil
}

func total(spans []span) (n int64) {
	for _, s := range spans {
		n += s.n
	}
	return n
}

// cut returns the indices from, …, to-1 of those that the spans have.
func cut(spans []span, from, to int64) (out []span) {
	at := int64(0)
	for _, s := range spans {
		begin, end := max(from, at), min(to, at+s.n)
		if begin < end {
			next := span{s.from + begin - at, end - begin}
			if last := len(out) - 1; last >= 0 && out[last].from+out[last].n == next.from {
				out[last].n += next.n
			} else {
				out = append(out, next)
			}
		}
		at += s.n
	}
	return out
}
