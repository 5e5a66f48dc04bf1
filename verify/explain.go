package verify

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
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
	if j := w.sameDigest(dest); j >= 0 {
		return fmt.Sprintf("it holds the elements of %s (%s)", w.plan.Dests[j].Name, strings.Join(w.sources[j], " + ")), nil
	}
	signature, err := w.sign(dest)
	if err != nil {
		return "", err
	}
	for _, guess := range []func(int, *sampleOf) (string, error){w.guessOther, w.guessTransposed, w.guessRolled} {
		detail, err := guess(dest, signature)
		if detail != "" || err != nil {
			return detail, err
		}
	}
	return w.describe(dest)
}

// sameDigest returns a tensor that is right and whose elements this one has, too, or -1.
func (w *weights) sameDigest(dest int) int {
	for j, d := range w.plan.Dests {
		if j != dest && w.wrong[j] == nil && !w.left[j] && slices.Equal(d.Shape, w.plan.Dests[dest].Shape) && w.digests.Outputs[j] == w.digests.Outputs[dest] {
			return j
		}
	}
	return -1
}

// sampleOf is a few elements of a tensor as it was found.
type sampleOf struct {
	at    []int64
	found [][]byte
}

// sign reads elements at places that depend on nothing but the shape.
func (w *weights) sign(dest int) (*sampleOf, error) {
	const most = 24
	t := w.converted.Tensor(w.plan.Dests[dest].Name)
	n := t.Elements()
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	s := &sampleOf{}
	for range min(most, n) {
		s.at = append(s.at, rng.Int64N(n))
	}
	for _, element := range s.at {
		p := make([]byte, t.DType.Size())
		if _, err := t.ReadAt(p, element*t.DType.Size()); err != nil {
			return nil, err
		}
		s.found = append(s.found, p)
	}
	return s, nil
}

// fits reports whether the elements that a plan demands of a tensor are those that were found.
// Where the source is compressed that is not seen from a few of them: known is false.
func (w *weights) fits(p *convert.Plan, dest int, at []int64, found [][]byte) (fits, known bool, err error) {
	want, known, err := p.Sample(dest, at)
	if !known || err != nil {
		return false, false, err
	}
	for k := range want {
		if from, to := sourceType(p, dest), w.plan.Dests[dest].DType; from != to {
			cast, err := tensor.NewCast(from, to)
			if err != nil {
				return false, false, nil
			}
			rounded := make([]byte, to.Size())
			cast(rounded, want[k])
			want[k] = rounded
		}
		if !bytes.Equal(want[k], found[k]) {
			return false, true, nil
		}
	}
	return true, true, nil
}

func sourceType(p *convert.Plan, dest int) tensor.DType {
	for _, m := range p.Moves {
		if m.Dest == dest {
			return m.Source.DType
		}
	}
	return tensor.Invalid
}

// may reports whether moves are worth to be compared in full.
func (w *weights) may(p *convert.Plan, dest int, s *sampleOf) (bool, error) {
	const few = 6 // of which all are tried
	fits, known, err := w.fits(p, dest, s.at, s.found)
	return fits || !known && len(w.wrong) <= few, err
}

// holds compares a tensor in full with what other moves would have put there.
func (w *weights) holds(dest int, moves []convert.Move) (bool, error) {
	d := w.plan.Dests[dest]
	p := &convert.Plan{Source: w.plan.Source, Dests: []convert.Dest{d}}
	for _, m := range moves {
		m.Dest = 0
		p.Moves = append(p.Moves, m)
	}
	proof, err := convert.Prove(w.ctx, p, w.converted, nil)
	if err != nil {
		return false, err
	}
	for _, f := range proof.Failures {
		if f.Tensor == d.Name {
			return false, nil
		}
	}
	return true, nil
}

func (w *weights) movesOf(dest int) []convert.Move {
	var out []convert.Move
	for _, m := range w.plan.Moves {
		if m.Dest == dest {
			out = append(out, m)
		}
	}
	return out
}

// guessOther looks for another wrong tensor whose elements are here: the two were exchanged, or a
// whole row of tensors moved on.
func (w *weights) guessOther(dest int, s *sampleOf) (string, error) {
	for j, d := range w.plan.Dests {
		if j == dest || w.wrong[j] == nil || !slices.Equal(d.Shape, w.plan.Dests[dest].Shape) {
			continue
		}
		ok, err := w.may(w.plan, j, s)
		if ok && err == nil {
			ok, err = w.holds(dest, w.movesOf(j))
		}
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
func (w *weights) guessTransposed(dest int, s *sampleOf) (string, error) {
	moves := w.movesOf(dest)
	rank := len(w.plan.Dests[dest].Shape)
	if len(moves) != 1 || rank < 2 || w.plan.Dests[dest].Shape[rank-1] != w.plan.Dests[dest].Shape[rank-2] {
		return "", nil
	}
	axes := make([]int, rank)
	for k := range axes {
		axes[k] = k
	}
	axes[rank-1], axes[rank-2] = rank-2, rank-1
	moves[0].View = moves[0].View.Permute(axes...)
	return w.tried(dest, moves, s, "it is transposed")
}

// tried returns what to say if those moves give what was found.
func (w *weights) tried(dest int, moves []convert.Move, s *sampleOf, say string) (string, error) {
	p := &convert.Plan{Source: w.plan.Source, Dests: w.plan.Dests, Moves: moves}
	ok, err := w.may(p, dest, s)
	if ok && err == nil {
		ok, err = w.holds(dest, moves)
	}
	if !ok || err != nil {
		return "", err
	}
	return say, nil
}

// guessRolled looks for rows that were all moved on by one number, those at the end to the
// beginning: heads in another order.
func (w *weights) guessRolled(dest int, s *sampleOf) (string, error) {
	const most = 1 << 14 // rows
	shape := w.plan.Dests[dest].Shape
	moves := w.movesOf(dest)
	if len(moves) != 1 || len(shape) == 0 || shape[0] < 2 || shape[0] > most || len(w.wrong) > 50 {
		return "", nil
	}
	rows, inner := shape[0], int64(1)
	for _, n := range shape[1:] {
		inner *= n
	}
	for k := int64(1); k < rows; k++ {
		moved := make([]int64, len(s.at))
		for i, element := range s.at {
			moved[i] = (element/inner+k)%rows*inner + element%inner
		}
		fits, known, err := w.fits(w.plan, dest, moved[:1], s.found[:1]) // mostly enough
		if fits {
			fits, _, err = w.fits(w.plan, dest, moved, s.found)
		}
		if !known || err != nil {
			return "", err
		}
		if !fits {
			continue
		}
		m := moves[0]
		tail, front := m, m
		tail.View = m.View.Narrow(0, k, rows-k)
		front.View, front.Offset = m.View.Narrow(0, 0, k), m.Offset+(rows-k)*inner
		ok, err := w.holds(dest, []convert.Move{tail, front})
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
func (w *weights) describe(dest int) (string, error) {
	f := w.wrong[dest]
	switch {
	case f.Differing == f.Elements && f.Elements > 1:
		return "no element is right", nil
	case strings.HasPrefix(f.Got, "NaN"):
		return "it holds NaN", nil
	}
	return "", nil
}
