package tensor

import "context"

// Float32s reads all elements of a tensor, in row-major order, as float32: floating-point types of
// every width, integers and booleans. Values that float32 does not hold are rounded to the nearest
// one. A type whose elements are more than one number is a *FormatError. Float32s checks the
// checksums that the format keeps.
func Float32s(ctx context.Context, t *Tensor) ([]float32, error) {
	values, err := float32s(ctx, t)
	if c, ok := t.Data.(Checker); ok && err == nil {
		err = c.Check()
	}
	if err != nil {
		return nil, Annotate(err, Location{Tensor: t.Name})
	}
	return values, nil
}

func float32s(ctx context.Context, t *Tensor) ([]float32, error) {
	decoder := ValuesOf(t.DType)
	if decoder.Lanes != 1 {
		return nil, Bad("elements of %s are not single numbers", t.DType)
	}
	r, err := t.Data.Stream(0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	const piece = 32 << 10 // elements; of packed types too, they fill whole bytes
	left := t.Elements()
	raw := make([]byte, min(left, piece)*int64(t.DType.Bits())/8)
	wide := make([]float64, min(left, piece))
	values := make([]float32, 0, min(left, 1<<20)) // a hostile shape claims more elements than the data has
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		wide = wide[:min(left, piece)]
		raw = raw[:len(wide)*t.DType.Bits()/8]
		if err := ReadFull(r, raw); err != nil {
			return nil, err
		}
		decoder.Decode(wide, raw)
		for _, v := range wide {
			values = append(values, float32(v))
		}
		left -= int64(len(wide))
	}
	return values, nil
}
