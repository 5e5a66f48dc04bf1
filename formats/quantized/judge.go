package quantized

import (
	"context"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Judgement is how far a dequantised matrix is from the original.
type Judgement struct {
	// Error is the L2 distance from the original relative to the original's length: ‖copy - original‖ / ‖original‖.
	Error float64
	// Least is the least such distance that the scheme allows. For each block it takes the better of two scales, that of
	// the copy and that which the scheme's own writer computes from the original, and the nearest code for each element.
	Least float64
	// Blocks is the number of blocks that share a scale. Far is how many of them are farther from the original than their
	// scheme explains: by several times the least error, or more than zeros would be.
	Blocks, Far int64

	slack float64 // an Error that is not bad, whatever the least is
}

// Ratio returns how many times Least Error is: 1 for a copy that could not be better.
func (j *Judgement) Ratio() float64 {
	switch {
	case j.Error == j.Least:
		return 1
	case j.Least == 0:
		return math.Inf(1)
	}
	return j.Error / j.Least
}

// A matrix that its library quantised has a Ratio of 1, up to 1.21 (MLX, 8 bits, bfloat16: the codes are chosen before the scales are
// rounded), and rounding the original to bfloat16 before adds less than 0.1. Single blocks have up to 2.8 times the least error.
const (
	goodRatio = 1.5
	goodBlock = 4.0
)

// Good reports whether the copy is about as close to the original as its scheme allows, in all blocks. Otherwise it was quantised
// badly, is damaged, or is a copy of something else.
func (j *Judgement) Good() bool {
	return j.Far == 0 && (j.Ratio() <= goodRatio || j.Error <= j.slack)
}

// maxBand is the most elements of the original that are in memory at once, and the most blocks.
const maxBand = 2 << 20

// Judge compares a quantised matrix with the original, which has the same shape. It reads the original once, or twice if the
// elements that share a scale do not fit into memory.
func (w *Weight) Judge(ctx context.Context, original *tensor.Tensor) (*Judgement, error) {
	values := tensor.ValuesOf(original.DType)
	if !slices.Equal(original.Shape, w.Tensor.Shape) || values.Lanes != 1 || original.DType.Size() == 0 {
		return nil, tensor.Bad("%s %s, and its original is %s %s", w.Tensor.DType, tensor.ShapeString(w.Tensor.Shape), original.DType, tensor.ShapeString(original.Shape)).Of(w.Tensor.Name)
	}
	j := &judge{w: w, original: tensor.NewCursor(original), dtype: original.DType, decode: values, copy: newPanels(w), levels: sortedLevels(w.rule.levels)}
	defer j.original.Close()
	defer j.copy.Close()
	if err := j.run(ctx); err != nil {
		return nil, err
	}
	length := math.Sqrt(j.length)
	relative := func(square float64) float64 {
		if square == 0 {
			return 0
		}
		return math.Sqrt(square) / length
	}
	return &Judgement{relative(j.error), relative(min(j.least, j.error)), j.blocks, j.far, w.rule.slack()}, nil
}

// judge is one comparison.
type judge struct {
	w        *Weight
	original *tensor.Cursor
	dtype    tensor.DType
	decode   tensor.Values
	copy     *panels
	levels   []float64 // ascending

	raw    []byte
	wide   []float64
	memory []float64
	held   []float64   // memory that has the elements of the band; nil if they do not fit
	sums   []blockSums // of the blocks of a band
	error  float64     // sums over all elements
	least  float64
	// length is the sum of the squares of the original.
	length      float64
	blocks, far int64
}

// blockSums are what is known about the block with a scale.
type blockSums struct {
	low, high    float64 // of the original
	scale, bias  float64 // of the scheme's own writer
	length       float64 // squares of the original
	error        float64 // squares of the distances: of the copy,
	stored, best float64 // of the nearest codes with the copy's scale, and with the writer's
}

// band is a part of a matrix that has whole blocks: rows, or columns of one row.
type band struct{ row, rows, col, cols int64 }

// run compares band by band.
func (j *judge) run(ctx context.Context) error {
	g := j.w.rule.grid
	if g.cols == 0 {
		return nil
	}
	for b := (band{}); b.row < g.rows; b.row += b.rows {
		b.rows = min(max(maxBand/8/(g.blockRows*g.cols), 1)*g.blockRows, g.rows-b.row)
		for b.col = 0; b.col < g.cols; b.col += b.cols {
			b.cols = g.cols - b.col
			if b.rows == 1 {
				b.cols = min(b.cols, max(maxBand/8/g.blockCols, 1)*g.blockCols)
			}
			if err := j.band(ctx, b); err != nil {
				return tensor.Annotate(err, tensor.Location{Tensor: j.w.Tensor.Name})
			}
		}
	}
	return nil
}

// band compares one band. Its elements are read once if they fit into memory, otherwise twice.
func (j *judge) band(ctx context.Context, b band) error {
	g := j.w.rule.grid
	across := (b.cols + g.blockCols - 1) / g.blockCols
	blocks := (b.rows + g.blockRows - 1) / g.blockRows * across
	if blocks > maxBand {
		return tensor.Bad("%d scales side by side, too many to judge", blocks)
	}
	if int64(cap(j.sums)) < blocks {
		j.sums = make([]blockSums, blocks)
	}
	j.sums = j.sums[:blocks]
	for i := range j.sums {
		j.sums[i] = blockSums{low: math.Inf(1), high: math.Inf(-1)}
	}
	j.held = nil
	if n := b.rows * b.cols; n <= maxBand {
		if int64(cap(j.memory)) < n {
			j.memory = make([]float64, n)
		}
		j.held = j.memory[:n]
	}
	for pass, do := range []func(x []float64, at, block int64) error{j.extremes, j.distances} {
		if err := j.pass(ctx, b, across, pass == 0, do); err != nil {
			return err
		}
		for i := range j.sums {
			s := &j.sums[i]
			if pass == 0 {
				s.scale, s.bias = j.w.rule.best(s.low, s.high)
				s.scale, s.bias = j.stored(s.scale), j.stored(s.bias)
				continue
			}
			j.add(s)
		}
	}
	return nil
}

// add adds up what is known of a block.
func (j *judge) add(s *blockSums) {
	least := min(s.error, s.stored, s.best)
	j.length, j.error, j.least = j.length+s.length, j.error+s.error, j.least+least
	j.blocks++
	slack := j.w.rule.slack()
	if s.error > slack*slack*s.length && (s.error > goodBlock*goodBlock*least || s.error > s.length && s.error > 2*least) || s.error != s.error {
		j.far++
	}
}

// slack returns a relative error that does not count: float32 is rounded in other ways, and scales that are quantised differ
// by a few percent, also where all elements of a block are the same and its least error is 0.
func (r *rule) slack() float64 {
	if _, ok := r.scales.(*double); ok {
		return 0.03
	}
	return 1e-6
}

// pass calls do for ranges of single rows of a band, with the number of the block in which each begins.
func (j *judge) pass(ctx context.Context, b band, across int64, first bool, do func(x []float64, at, block int64) error) error {
	g := j.w.rule.grid
	for r := range b.rows {
		for c := int64(0); c < b.cols; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(panelElements, b.cols-c)
			at := (b.row+r)*g.cols + b.col + c
			x := j.held
			if x != nil {
				x = x[r*b.cols+c:][:n]
			}
			if first || x == nil {
				var err error
				if x, err = j.read(x, at, n); err != nil {
					return err
				}
			}
			if err := do(x, at, r/g.blockRows*across+c/g.blockCols); err != nil {
				return err
			}
			c += n
		}
	}
	return nil
}

// stored rounds a scale to the dtype in which the copy has its scales.
func (j *judge) stored(x float64) float64 {
	if p, ok := j.w.rule.scales.(plain); ok && p.t.DType != tensor.F8E8M0 {
		return float64(narrow(float32(x), p.t.DType))
	}
	return float64(float32(x))
}

// read reads elements of the original, to x unless it is nil.
func (j *judge) read(x []float64, at, n int64) ([]float64, error) {
	size := j.dtype.Size()
	if j.raw == nil {
		j.raw, j.wide = make([]byte, panelElements*size), make([]float64, panelElements)
	}
	if x == nil {
		x = j.wide[:n]
	}
	raw := j.raw[:n*size]
	if _, err := j.original.ReadAt(raw, at*size); err != nil {
		return nil, err
	}
	j.decode.Decode(x, raw)
	return x, nil
}

// each calls do for the parts of a range of one row that are in one block.
func (j *judge) each(at, n int64, do func(from, to int64)) {
	g := j.w.rule.grid
	for i := int64(0); i < n; {
		end := min(n, i+g.blockCols-(at+i)%g.cols%g.blockCols)
		do(i, end)
		i = end
	}
}

// extremes finds the least and the greatest element of each block.
func (j *judge) extremes(x []float64, at, block int64) error {
	j.each(at, int64(len(x)), func(from, to int64) {
		s := &j.sums[block]
		for _, v := range x[from:to] {
			s.low, s.high = min(s.low, v), max(s.high, v)
		}
		block++
	})
	return nil
}

// distances adds up the squares of the distances of a range.
func (j *judge) distances(x []float64, at, block int64) error {
	n := int64(len(x))
	values, err := j.copy.read(at, n)
	if err != nil {
		return err
	}
	r, to := j.w.rule, j.w.Tensor.DType
	low, high := r.grid.span(at, n)
	scales, err := j.copy.scales.read(low, high-low)
	if err != nil {
		return err
	}
	biases := make([]float32, len(scales))
	if j.copy.biases != nil {
		if biases, err = j.copy.biases.read(low, high-low); err != nil {
			return err
		}
	}
	index := 0
	j.each(at, n, func(from, end int64) {
		s := &j.sums[block]
		own, writers := j.line(float64(scales[index]), float64(biases[index])), j.line(s.scale, s.bias)
		for i := from; i < end; i++ {
			v := x[i]
			s.length += v * v
			s.error += square(float64(narrow(values[i], to)) - v)
			nearest := square(own.nearest(v) - v)
			s.stored += nearest
			if writers != own {
				nearest = square(writers.nearest(v) - v)
			}
			s.best += nearest
		}
		block++
		index++
	})
	return nil
}

func square(x float64) float64 { return x * x }

// line is the elements that a block can have.
type line struct {
	j           *judge
	scale, bias float32
	unit        float64 // of the levels
}

func (j *judge) line(scale, bias float64) line {
	l := line{j, float32(scale), float32(bias), scale}
	if f := j.w.rule.factor; f != 0 {
		l.unit *= float64(f)
	}
	return l
}

// nearest returns the element nearest to a value.
func (l line) nearest(v float64) float64 {
	level := 0.0
	if x := (v - float64(l.bias)) / l.unit; x == x && l.unit != 0 {
		level = closest(l.j.levels, x)
	}
	to := l.j.w.Tensor.DType
	return float64(narrow(l.j.w.rule.value(float32(level), l.scale, l.bias, to), to))
}

// closest returns the entry of an ascending list that is closest to x.
func closest(levels []float64, x float64) float64 {
	low, high := 0, len(levels)-1
	for high-low > 1 {
		if middle := (low + high) / 2; levels[middle] <= x {
			low = middle
		} else {
			high = middle
		}
	}
	if x-levels[low] <= levels[high]-x {
		return levels[low]
	}
	return levels[high]
}

// sortedLevels returns the finite levels in ascending order, each once.
func sortedLevels(levels []float32) []float64 {
	var out []float64
	for _, x := range levels {
		if x-x == 0 {
			out = append(out, float64(x))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
