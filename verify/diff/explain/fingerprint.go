package explain

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// census is what one reading of a tensor tells of it: what guesses are made from. What is claimed is
// then checked element by element, so that a guess can be wrong, and digests may collide.
type census struct {
	sum      uint64     // of all elements' digests: the same for the same elements in any order
	zeros    int64      // elements that are zero, of either sign
	constant bool       // all elements are the same
	axes     [][]uint64 // for every axis longer than 1 and every index of it, the sum of its elements' digests; nil for long axes

	places []int64  // of the elements that were asked for, ascending
	codes  []uint64 // of those elements
}

// mostAxis is how long an axis may be to have digests by its indices.
const mostAxis = 1 << 20

// code returns the element at a place that was asked for.
func (c *census) code(place int64) uint64 {
	i, _ := slices.BinarySearch(c.places, place)
	return c.codes[i]
}

// takeCensus reads a tensor once. places are ascending, without doubles.
func takeCensus(ctx context.Context, o *tensor.Tensor, places []int64) (*census, error) {
	c := &census{constant: true, places: places, codes: make([]uint64, 0, len(places))}
	shape := squeezed(o.Shape)
	for _, n := range shape {
		if n > mostAxis {
			n = 0
		}
		c.axes = append(c.axes, make([]uint64, n))
	}
	decode := decoderOf(o.DType)
	codes := make([]uint64, pieceElements)
	index := make([]int64, len(shape))
	var first, sign uint64
	if numberFormats[o.DType] != nil {
		sign = 1 << 63
	}
	err := eachPiece(ctx, o, func(at int64, p []byte) error {
		n := int64(len(p)) / o.DType.Size()
		codes := codes[:n]
		decode(codes, p)
		for rest := places[len(c.codes):]; len(rest) > 0 && rest[0] < at+n; rest = rest[1:] {
			c.codes = append(c.codes, codes[rest[0]-at])
		}
		if at == 0 {
			first = codes[0]
		}
		for i, x := range codes {
			if x&^sign == 0 {
				c.zeros++
			}
			c.constant = c.constant && x == first
			codes[i] = digest(x)
		}
		c.count(codes, shape, index)
		return nil
	})
	return c, err
}

// count adds digests of consecutive elements to the sums; index is that of the first, and is moved on.
func (c *census) count(digests []uint64, shape, index []int64) {
	last := len(shape) - 1
	if last < 0 {
		c.sum += digests[0]
		return
	}
	for len(digests) > 0 {
		n := min(shape[last]-index[last], int64(len(digests)))
		row := uint64(0)
		if columns := c.axes[last]; len(columns) > 0 {
			columns = columns[index[last]:][:n]
			for i, d := range digests[:n] {
				row += d
				columns[i] += d
			}
		} else {
			for _, d := range digests[:n] {
				row += d
			}
		}
		c.sum += row
		for k, i := range index[:last] {
			if len(c.axes[k]) > 0 {
				c.axes[k][i] += row
			}
		}
		digests = digests[n:]
		index[last] += n
		for k := last; k > 0 && index[k] == shape[k]; k-- {
			index[k] = 0
			index[k-1]++
		}
	}
}

// digest is a bijection of 64 bits (the finish of SplitMix64), so that sums of it tell sets apart.
func digest(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// decoderOf returns what reads elements as 64 bits each: floating-point numbers as the float64 of the same
// value, so that types can be compared, others as they are stored.
func decoderOf(d tensor.DType) func(dst []uint64, src []byte) {
	if numberFormats[d] != nil {
		decode := tensor.ValuesOf(d).Decode
		values := make([]float64, pieceElements)
		return func(dst []uint64, src []byte) {
			v := values[:len(dst)]
			decode(v, src)
			for i, x := range v {
				dst[i] = math.Float64bits(x)
			}
		}
	}
	size := int(d.Size())
	return func(dst []uint64, src []byte) {
		for i := range dst {
			p := src[i*size:]
			switch size {
			case 1:
				dst[i] = uint64(p[0])
			case 2:
				dst[i] = uint64(binary.LittleEndian.Uint16(p))
			case 4:
				dst[i] = uint64(binary.LittleEndian.Uint32(p))
			case 8:
				dst[i] = binary.LittleEndian.Uint64(p)
			default: // two parts of a complex number
				dst[i] = binary.LittleEndian.Uint64(p)
				if high := binary.LittleEndian.Uint64(p[8:]); high != 0 {
					dst[i] ^= digest(high)
				}
			}
		}
	}
}

// mostSamples are looked at to tell whether an explanation is worth checking.
const mostSamples = 256

// samplePlaces returns up to mostSamples of n elements, ascending, always the same: all of a small tensor.
func samplePlaces(n int64) []int64 {
	if n <= mostSamples {
		return allOf(n)
	}
	rng := rand.New(rand.NewPCG(5, uint64(n)))
	var some []int64
	for range mostSamples {
		some = append(some, rng.Int64N(n))
	}
	slices.Sort(some)
	return slices.Compact(some)
}

// placesIn returns the elements of a tensor that arrangements of it put at those places, ascending.
func placesIn(all []*arrangement, places []int64) []int64 {
	var from []int64
	for _, m := range all {
		for _, i := range places {
			from = append(from, m.from(i))
		}
	}
	slices.Sort(from)
	return slices.Compact(from)
}
