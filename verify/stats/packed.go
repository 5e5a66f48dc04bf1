package stats

import (
	"encoding/binary"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Packed is the Stats of a tensor in some hundred bytes or fewer, for programs that keep those of very many tensors.
type Packed string

// Pack packs what Of has returned. Edges are left out: they follow from the range and the dtype.
func (s *Stats) Pack() Packed {
	p := make([]byte, 0, 256)
	for _, n := range []int64{s.Values, s.Zeros, s.NaN, s.Inf, int64(len(s.Histogram.Counts))} {
		p = binary.AppendUvarint(p, uint64(n))
	}
	for _, x := range []Number{s.Min, s.Max, s.Mean, s.Std} {
		p = binary.LittleEndian.AppendUint64(p, math.Float64bits(float64(x)))
	}
	for _, n := range s.Histogram.Counts {
		p = binary.AppendUvarint(p, uint64(n))
	}
	return Packed(p)
}

// Stats returns the Stats of a tensor of dtype d that were packed.
func (p Packed) Stats(d tensor.DType) *Stats {
	raw := []byte(p)
	count := func() int64 {
		n, size := binary.Uvarint(raw)
		raw = raw[size:]
		return int64(n)
	}
	s := noValues()
	s.Values, s.Zeros, s.NaN, s.Inf = count(), count(), count(), count()
	bins := count()
	for _, x := range []*Number{&s.Min, &s.Max, &s.Mean, &s.Std} {
		*x = Number(math.Float64frombits(binary.LittleEndian.Uint64(raw)))
		raw = raw[8:]
	}
	if bins == 0 {
		return &s
	}
	s.AbsMax = max(-s.Min, s.Max, 0)
	s.Histogram = Histogram{Edges: edgesOf(d, float64(s.Min), float64(s.Max)), Counts: make([]int64, bins)}
	for i := range s.Histogram.Counts {
		s.Histogram.Counts[i] = count()
	}
	return &s
}
