package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// guessMoves looks at whether a tensor holds what other moves would have put there: first at places, then in full.
func (w *weights) guessMoves(dest int, found []byte, filling []moves.Move) (bool, error) {
	l := moves.List{Dests: w.plan.Dests, Moves: filling}
	want, err := w.demand(l, dest, places(w.elements(dest)))
	if err != nil || !bytes.Equal(want, found) {
		return false, err
	}
	return w.holds(dest, filling)
}

// guessParts tries the two parts of a tensor, as ffw_up has them, in each other's place or one of them twice.
func (w *weights) guessParts(dest int, found []byte) (string, error) {
	filling := w.movesOf(dest)
	var names []string
	switch {
	case len(filling) == 1 && strings.Contains(w.plan.Dests[dest].Name, "ffw_up") && filling[0].View.Shape[0] == 2: // moved whole
		first, second := filling[0], filling[0]
		first.View, second.View = first.View.Narrow(0, 0, 1), second.View.Narrow(0, 1, 1)
		second.Offset += first.View.Elements()
		filling, names = []moves.Move{first, second}, []string{"the first part", "the second part"}
	case len(filling) == 2 && filling[0].View.Elements() == filling[1].View.Elements():
		names = []string{"the elements of " + filling[0].Source.Name, "the elements of " + filling[1].Source.Name}
	default:
		return "", nil
	}
	from := func(at, what moves.Move) moves.Move {
		at.Source, at.View, at.Divide = what.Source, what.View, what.Divide
		return at
	}
	a, b := filling[0], filling[1]
	for _, guess := range []struct {
		filling []moves.Move
		say     string
	}{
		{[]moves.Move{from(a, b), from(b, a)}, fmt.Sprintf("its parts are exchanged: the first holds %s, the second %s", names[1], names[0])},
		{[]moves.Move{a, from(b, a)}, "both its parts hold " + names[0]},
		{[]moves.Move{from(a, b), b}, "both its parts hold " + names[1]},
	} {
		if ok, err := w.guessMoves(dest, found, guess.filling); ok || err != nil {
			return guess.say, err
		}
	}
	return "", nil
}

// guessReshaped tries the source's elements in their own order, as a reshape leaves them where a transpose belongs.
func (w *weights) guessReshaped(dest int, found []byte) (string, error) {
	filling := slices.Clone(w.movesOf(dest))
	turned := false
	for i := range filling {
		m := &filling[i]
		if plain := tensor.RowMajor(m.View.Shape...); !m.View.IsRowMajor() {
			plain.Offset, turned = m.View.Offset, true
			m.View = plain
		}
	}
	if !turned {
		return "", nil
	}
	ok, err := w.guessMoves(dest, found, filling)
	if !ok {
		return "", err
	}
	return "it was reshaped and not transposed: the elements are in the order that the source has them in", err
}

// guessFactor tries all elements divided by another number than the plan says.
func (w *weights) guessFactor(dest int, found []byte) (string, error) {
	filling := slices.Clone(w.movesOf(dest))
	d := w.plan.Dests[dest].DType
	want, err := w.demanded(dest)
	if err != nil {
		return "", err
	}
	ratio := ratioOf(values(d, found), values(d, want))
	if ratio == 0 {
		return "", nil
	}
	planned := 1.0
	for _, m := range filling {
		if m.Divide != 0 {
			planned = m.Divide
		}
	}
	for _, by := range divisors(planned / ratio) {
		for i := range filling {
			if filling[i].Divide = by; by == 1 {
				filling[i].Divide = 0
			}
		}
		ok, err := w.guessMoves(dest, found, filling)
		switch {
		case err != nil:
			return "", err
		case ok && by == 1:
			return fmt.Sprintf("it was not divided by %.6g", planned), nil
		case ok && planned != 1 && by < 1:
			return fmt.Sprintf("it was multiplied by %.6g instead of divided by %.6g", 1/by, planned), nil
		case ok && planned != 1:
			return fmt.Sprintf("it was divided by %.6g and not by %.6g", by, planned), nil
		case ok && by < 1:
			return fmt.Sprintf("every element was multiplied by %.6g", 1/by), nil
		case ok:
			return fmt.Sprintf("every element was divided by %.6g", by), nil
		}
	}
	return "", nil
}

// divisors are numbers near x that people divide by: a power of two, a root of an integer, x in float32.
func divisors(x float64) []float64 {
	var out []float64
	add := func(y float64) {
		if y = float64(float32(y)); y > 0 && math.Abs(y/x-1) < 0.02 && !slices.Contains(out, y) {
			out = append(out, y)
		}
	}
	add(math.Exp2(math.Round(math.Log2(x))))
	add(math.Sqrt(math.Round(x * x)))
	add(1 / math.Sqrt(math.Round(1/(x*x))))
	return out
}

// ratioOf returns the median of the ratios of numbers, 0 where they are not about equal.
func ratioOf(a, b []float64) float64 {
	var all []float64
	for i := range a {
		if r := a[i] / b[i]; r > 0 && !math.IsInf(r, 0) {
			all = append(all, r)
		} else if a[i] != 0 || b[i] != 0 {
			return 0
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	middle := all[len(all)/2]
	if all[0] < 0.97*middle || all[len(all)-1] > 1.03*middle {
		return 0
	}
	return middle
}

// values decodes elements, as float32 has them; nil for types that have none.
func values(d tensor.DType, p []byte) []float64 {
	widen, err := tensor.NewCast(d, tensor.F32)
	if err != nil {
		return nil
	}
	wide := make([]byte, int64(len(p))/d.Size()*4)
	widen(wide, p)
	out := make([]float64, len(wide)/4)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(wide[4*i:])))
	}
	return out
}

// guessReversed tries a short axis the other way round: the taps of the convolution.
func (w *weights) guessReversed(dest int, found []byte) (string, error) {
	const most = 1 << 17 // elements
	shape, n := w.plan.Dests[dest].Shape, w.elements(dest)
	axis := slices.IndexFunc(shape, func(k int64) bool { return k > 1 && k <= 8 })
	if axis < 0 || n > most || !strings.Contains(w.plan.Dests[dest].Name, "conv_1d") {
		return "", nil
	}
	length, inner := shape[axis], int64(1)
	for _, k := range shape[axis+1:] {
		inner *= k
	}
	at := make([]int64, n)
	for i := range at {
		k := int64(i) / inner % length
		at[i] = int64(i) + (length-1-2*k)*inner
	}
	turned, err := w.demand(w.plan.List, dest, at)
	if err != nil {
		return "", err
	}
	t := w.converted.Tensor(w.plan.Dests[dest].Name)
	have := make([]byte, t.Bytes())
	if _, err := t.ReadAt(have, 0); err != nil {
		return "", err
	}
	if bytes.Equal(have, turned) {
		return "its taps are in reverse order", nil
	}
	return "", nil
}
