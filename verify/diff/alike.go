package diff

import (
	"context"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

const (
	maxAlike  = 1 << 16 // pairs of layers that are compared by samples
	maxLayers = 1 << 10 // layers of both sides that are sampled, in up to 64 MiB
	sampled   = 1024    // elements of a matrix, from its beginning on
	matrices  = 8       // of a layer
	leastSame = 0.5     // mean cosine of the samples of layers that are alike; that of other layers is about 0
	exactly   = 1000    // what an equal tensor counts, and more than samples count
)

// samples are the first elements of some matrices of a layer, scaled to length 1, by what follows the number in their keys.
type samples map[string][]float64

// sampleAll reads the samples of layers.
func (m *matcher) sampleAll(ctx context.Context, layers []*layer) error {
	for _, l := range layers {
		s, err := sample(ctx, l)
		if err != nil {
			return err
		}
		m.samples[l] = s
	}
	return nil
}

// matchAlike returns the pairs of layers that have the most tensors in common or, if they have not, whose samples are alike, and whether there are
// such. pairs are those of which tensors are equal.
func (m *matcher) matchAlike(x, y []*layer, pairs [][2]int) ([][2]int, bool) {
	alike := matchLayers(len(x), len(y), func(i, j int) int { return m.likeness(x[i], y[j]) })
	if len(alike) <= len(pairs) {
		return pairs, false
	}
	return alike, true
}

// likeness returns how much two layers have in common: tensors that are equal or, if they have not, what their samples are alike; 0 for neither.
func (m *matcher) likeness(x, y *layer) int {
	if n := m.common(x, y); n > 0 {
		return n * exactly
	}
	return int(100 * likeness(m.samples[x], m.samples[y]))
}

// likeness returns the mean cosine of the samples that two layers have both; 0 if they are not alike, or have most of them not both.
func likeness(a, b samples) float64 {
	sum, n := 0.0, 0
	for name, x := range a {
		y := b[name]
		if len(x) != len(y) {
			continue
		}
		n++
		for k := range x {
			sum += x[k] * y[k]
		}
	}
	if mean := sum / float64(n); 2*n >= max(len(a), len(b)) && mean >= leastSame {
		return mean
	}
	return 0
}

// sample reads the samples of a layer. Of other tensors than matrices, layers that have nothing to do with each other may be alike.
func sample(ctx context.Context, l *layer) (samples, error) {
	out := samples{}
	for _, rest := range slices.Sorted(maps.Keys(l.operands)) {
		o := l.operands[rest]
		if len(o.Shape) < 2 || o.DType.Bits() < 8 || len(out) == matrices {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		values, err := o.first(sampled)
		if err != nil {
			return nil, err
		}
		length := 0.0
		for _, v := range values {
			length += v * v
		}
		if length = math.Sqrt(length); length == 0 || math.IsNaN(length) || math.IsInf(length, 0) {
			continue
		}
		for k := range values {
			values[k] /= length
		}
		out[rest] = values
	}
	return out, nil
}

// first reads the numbers of the first elements of an operand, at most so many.
func (o *operand) first(most int64) ([]float64, error) {
	n := min(most, o.Elements())
	r, err := o.open(0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw := make([]byte, n*o.DType.Size())
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, o.annotate(tensor.ShortRead(err))
	}
	decode := tensor.ValuesOf(o.DType)
	values := make([]float64, n*int64(decode.Lanes))
	decode.Decode(values, raw)
	return values, nil
}
