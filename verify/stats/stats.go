// Package stats describes the values of a tensor: their range, mean and standard deviation, how many are zero or not
// finite, and a histogram. A tensor is read once, from front to back, in memory that does not grow with it.
package stats

import (
	"context"
	"io"
	"math"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/internal/float"
)

// Number is a float64 whose JSON is a string if it is not finite: NaN, Infinity, -Infinity.
type Number = float.Number

// Stats describes the values of a tensor. Values that are not finite are counted, and left out of the rest. The real and
// the imaginary part of a complex number are two values.
type Stats struct {
	Values int64  `json:"values"`
	Min    Number `json:"min"` // NaN if no value is finite, like Max, Mean, Std and AbsMax
	Max    Number `json:"max"`
	Mean   Number `json:"mean"`
	Std    Number `json:"std"` // of the population: divided by the number of values
	AbsMax Number `json:"abs_max"`
	Zeros  int64  `json:"zeros"` // of either sign
	NaN    int64  `json:"nan"`
	Inf    int64  `json:"inf"` // of either sign

	Histogram Histogram `json:"histogram"`
}

// Finite reports whether all values are finite.
func (s *Stats) Finite() bool { return s.NaN == 0 && s.Inf == 0 }

// NotFinite counts values that are not finite.
type NotFinite struct{ NaN, Inf int64 }

// NotFinite returns the counts of the values that are not finite.
func (s *Stats) NotFinite() NotFinite { return NotFinite{s.NaN, s.Inf} }

// String names them for people: "2 NaN and 1 infinity"; "" if there are none.
func (n NotFinite) String() string {
	var parts []string
	if n.NaN > 0 {
		parts = append(parts, text.Grouped(n.NaN)+" NaN")
	}
	switch {
	case n.Inf == 1:
		parts = append(parts, "1 infinity")
	case n.Inf > 1:
		parts = append(parts, text.Grouped(n.Inf)+" infinities")
	}
	return strings.Join(parts, " and ")
}

// counter gathers the statistics of a tensor from its bytes, whole elements at a time.
type counter interface {
	add(p []byte)
	stats() *Stats
}

// panelBytes are read at a time. They hold whole elements of every dtype, packed ones included.
const panelBytes = 3 * 64 << 10

// Of reads a tensor and returns its statistics. It checks the checksums that the format has. Corrupt data is a
// *tensor.FormatError with the name of the tensor.
func Of(ctx context.Context, t *tensor.Tensor) (*Stats, error) { return OfAlso(ctx, t, io.Discard) }

// OfAlso is Of, and writes the bytes that it reads to also.
func OfAlso(ctx context.Context, t *tensor.Tensor, also io.Writer) (*Stats, error) {
	c := newCounter(t)
	if err := read(ctx, t, c, also); err != nil {
		return nil, tensor.Annotate(err, tensor.Location{Tensor: t.Name})
	}
	return c.stats(), nil
}

func newCounter(t *tensor.Tensor) counter {
	values := tensor.ValuesOf(t.DType)
	total := t.Elements() * int64(values.Lanes)
	if countsCodes(t.DType) {
		return newCodes(t.DType, int(t.DType.Size()), total)
	}
	return newWide(t.DType, values, total)
}

// countsCodes reports whether a dtype has so few values that each is counted.
func countsCodes(d tensor.DType) bool {
	size := d.Size()
	return tensor.ValuesOf(d).Lanes == 1 && (size == 1 || size == 2)
}

func read(ctx context.Context, t *tensor.Tensor, c counter, also io.Writer) error {
	r, check, err := tensor.StreamWhole(t)
	if err != nil {
		return err
	}
	defer r.Close()
	total := t.Bytes()
	buf := make([]byte, min(panelBytes, total))
	for at := int64(0); at < total; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(panelBytes, total-at)]
		n, err := io.ReadFull(r, p)
		at += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return tensor.Bad("data ends after %d of %d bytes", at, total)
		}
		if err != nil {
			return err
		}
		c.add(p)
		if _, err := also.Write(p); err != nil {
			return err
		}
	}
	return check()
}

// noValues returns the Stats of a tensor without finite values.
func noValues() Stats {
	nan := Number(math.NaN())
	return Stats{Min: nan, Max: nan, Mean: nan, Std: nan, AbsMax: nan, Histogram: Histogram{Edges: []Number{}, Counts: []int64{}}}
}
