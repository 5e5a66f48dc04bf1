package dcp

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sort"

	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
)

// grid is how a tensor is cut into chunks.
type grid struct {
	shape  []int64
	chunks int
	boxes  []int64 // of each chunk the offsets, then the sizes; sorted

	arrangement *assemble.Arrangement // nil until the first tensor is opened
}

// perGrid is the memory in bytes that a grid takes besides its numbers.
const perGrid = 320

// memory returns the bytes that the numbers of the grid take, and what is made of them.
func (g *grid) memory() int64 {
	return 8*int64(len(g.shape)+len(g.boxes)) + 4*int64(g.chunks)
}

func (g *grid) add(b assemble.Box) {
	g.chunks++
	g.boxes = append(append(g.boxes, b.Offsets...), b.Sizes...)
}

// row returns the offsets and sizes of a chunk.
func (g *grid) row(i int) []int64 {
	n := 2 * len(g.shape)
	return g.boxes[n*i : n*(i+1) : n*(i+1)]
}

func (g *grid) box(i int) assemble.Box {
	row, rank := g.row(i), len(g.shape)
	return assemble.Box{Offsets: row[:rank:rank], Sizes: row[rank:]}
}

// find returns the first chunk whose offsets are not less than those.
func (g *grid) find(offsets []int64) int {
	return sort.Search(g.chunks, func(i int) bool { return slices.Compare(g.box(i).Offsets, offsets) >= 0 })
}

// Len implements sort.Interface.
func (g *grid) Len() int { return g.chunks }

// Less implements sort.Interface.
func (g *grid) Less(i, j int) bool { return slices.Compare(g.row(i), g.row(j)) < 0 }

// Swap implements sort.Interface.
func (g *grid) Swap(i, j int) {
	x, y := g.row(i), g.row(j)
	for k := range x {
		x[k], y[k] = y[k], x[k]
	}
}

// grids has one copy of each grid: the tensors of a model have few shapes, and those of one shape are cut alike.
type grids struct {
	seed  maphash.Seed
	known map[uint64][]*grid // by the hash of their numbers
}

func newGrids() grids { return grids{maphash.MakeSeed(), map[uint64][]*grid{}} }

// shared returns the copy of a grid, and the memory that it takes if it is new.
func (s *grids) shared(g *grid) (*grid, int64) {
	var hash maphash.Hash
	hash.SetSeed(s.seed)
	var number [8]byte
	for _, list := range [][]int64{g.shape, g.boxes} {
		for _, n := range list {
			binary.LittleEndian.PutUint64(number[:], uint64(n))
			hash.Write(number[:])
		}
	}
	key := hash.Sum64()
	for _, known := range s.known[key] {
		if known.chunks == g.chunks && slices.Equal(known.shape, g.shape) && slices.Equal(known.boxes, g.boxes) {
			return known, 0
		}
	}
	s.known[key] = append(s.known[key], g)
	return g, perGrid + g.memory()
}
