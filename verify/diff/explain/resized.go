package explain

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// rowSum is the digest of a row.
type rowSum = [sha256.Size]byte

// maxRows bounds the rows of a tensor whose digests are kept: vocabularies have some hundred thousand.
const maxRows = 1 << 21

// ResizedRows reports whether two tensors differ in the number of rows only, the length of the first axis, and perhaps in a
// dtype that the first can be cast to.
func ResizedRows(a, b *tensor.Tensor) bool {
	if _, err := tensor.NewCast(a.DType, b.DType); a.DType != b.DType && err != nil {
		return false
	}
	return a.DType.Size() > 0 && len(a.Shape) > 0 && len(a.Shape) == len(b.Shape) && a.Shape[0] != b.Shape[0] &&
		slices.Equal(a.Shape[1:], b.Shape[1:]) && a.Elements() > 0 && b.Elements() > 0 && max(a.Shape[0], b.Shape[0]) <= maxRows
}

// resized explains a tensor that has rows more or less, as an embedding has after tokens were added or removed: how many
// rows are the same, in b's dtype. It returns nil if fewer than half are.
func resized(ctx context.Context, a, b *tensor.Tensor) ([]Explanation, error) {
	x, err := rowDigests(ctx, a, b.DType)
	if err != nil {
		return nil, err
	}
	y, err := rowDigests(ctx, b, b.DType)
	if err != nil {
		return nil, err
	}
	shared := min(len(x), len(y))
	same := 0
	for i := range shared {
		if x[i] == y[i] {
			same++
		}
	}
	change := fmt.Sprintf("from %d to %d rows", len(x), len(y))
	switch kept, ordered := commonRows(x, y); {
	case same == shared:
		change += fmt.Sprintf(": the first %d are the same", shared)
	case len(y) < len(x) && kept == len(y):
		change += ": each is one of A's"
		if ordered {
			change += ", in the same order"
		}
	case 2*same >= shared:
		change += fmt.Sprintf(": of the first %d, %d are the same", shared, same)
	default:
		return nil, nil
	}
	if a.DType != b.DType && a.DType.Size() >= b.DType.Size() {
		change += ", rounded to " + b.DType.String()
	}
	return []Explanation{{Kind: Resized, Detail: change}}, nil
}

// commonRows returns how many of the rows y are among the rows x, and whether they are in the order of x.
func commonRows(x, y []rowSum) (n int, ordered bool) {
	at := make(map[rowSum]int, len(x))
	for i, sum := range x {
		if _, ok := at[sum]; !ok {
			at[sum] = i
		}
	}
	last, ordered := -1, true
	for _, sum := range y {
		i, ok := at[sum]
		if !ok {
			continue
		}
		n++
		ordered = ordered && i >= last
		last = i
	}
	return n, ordered
}

// rowDigests returns the digest of each row of a tensor, cast to a dtype: of the elements of one index of its first axis.
func rowDigests(ctx context.Context, t *tensor.Tensor, to tensor.DType) ([]rowSum, error) {
	r := rowHasher{size: t.Elements() / t.Shape[0] * to.Size(), sums: make([]rowSum, 0, t.Shape[0]), hash: sha256.New()}
	add := func(_ int64, p []byte) error {
		r.add(p)
		return nil
	}
	if t.DType != to {
		cast, err := tensor.NewCast(t.DType, to)
		if err != nil {
			return nil, annotate(t, err)
		}
		converted := make([]byte, min(pieceElements, t.Elements())*to.Size())
		add = func(_ int64, p []byte) error {
			q := converted[:int64(len(p))/t.DType.Size()*to.Size()]
			cast(q, p)
			r.add(q)
			return nil
		}
	}
	err := eachPiece(ctx, t, add)
	return r.sums, err
}

// rowHasher computes the digests of rows of a size.
type rowHasher struct {
	size, filled int64
	sums         []rowSum
	hash         hash.Hash
}

func (r *rowHasher) add(p []byte) {
	for len(p) > 0 {
		n := min(r.size-r.filled, int64(len(p)))
		r.hash.Write(p[:n])
		p = p[n:]
		if r.filled += n; r.filled == r.size {
			r.sums = append(r.sums, rowSum(r.hash.Sum(nil)))
			r.hash.Reset()
			r.filled = 0
		}
	}
}
