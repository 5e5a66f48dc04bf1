package stats

// Histogram counts finite values: Counts[i] of them lie from Edges[i] to below Edges[i+1], the last
// ones to Edges[i+1] itself. There is no bin where there is no finite value.
//
// Bins are equally wide. Of types of more than 16 bits each edge is the next value below that the
// upper 16 bits of a float32 tell from its neighbours, so that counts are exact without a second
// reading, and bins of a range that is narrow for its distance from 0 are fewer.
type Histogram struct {
	Edges  []Number `json:"edges"`
	Counts []int64  `json:"counts"`
}

// Bins is how many bins a histogram has at most.
const Bins = 40

// cell is how many values there are from low to below the next cell.
type cell struct {
	low float64
	n   int64
}

// edges divides a range into bins; snap moves an edge down to the beginning of a cell.
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

// fill puts cells, in ascending order, into the bins between edges.
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
