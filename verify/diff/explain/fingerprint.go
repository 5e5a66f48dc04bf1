package explain

import (
	"context"
	"encoding/binary"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// fingerprint is what one reading of a tensor tells about it. Candidates are guessed from two of them.
// They are then compared element by element, so that digests may collide.
type fingerprint struct {
	tensor   *tensor.Tensor
	sum      uint64     // of the digests of all elements: the same for the same elements in any order
	zeros    int64      // elements that are zero, of either sign
	constant bool       // all elements are the same
	axes     [][]uint64 // by axis longer than 1 and by index: the sum of the digests; none for axes longer than maxAxis

	indices []int64  // of the sampled elements, ascending
	codes   []uint64 // of the sampled elements
}

// maxAxis is the length up to which an axis has digests by index.
const maxAxis = 1 << 20

// code returns a sampled element by its index.
func (f *fingerprint) code(index int64) uint64 {
	i, _ := slices.BinarySearch(f.indices, index)
	return f.codes[i]
}

// newFingerprint reads a tensor once and samples the elements at indices, which are ascending and distinct.
func newFingerprint(ctx context.Context, t *tensor.Tensor, indices []int64) (*fingerprint, error) {
	f := &fingerprint{tensor: t, constant: true, indices: indices, codes: make([]uint64, 0, len(indices))}
	shape := squeeze(t.Shape)
	for _, n := range shape {
		if n > maxAxis {
			n = 0
		}
		f.axes = append(f.axes, make([]uint64, n))
	}
	decode := decoderOf(t.DType, min(pieceElements, t.Elements()))
	codes := make([]uint64, min(pieceElements, t.Elements()))
	position := make([]int64, len(shape))
	var first, sign uint64
	if isFloat(t.DType) {
		sign = 1 << 63
	}
	err := eachPiece(ctx, t, func(at int64, p []byte) error {
		n := int64(len(p)) / t.DType.Size()
		codes := codes[:n]
		decode(codes, p)
		for rest := indices[len(f.codes):]; len(rest) > 0 && rest[0] < at+n; rest = rest[1:] {
			f.codes = append(f.codes, codes[rest[0]-at])
		}
		if at == 0 {
			first = codes[0]
		}
		for i, x := range codes {
			if x&^sign == 0 {
				f.zeros++
			}
			f.constant = f.constant && x == first
			codes[i] = digest(x)
		}
		f.addDigests(codes, shape, position)
		return nil
	})
	return f, err
}

// addDigests adds the digests of consecutive elements to the sums. position is the index of the first of
// them along each axis; it is advanced past the last.
func (f *fingerprint) addDigests(digests []uint64, shape, position []int64) {
	last := len(shape) - 1
	if last < 0 {
		f.sum += digests[0]
		return
	}
	for len(digests) > 0 {
		n := min(shape[last]-position[last], int64(len(digests)))
		row := uint64(0)
		if columns := f.axes[last]; len(columns) > 0 {
			columns = columns[position[last]:][:n]
			for i, d := range digests[:n] {
				row += d
				columns[i] += d
			}
		} else {
			for _, d := range digests[:n] {
				row += d
			}
		}
		f.sum += row
		for k, i := range position[:last] {
			if len(f.axes[k]) > 0 {
				f.axes[k][i] += row
			}
		}
		digests = digests[n:]
		position[last] += n
		for k := last; k > 0 && position[k] == shape[k]; k-- {
			position[k] = 0
			position[k-1]++
		}
	}
}

// digest is a bijection of 64 bits (the finalizer of SplitMix64), so that sums of digests tell sets of
// elements apart.
func digest(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// comparable reports whether the same elements of both tensors have the same codes.
func comparable(a, b *tensor.Tensor) bool {
	return a.DType == b.DType || isFloat(a.DType) && isFloat(b.DType)
}

// decoderOf returns a function that reads up to most elements as codes of 64 bits: a floating-point number as the
// float64 of the same value, so that dtypes can be compared, anything else as it is stored.
func decoderOf(d tensor.DType, most int64) func(dst []uint64, src []byte) {
	if isFloat(d) {
		decode := tensor.ValuesOf(d).Decode
		values := make([]float64, most)
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
			default: // a complex number of two float64
				dst[i] = binary.LittleEndian.Uint64(p)
				if imaginary := binary.LittleEndian.Uint64(p[8:]); imaginary != 0 {
					dst[i] ^= digest(imaginary)
				}
			}
		}
	}
}

// valueOf returns the value of a floating-point code.
func valueOf(code uint64) float64 { return math.Float64frombits(code) }
