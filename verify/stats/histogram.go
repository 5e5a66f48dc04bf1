package stats

import "github.com/griffin-ckpt/griffin/formats/tensor"

// Histogram counts finite values: Counts[i] of them lie in [Edges[i], Edges[i+1]), the last bin includes its upper edge.
// There are no bins if no value is finite.
//
// Bins are equally wide. For dtypes of more than 16 bits each edge is moved down to a value that the upper 16 bits of a
// float32 represent, so that counts are exact without a second reading. A range that is narrow for its distance from 0
// therefore has fewer bins.
type Histogram struct {
	Edges  []Number `json:"edges"`
	Counts []int64  `json:"counts"`
}

// Bins is the largest number of bins.
const Bins = 40

// cell counts the values from low up to the next cell.
type cell struct {
	low float64
	n   int64
}

// edgesOf divides the range of values of a dtype into bins.
func edgesOf(d tensor.DType, low, high float64) []Number {
	if countsCodes(d) {
		return edges(low, high, func(x float64) float64 { return x })
	}
	return edges(low, high, func(x float64) float64 { return lowest(order(x)) })
}

// edges divides a range into bins; snap moves an edge down to the lower end of its cell.
func edges(low, high float64, snap func(float64) float64) []Number {
	out := []Number{Number(low)}
	for k := 1; k < Bins; k++ {
		part := float64(k) / Bins
		edge := snap(low*(1-part) + high*part)
		if edge > float64(out[len(out)-1]) && edge < high {
			out = append(out, Number(edge))
		}
	}
	return append(out, Number(high))
}

// fill counts cells, which are in ascending order, in the bins between edges.
func fill(edges []Number, cells []cell) Histogram {
	h := Histogram{Edges: edges, Counts: make([]int64, len(edges)-1)}
	bin := 0
	for _, c := range cells {
		for bin+1 < len(h.Counts) && c.low >= float64(edges[bin+1]) {
			bin++
		}
		h.Counts[bin] += c.n
	}
	return h
}
