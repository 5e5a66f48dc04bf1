package verify

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// unitRoundoff is the largest relative error of rounding to a dtype.
var unitRoundoff = map[tensor.DType]float64{tensor.F16: 0x1p-11, tensor.BF16: 0x1p-8, tensor.F32: 0x1p-24, tensor.F64: 0x1p-53}

// differsByRounding reports whether no element of b is farther from that of a, of the same dtype, than the two roundings of a value as large as the largest of
// a may be apart. So far apart are sums that were rounded once and that were rounded twice, as where a LoRA adapter is merged by its own library.
func differsByRounding(ctx context.Context, a, b *tensor.Tensor) (bool, error) {
	roundoff := unitRoundoff[a.DType]
	if roundoff == 0 || a.DType != b.DType {
		return false, nil
	}
	var largest, distance float64
	err := eachPair(ctx, a, b, func(x, y float64) {
		largest = math.Max(largest, math.Abs(x)) // NaN if one of them is
		distance = math.Max(distance, math.Abs(x-y))
	})
	return err == nil && distance <= 2*roundoff*largest && !math.IsInf(largest, 0), err
}

// eachPair calls f with the elements of two tensors of the same dtype and shape, in order.
func eachPair(ctx context.Context, a, b *tensor.Tensor, f func(x, y float64)) (err error) {
	const most = 1 << 13
	values, size := tensor.ValuesOf(a.DType), a.DType.Size()
	var streams [2]io.ReadCloser
	var raw [2][]byte
	var numbers [2][]float64
	for i, t := range []*tensor.Tensor{a, b} {
		if streams[i], err = t.Data.Stream(0); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, streams[i].Close()) }()
		raw[i], numbers[i] = make([]byte, most*size), make([]float64, most)
	}
	for left := a.Elements(); left > 0; {
		n := min(left, most)
		left -= n
		for i := range streams {
			if err := tensor.ReadFull(streams[i], raw[i][:n*size]); err != nil {
				return err
			}
			values.Decode(numbers[i][:n], raw[i][:n*size])
		}
		for k := range n {
			f(numbers[0][k], numbers[1][k])
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
