package diff

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// array is a tensor in memory, of float32 or bfloat16. Its dtype has all of the values.
type array struct {
	dtype  tensor.DType
	shape  []int64
	values []float64
}

func (x array) clone() array { x.values = slices.Clone(x.values); return x }

// bfloat16 returns x rounded to bfloat16, ties to even.
func (x array) bfloat16() array {
	x = x.clone()
	x.dtype = tensor.BF16
	for i, v := range x.values {
		b := math.Float32bits(float32(v))
		x.values[i] = float64(math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff))
	}
	return x
}

func (x array) tensor(name string) *tensor.Tensor {
	var content []byte
	for _, v := range x.values {
		b := math.Float32bits(float32(v))
		if x.dtype == tensor.BF16 {
			content = binary.LittleEndian.AppendUint16(content, uint16(b>>16))
		} else {
			content = binary.LittleEndian.AppendUint32(content, b)
		}
	}
	return &tensor.Tensor{Name: name, DType: x.dtype, Shape: x.shape, Data: stored{content}}
}

// stored is Data that can only be read from front to back.
type stored struct{ content []byte }

func (s stored) Stream(off int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s.content[off:])), nil
}
