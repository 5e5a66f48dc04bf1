// Package movestest makes random lists of moves, together with what they have to give, for the tests
// of the packages that execute and check them.
package movestest

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// Maker makes a list of moves and the bytes of each destination, which it finds element by element.
type Maker struct {
	T    *testing.T
	Rand *rand.Rand // nil if nothing is to be random

	List moves.List
	Want [][]byte         // by index into List.Dests
	Lost []tensor.Written // the counts that Execute should report of each destination
}

// New returns a Maker of an empty list.
func New(t *testing.T, seed1, seed2 uint64) *Maker {
	return &Maker{T: t, Rand: rand.New(rand.NewPCG(seed1, seed2))}
}

// Bytes returns random bytes.
func (m *Maker) Bytes(n int64) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(m.Rand.Uint32())
	}
	return p
}

// source makes a tensor of that shape, and returns its elements in row-major order: a stream, or a
// view of a store such as those in torch files.
func (m *Maker) source(name string, d tensor.DType, shape []int64) (*tensor.Tensor, []byte) {
	t := &tensor.Tensor{Name: name, DType: d, Shape: shape}
	size := d.Size()
	if m.Rand.IntN(4) == 0 {
		content := m.Bytes(t.Bytes())
		t.Data = &tensortest.Stream{Content: content}
		return t, content
	}
	axes := m.Rand.Perm(len(shape)) // the order of the axes in the store
	if m.Rand.IntN(2) == 0 {
		slices.Sort(axes)
	}
	v := tensor.View{Shape: shape, Strides: make([]int64, len(shape)), Offset: m.Rand.Int64N(3)}
	step := int64(1)
	for i := len(axes) - 1; i >= 0; i-- {
		v.Strides[axes[i]] = step
		step *= shape[axes[i]] + m.Rand.Int64N(3)*m.Rand.Int64N(2)
	}
	_, end := v.Span()
	base := m.Rand.Int64N(9)
	store := m.Bytes(base + end*size)
	s := &tensor.Strided{Store: bytes.NewReader(store), Base: base, Length: end, DType: d, View: v, BigEndian: m.Rand.IntN(3) == 0}
	t.Data = s
	var content []byte
	tensortest.EachIndex(shape, func(index []int64) {
		e := bytes.Clone(store[base+v.At(index)*size:][:size])
		if s.BigEndian {
			tensor.SwapBytes(e, d.SwapUnit())
		}
		content = append(content, e...)
	})
	return t, content
}

// Dest adds a destination that moves from those views of the sources fill one after the other.
func (m *Maker) Dest(d tensor.DType, sources []*tensor.Tensor, contents [][]byte, views []tensor.View) {
	dest := moves.Dest{Name: fmt.Sprintf("dest.%d", len(m.List.Dests)), DType: d}
	var want []byte
	var total int64
	var lost tensor.Written
	divide := 0.0
	if rounds := []tensor.DType{tensor.F64, tensor.F32, tensor.BF16, tensor.F16}; slices.Contains(rounds, sources[0].DType) && d != tensor.F64 && m.Rand != nil && m.Rand.IntN(5) == 0 {
		divide = []float64{64, 50.5}[m.Rand.IntN(2)]
	}
	for i, v := range views {
		size := sources[i].DType.Size()
		m.List.Moves = append(m.List.Moves, moves.Move{Source: sources[i], View: v, Dest: len(m.List.Dests), Offset: total, Divide: divide})
		total += v.Elements()
		change := changeOf(m.T, sources[i].DType, d, divide)
		tensortest.EachIndex(v.Shape, func(index []int64) {
			e := contents[i][v.At(index)*size:][:size]
			if change != nil {
				out := make([]byte, d.Size())
				over, inexact := change(out, e)
				lost.Overflowed, lost.Inexact = lost.Overflowed+over, lost.Inexact+inexact
				if over > 0 {
					x := []float64{0}
					tensor.ValuesOf(sources[i].DType).Decode(x, e)
					lost.Largest = max(lost.Largest, math.Abs(x[0])/cmp.Or(divide, 1))
				}
				e = out
			}
			want = append(want, e...)
		})
	}
	dest.Shape = []int64{total}
	m.List.Dests = append(m.List.Dests, dest)
	m.Want = append(m.Want, want)
	m.Lost = append(m.Lost, lost)
}

// changeOf returns what is done to single elements, nil for nothing.
func changeOf(t *testing.T, from, to tensor.DType, by float64) tensor.Divide {
	t.Helper()
	if by != 0 {
		divide, err := tensor.NewDivide(from, to, by)
		if err != nil {
			t.Fatal(err)
		}
		return divide
	}
	if from == to {
		return nil
	}
	cast, err := tensor.NewCast(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return func(dst, src []byte) (int64, int64) { return cast(dst, src), 0 }
}

// Add adds one or two destinations of random types and shapes, filled from random sources.
func (m *Maker) Add() {
	rng := m.Rand
	types := [][2]tensor.DType{{tensor.BF16, tensor.BF16}, {tensor.F32, tensor.F32}, {tensor.F32, tensor.BF16}, {tensor.BF16, tensor.F32}, {tensor.F64, tensor.F16},
		{tensor.F8E4M3, tensor.F16}, {tensor.U8, tensor.U8}, {tensor.C128, tensor.C128}, {tensor.F64, tensor.F64}}[rng.IntN(9)]
	name := fmt.Sprintf("source.%d", len(m.List.Moves))
	switch rng.IntN(6) {
	case 5: // the same elements twice
		shape := []int64{1 + rng.Int64N(60), 1 + rng.Int64N(90)}
		s, content := m.source(name, types[0], shape)
		v := tensor.RowMajor(shape...)
		m.Dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{v})
		m.Dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{v.Permute(1, 0)})
	case 0: // any view
		shape := make([]int64, rng.IntN(5))
		for i := range shape {
			shape[i] = 1 + rng.Int64N(7)
		}
		s, content := m.source(name, types[0], shape)
		m.Dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{tensortest.RandomView(rng, shape)})
	case 1: // a matrix that is to be transposed
		shape := []int64{1 + rng.Int64N(150), 1 + rng.Int64N(150)}
		s, content := m.source(name, types[0], shape)
		m.Dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{tensor.RowMajor(shape...).Permute(1, 0)})
	case 2: // a stack of two that goes to two destinations
		shape := []int64{2, 1 + rng.Int64N(60), 1 + rng.Int64N(90)}
		s, content := m.source(name, types[0], shape)
		for i := range int64(2) {
			m.Dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{tensor.RowMajor(shape...).Index(0, i).Permute(1, 0)})
		}
	case 3: // two into one
		shape := []int64{1 + rng.Int64N(60), 1 + rng.Int64N(90)}
		a, contentA := m.source(name, types[0], shape)
		b, contentB := m.source(name+".b", types[0], shape)
		v := tensor.RowMajor(shape...).Permute(1, 0)
		m.Dest(types[1], []*tensor.Tensor{a, b}, [][]byte{contentA, contentB}, []tensor.View{v, v})
	case 4: // a plain copy
		shape := []int64{1 + rng.Int64N(5000)}
		s, content := m.source(name, types[0], shape)
		m.Dest(types[1], []*tensor.Tensor{s}, [][]byte{content}, []tensor.View{tensor.RowMajor(shape...)})
	}
}
