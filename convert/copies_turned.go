package convert

import (
	"context"
	"encoding/binary"
	"io"
	"math/bits"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// differsTurned compares a compressed tensor with one whose elements it holds in another order, each
// read once from front to back: both are summed over a hash of each element with its place, of 128
// bits. The place of the first difference is not known then: it is given as 0.
func (c *Copy) differsTurned(ctx context.Context) (int64, error) {
	// Strides of c.Of along the axes of c.Tensor, in the order of c.Tensor's row-major elements.
	kept, err := sumPlaces(ctx, c.Of, tensor.RowMajor(c.Of.Shape...))
	if err != nil {
		return 0, err
	}
	turned, err := sumPlaces(ctx, c.Tensor, placesOf(c.View, c.Tensor.Shape))
	if err != nil {
		return 0, err
	}
	if kept == turned {
		return -1, nil
	}
	return 0, nil
}

// placesOf returns, for a view that shows each row-major element of a shape of two axes once, the view
// whose element (i, j) is the place of the tensor's element (i, j) within the view.
func placesOf(v tensor.View, shape []int64) tensor.View {
	places := tensor.RowMajor(shape...)
	within := tensor.RowMajor(v.Shape...).Strides
	own := places.Strides
	places.Strides = make([]int64, len(shape))
	for a := range shape {
		for k := range v.Shape {
			if v.Strides[k] == own[a] && v.Shape[k] == shape[a] {
				places.Strides[a] = within[k]
			}
		}
	}
	return places
}

// placeSum is a sum over all elements that does not depend on the order in which they come.
type placeSum struct{ low, high uint64 }

// sumPlaces reads a matrix once. places gives each row-major element its place.
func sumPlaces(ctx context.Context, t *tensor.Tensor, places tensor.View) (placeSum, error) {
	r, err := t.Data.Stream(0)
	if err != nil {
		return placeSum{}, err
	}
	defer r.Close()
	rows, cols := t.Shape[0], t.Shape[1]
	size := t.DType.Size()
	var sum placeSum
	buffer := make([]byte, compareStep)
	var padded [8]byte
	for i := range rows {
		for j := int64(0); j < cols; {
			if err := ctx.Err(); err != nil {
				return sum, err
			}
			n := min(cols-j, compareStep/size)
			if _, err := io.ReadFull(r, buffer[:n*size]); err != nil {
				return sum, short(err)
			}
			for k := range n {
				copy(padded[:], buffer[k*size:][:size])
				sum.add(uint64(i*places.Strides[0]+(j+k)*places.Strides[1]), binary.LittleEndian.Uint64(padded[:]))
			}
			j += n
		}
	}
	return sum, nil
}

// add adds the hash of an element's place and bits: products of 128 bits with odd constants, folded,
// whose parts are summed apart.
func (s *placeSum) add(place, element uint64) {
	hi, lo := bits.Mul64(place*0x9e3779b97f4a7c15^0xd1b54a32d192ed03, element*0xa0761d6478bd642f^0xe7037ed1a0b428db)
	a := hi ^ lo ^ place<<32
	hi, lo = bits.Mul64(a^0x8ebc6af09c88c6e3, (element+place)*0x589965cc75374cc3^0x1d8e4e27c47d124f)
	s.low += a ^ hi
	s.high += lo ^ bits.RotateLeft64(a, 31)
}
