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

// deviceMesh is what a pickle says of a DeviceMesh. Its __dict__ has changed: torch 2.0 to 2.8 keep the ranks in the tensor mesh,
// 2.9 and later a layout over a map of the ranks.
type deviceMesh struct {
	id         int
	ranks      *savefile.Ref // the tensor mesh, nil for a layout
	shape      []int64       // of the layout
	world      int64         // ranks in its map
	placed     bool          // it says the coordinates of the rank
	coordinate []int64       // nil if they are not integers
	problem    error         // nothing else is set

	known *mesh // once it was asked for
}

// newDeviceMesh returns what an object says, which is nil if it is none.
func newDeviceMesh(object *pickle.Object) *deviceMesh {
	if object == nil {
		return &deviceMesh{problem: tensor.Bad("DTensor without a mesh")}
	}
	d := &deviceMesh{}
	if ref, ok := object.Attribute("mesh").(*savefile.Ref); ok {
		d.ranks = ref
	} else if layout, ok := object.Attribute("_layout").(*pickle.Object); ok {
		d.shape = layoutShape(layout)
		if list, ok := savefile.Integers(object.Attribute("_flatten_rank_map")); ok {
			d.world = maxOf(list) + 1
		}
	} else {
		return &deviceMesh{problem: tensor.Bad("DTensor has a mesh that griffin does not know")}
	}
	switch c := object.Attribute("_coordinate_on_dim").(type) {
	case *pickle.Tuple, *pickle.List:
		d.placed = true
		d.coordinate, _ = savefile.Integers(c)
	}
	return d
}

// of returns the mesh as the rank sees it whose file it is in.
func (d *deviceMesh) of(f *savefile.File, rank int64) (mesh, error) {
	if d.known != nil {
		return *d.known, nil
	}
	m, err := d.read(f, rank)
	if err == nil {
		d.known = &m
	}
	return m, err
}

func (d *deviceMesh) read(f *savefile.File, rank int64) (mesh, error) {
	if d.problem != nil {
		return mesh{}, d.problem
	}
	m := mesh{shape: d.shape, world: d.world}
	var ranks []int64
	if d.ranks != nil {
		t, err := f.Tensor(d.ranks)
		if err != nil {
			return m, err
		}
		m.shape = t.Shape
		if ranks, err = readIntegers(t); err != nil {
			return m, err
		}
	}
	m.world = max(m.world, maxOf(ranks)+1)
	if n, err := tensor.Product(m.shape); err != nil || n < 1 {
		return m, tensor.Bad("mesh of the shape %s", tensor.ShapeString(m.shape))
	}
	if d.placed {
		if m.coordinate = d.coordinate; m.coordinate == nil || len(m.coordinate) != len(m.shape) {
			return m, tensor.Bad("rank has coordinates that are not those of a mesh of %d dimensions", len(m.shape))
		}
	} else if at := slices.Index(ranks, rank); at >= 0 {
		m.coordinate = tensor.Unravel(int64(at), m.shape)
	}
	for axis, c := range m.coordinate {
		if c < 0 || c >= m.shape[axis] {
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
