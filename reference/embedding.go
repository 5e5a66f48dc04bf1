package reference

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// embed returns the embeddings of tokens, the input of the first block:
//
//	x_t = E[token_t] · sqrt(width)
//
// where sqrt(width) is rounded to bfloat16 in every precision, as it was in training, or to the type in which E is stored, as some
// implementations do. Models without Config.EmbeddingScale omit the factor.
func (e *engine[T]) embed(tokens []int32) ([]T, error) {
	c := e.config
	p, err := e.weights.Parameter(Outer, Embedding)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.check([]int{c.VocabSize, c.Width}); err != nil {
		return nil, annotate(Outer, Embedding, err)
	}
	if p.InOut {
		return nil, annotate(Outer, Embedding, errors.New("matrix is stored as [width, vocabulary], want [vocabulary, width]"))
	}
	scale := T(1)
	if c.EmbeddingScale {
		scale = T(e.semantics.EmbeddingScale(c.Width, p.DType))
	}
	x := make([]T, len(tokens)*c.Width)
	order := make([]int, len(tokens)) // by token, so that the matrix is read from front to back and each row once
	for t := range order {
		order[t] = t
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(tokens[a], tokens[b]), a-b) })
	var buf []byte
	for i, t := range order {
		row := x[t*c.Width:][:c.Width]
		if i > 0 && tokens[order[i-1]] == tokens[t] {
			copy(row, x[order[i-1]*c.Width:])
			continue
		}
		raw, err := p.read(int(tokens[t])*c.Width, c.Width, buf)
		if err != nil {
			return nil, annotate(Outer, Embedding, err)
		}
		if !p.inMemory() {
			buf = raw
		}
		kernel.Widen(row, p.DType, raw)
		for i := range row {
			row[i] = e.round(e.round(row[i]) * scale)
		}
	}
	return x, nil
}

// EmbeddingScale returns the factor by which an implementation multiplies embeddings that are stored in a type: sqrt(width), rounded
// to bfloat16 or, by some implementations, to that type.
func (s Semantics) EmbeddingScale(width int, stored tensor.DType) float64 {
	digits := 8 // of a mantissa of bfloat16
	if s == MLX || s == Candle {
		digits = map[tensor.DType]int{tensor.BF16: 8, tensor.F16: 11}[stored]
	}
	root := math.Sqrt(float64(width))
	if digits == 0 {
		return float64(float32(root))
	}
	mantissa, exponent := math.Frexp(root)
	return math.Ldexp(math.RoundToEven(math.Ldexp(mantissa, digits)), exponent-digits)
}

// logits returns the scores of the next token for each of the n rows x of the final norm's output:
//
//	logits = cap · tanh(x·Eᵀ / cap)
//
// In the original and mlx-lm a cap of 0 means that there is none. The others divide by it, so that all
// logits are 0.
func (e *engine[T]) logits(x []T, n int, semantics Semantics) ([]T, error) {
	c := e.config
	y := make([]T, n*c.VocabSize)
	if err := e.multiply(y, x, n, Outer, c.headName(), c.Width, c.VocabSize); err != nil {
		return nil, err
	}
	e.finish(y, c.VocabSize, nil)
	e.softCap(y, semantics)
	return y, nil
}

// partBytes is the approximate size of the logits that are in memory at a time in a Transient pass. Tests change it.
var partBytes = 16 << 20

// logitsInParts computes the logits for each row x of the final norm's output, and shows them in ranges of the
// vocabulary: as many outputs at a time as have partBytes of logits, and whole pieces of the matrix.
func (e *engine[T]) logitsInParts(x []T, p *Pass, semantics Semantics) error {
	c, n := e.config, len(p.Tokens)
	o, err := e.open(request{Outer, c.headName(), []int{c.VocabSize, c.Width}, false})
	if err != nil {
		return err
	}
	defer o.close()
	e.packRows(x, n, c.Width)
	rows := c.VocabSize
	if !o.InOut { // otherwise a piece has terms of all outputs
		piece := o.pieceElements(c.VocabSize, c.Width, e.blockTerms) / c.Width
		rows = min(max(partBytes/(n*int(unsafe.Sizeof(x[0])))/piece, 1)*piece, c.VocabSize)
	}
	buffer := e.take(n * rows)
	for first := 0; first < c.VocabSize; first += rows {
		outs := min(rows, c.VocabSize-first)
		y := buffer[:n*outs]
		if first > 0 {
			e.ranges(len(y), 1, func(from, to int) { clear(y[from:to]) })
		}
		if err := e.multiplyPieces(y, n, o, c.Width, outs); err != nil {
			return err
		}
		e.finish(y, outs, nil)
		e.softCap(y, semantics)
		if err := observeFrom(p, Logits, 0, first, y); err != nil {
			return err
		}
	}
	return nil
}

// softCap bounds the logits.
func (e *engine[T]) softCap(y []T, semantics Semantics) {
	c := e.config
	if c.LogitsSoftCap == 0 && !semantics.DividesByCap() {
		return
	}
	softCap := e.constant(c.LogitsSoftCap)
	e.ranges(len(y), functionCost, func(from, to int) {
		part := y[from:to]
		if part, ok := e.inFloat32(part); ok {
			kernel.SoftCap(part, part, float32(softCap))
			return
		}
		for i := range part {
			part[i] = e.step(part[i] / softCap)
		}
		tanhAll(part)
		for i := range part {
			part[i] = e.round(e.step(part[i]) * softCap)
		}
	})
}
