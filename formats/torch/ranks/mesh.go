package ranks

import (
	"encoding/binary"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// mesh is a DeviceMesh as one rank sees it.
type mesh struct {
	shape      []int64
	coordinate []int64 // of the rank, nil if it is not part of the mesh
	world      int64   // ranks that there are at least
}

// meshOf reads a DeviceMesh. Its __dict__ has changed: torch 2.0 to 2.8 keep the ranks in the tensor mesh,
// 2.9 and later a layout over a map of the ranks.
func meshOf(f *savefile.File, value any, rank int64) (mesh, error) {
	object, ok := value.(*pickle.Object)
	if !ok {
		return mesh{}, tensor.Bad("DTensor without a mesh")
	}
	var m mesh
	var ranks []int64
	if ref, ok := object.Attribute("mesh").(*savefile.Ref); ok {
		t, err := f.Tensor(ref)
		if err != nil {
			return m, err
		}
		m.shape = t.Shape
		if ranks, err = readIntegers(t); err != nil {
			return m, err
		}
	} else if layout, ok := object.Attribute("_layout").(*pickle.Object); ok {
		m.shape = layoutShape(layout)
		if list, ok := savefile.Integers(object.Attribute("_flatten_rank_map")); ok {
			m.world = maxOf(list) + 1
		}
	} else {
		return m, tensor.Bad("DTensor has a mesh that griffin does not know")
	}
	m.world = max(m.world, maxOf(ranks)+1)
	if n, err := tensor.Product(m.shape); err != nil || n < 1 {
		return m, tensor.Bad("mesh of the shape %s", tensor.ShapeString(m.shape))
	}
	switch c := object.Attribute("_coordinate_on_dim").(type) {
	case *pickle.Tuple, *pickle.List:
		if m.coordinate, ok = savefile.Integers(c); !ok || len(m.coordinate) != len(m.shape) {
			return m, tensor.Bad("rank has coordinates that are not those of a mesh of %d dimensions", len(m.shape))
		}
	default:
		if at := slices.Index(ranks, rank); at >= 0 {
			m.coordinate = tensor.Unravel(int64(at), m.shape)
		}
	}
	for d, c := range m.coordinate {
		if c < 0 || c >= m.shape[d] {
			return m, tensor.Bad("rank is at %s of a mesh of the shape %s", tensor.ShapeString(m.coordinate), tensor.ShapeString(m.shape))
		}
	}
	return m, nil
}

func maxOf(list []int64) int64 {
	if len(list) == 0 {
		return -1
	}
	return slices.Max(list)
}

// layoutShape returns the shape of a _MeshLayout: of the axes, each with a shape of its own, or of torch
// 2.9 a tuple of sizes, which can be tuples themselves.
func layoutShape(layout *pickle.Object) (shape []int64) {
	if axes, ok := layout.Attribute("axes").(*pickle.Tuple); ok {
		for _, item := range axes.Items {
			axis, _ := item.(*pickle.Object)
			if axis == nil {
				return nil
			}
			shape = append(shape, sizeOf(axis.Attribute("shape")))
		}
		return shape
	}
	switch s := layout.Attribute("shape").(type) {
	case int64:
		return []int64{s}
	case *pickle.Tuple:
		for _, item := range s.Items {
			shape = append(shape, sizeOf(item))
		}
	}
	return shape
}

// sizeOf returns a size, or the product of a tuple of sizes.
func sizeOf(v any) int64 {
	if n, ok := v.(int64); ok {
		return n
	}
	list, ok := savefile.Integers(v)
	n, err := tensor.Product(list)
	if !ok || err != nil {
		return -1
	}
	return n
}

// maxMesh is how many ranks a mesh may have.
const maxMesh = 1 << 20

// readIntegers reads a tensor of int32 or int64.
func readIntegers(t *tensor.Tensor) ([]int64, error) {
	if t.DType != tensor.I32 && t.DType != tensor.I64 || t.Elements() > maxMesh {
		return nil, tensor.Bad("mesh is %s%s", t.DType, tensor.ShapeString(t.Shape))
	}
	data := make([]byte, t.Bytes())
	if _, err := t.ReadAt(data, 0); err != nil {
		return nil, tensor.ShortRead(err)
	}
	list := make([]int64, t.Elements())
	for i := range list {
		if t.DType == tensor.I32 {
			list[i] = int64(int32(binary.LittleEndian.Uint32(data[4*i:])))
		} else {
			list[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
		}
	}
	return list, nil
}
