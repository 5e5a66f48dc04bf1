package verify

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// explainAll says of wrong tensors what they hold instead, where that is the elements of another
// tensor or their own in another order. Guesses are made from few elements, and what is said was
// then compared in full.
func (w *weights) explainAll() error {
	const most = 500 // more are of one cause, which is clear by then
	done := 0
	for i := range w.plan.Dests {
		f := w.wrong[i]
		if f == nil {
			continue
		}
		if done++; done > most {
			return nil
		}
		detail, err := w.explain(i)
		if err != nil {
			return err
		}
		f.Detail = detail
	}
	return nil
}

func (w *weights) explain(dest int) (string, error) {
	if w.divides(dest) {
		found, err := w.find(dest)
		if err != nil {
			return "", err
		}
		if detail, err := w.guessFactor(dest, found); detail != "" || err != nil {
			return detail, err
		}
	}
	if j := w.sameDigest(dest); j >= 0 {
		return fmt.Sprintf("it holds the elements of %s (%s)", w.plan.Dests[j].Name, strings.Join(w.sources[j], " + ")), nil
	}
	found, err := w.find(dest)
	if err != nil {
		return "", err
	}
	for _, guess := range []func(int, []byte) (string, error){w.guessOther, w.guessTransposed, w.guessReshaped, w.guessParts, w.guessReversed, w.guessRolled, w.guessFactor} {
		detail, err := guess(dest, found)
		if detail != "" || err != nil {
			return detail, err
		}
	}
	return w.describe(dest), nil
}

// sameDigest returns a tensor that is right and whose elements this one has, too, or -1.
func (w *weights) sameDigest(dest int) int {
	for j, d := range w.plan.Dests {
		if j != dest && w.wrong[j] == nil && !w.left[j] && slices.Equal(d.Shape, w.plan.Dests[dest].Shape) && w.digests.Dests[j] == w.digests.Dests[dest] {
			return j
		}
	}
	return -1
}

// places returns a few elements of a tensor of n: always the same.
func places(n int64) []int64 {
	const most = 24
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	var at []int64
	for range min(most, n) {
		at = append(at, rng.Int64N(n))
	}
	return at
}

func (w *weights) elements(dest int) int64 {
	return (&tensor.Tensor{Shape: w.plan.Dests[dest].Shape}).Elements()
}

// find returns the elements at places as they were found, one behind the other.
func (w *weights) find(dest int) ([]byte, error) {
	t := w.converted.Tensor(w.plan.Dests[dest].Name)
	size := t.DType.Size()
	var found []byte
	for _, element := range places(t.Elements()) {
		found = append(found, make([]byte, size)...)
		if _, err := t.ReadAt(found[len(found)-int(size):], element*size); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// demand returns the elements that a plan puts at some places.
func (w *weights) demand(l moves.List, dest int, at []int64) ([]byte, error) {
	sampled, err := l.Sample(dest, at)
	return slices.Concat(sampled...), err
}

// demanded is demand at places, for what the plan itself demands. It is remembered.
func (w *weights) demanded(dest int) ([]byte, error) {
	if w.demands[dest] == nil {
		p, err := w.demand(w.plan.List, dest, places(w.elements(dest)))
		if err != nil {
			return nil, err
		}
		w.demands[dest] = p
	}
	return w.demands[dest], nil
}

// holds compares a tensor in full with what other moves would have put there.
func (w *weights) holds(dest int, filling []moves.Move) (bool, error) {
	d := w.plan.Dests[dest]
	l := moves.List{Dests: []moves.Dest{d}}
	for _, m := range filling {
		m.Dest = 0
		l.Moves = append(l.Moves, m)
	}
	proved, err := proof.Prove(w.ctx, l, w.converted, proof.Options{})
	if err != nil {
		return false, err
	}
	for _, f := range proved.Failures {
		if f.Tensor == d.Name {
			return false, nil
		}
	}
	return true, nil
}

func (w *weights) movesOf(dest int) []moves.Move {
	var out []moves.Move
	for _, m := range w.plan.Moves {
		if m.Dest == dest {
			out = append(out, m)
		}
	}
	return out
}

// guessOther looks for another tensor that is wrong or missing, and whose elements are here: the two
// were exchanged, or a whole row of tensors moved on.
func (w *weights) guessOther(dest int, found []byte) (string, error) {
	for j, d := range w.plan.Dests {
		if j == dest || w.wrong[j] == nil && !w.left[j] || !slices.Equal(d.Shape, w.plan.Dests[dest].Shape) {
			continue
		}
		want, err := w.demanded(j)
		if err != nil {
			return "", err
		}
		if !bytes.Equal(want, found) {
			continue
		}
		ok, err := w.holds(dest, w.movesOf(j))
		if err != nil {
			return "", err
		}
		if ok {
			return fmt.Sprintf("it holds the elements of %s (%s)", d.Name, strings.Join(w.sources[j], " + ")), nil
		}
	}
	return "", nil
}

// guessTransposed tries the last two axes the other way round, where they are of one length.
func (w *weights) guessTransposed(dest int, found []byte) (string, error) {
	filling := w.movesOf(dest)
	rank := len(w.plan.Dests[dest].Shape)
	if len(filling) != 1 || rank < 2 || w.plan.Dests[dest].Shape[rank-1] != w.plan.Dests[dest].Shape[rank-2] {
		return "", nil
	}
	axes := make([]int, rank)
	for k := range axes {
		axes[k] = k
	}
	axes[rank-1], axes[rank-2] = rank-2, rank-1
	filling[0].View = filling[0].View.Permute(axes...)
	turned := moves.List{Dests: w.plan.Dests, Moves: filling}
	want, err := w.demand(turned, dest, places(w.elements(dest)))
	if err != nil || !bytes.Equal(want, found) {
		return "", err
	}
	ok, err := w.holds(dest, filling)
	if !ok || err != nil {
		return "", err
	}
	return "it is transposed", nil
}

// guessRolled looks for rows that were all moved on by one number, those at the end to the
// beginning: heads in another order.
func (w *weights) guessRolled(dest int, found []byte) (string, error) {
	const most = 1 << 14 // rows
	shape := w.plan.Dests[dest].Shape
	filling := w.movesOf(dest)
	if len(filling) != 1 || len(shape) == 0 || shape[0] < 2 || shape[0] > most || len(w.wrong) > 50 {
		return "", nil
	}
	rows, inner := shape[0], w.elements(dest)/shape[0]
	at := places(w.elements(dest))
	moved := func(element, by int64) int64 { return (element/inner+by)%rows*inner + element%inner }

	// Where the first of the places may have come from, all at once.
	size := int64(len(found) / len(at))
	column := make([]int64, rows)
	for k := range column {
		column[k] = moved(at[0], int64(k))
	}
	firsts, err := w.demand(w.plan.List, dest, column)
	if err != nil {
		return "", err
	}
	for k := int64(1); k < rows; k++ {
		if !bytes.Equal(firsts[k*size:][:size], found[:size]) {
			continue
		}
		all := make([]int64, len(at))
		for i, element := range at {
			all[i] = moved(element, k)
		}
		want, err := w.demand(w.plan.List, dest, all)
		if err != nil {
			return "", err
		}
		if !bytes.Equal(want, found) {
			continue
		}
		m := filling[0]
		tail, front := m, m
		tail.View = m.View.Narrow(0, k, rows-k)
		front.View, front.Offset = m.View.Narrow(0, 0, k), m.Offset+(rows-k)*inner
		ok, err := w.holds(dest, []moves.Move{tail, front})
		if err != nil {
			return "", err
		}
		if ok {
			return w.sayRolled(dest, k, rows), nil
		}
	}
	return "", nil
}

func (w *weights) sayRolled(dest int, k, rows int64) string {
	head := w.plan.Config.HeadDim()
	name := w.plan.Dests[dest].Name
	if strings.Contains(name, "q_proj") && head > 0 && k%head == 0 {
		return fmt.Sprintf("its heads are rolled: head %d comes first", k/head)
	}
	return fmt.Sprintf("its rows are rolled: row %d of %d comes first", k, rows)
}

// describe says what wrong elements look like when nothing explains them.
func (w *weights) describe(dest int) string {
	f := w.wrong[dest]
	switch {
	case strings.HasPrefix(f.Got, "NaN"):
		return "it holds NaN"
	case f.Differing == f.Elements && f.Elements > 1:
		return "no element is right"
	}
	return ""
}
