package explain

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// class is the tensors of A of one shape that are comparable with each other. There may be as many as the
// checkpoint has, as in a mixture of experts, so that a tensor of B is not compared with the sample of each: signatures
// of a few bytes tell which are worth that.
type class struct {
	once  sync.Once
	err   error
	pairs []*Pair
	known []signature // of the tensors of pairs in A
	bySum []int32     // indexes of pairs, sorted by signature.sum
}

// Bounds on the work for one tensor, so that the work for all is linear in their number.
const (
	maxEqual = 64   // tensors with one sample that are known
	maxNear  = 16   // samples that are looked at, besides those that are equal
	reach    = 4096 // how far on either side, in the order of the checkpoint, changed copies are looked for
)

// classOf returns the class of a tensor of B.
func (x *Explainer) classOf(ctx context.Context, t *tensor.Tensor) (*class, error) {
	key := classKey(t)
	x.mu.Lock()
	c := x.classes[key]
	if c == nil {
		c = &class{}
		x.classes[key] = c
	}
	x.mu.Unlock()
	c.once.Do(func() { c.err = c.fill(ctx, x.pairs, key) })
	return c, c.err
}

// classKey is the same for tensors of one shape that are comparable.
func classKey(t *tensor.Tensor) string {
	if isFloat(t.DType) {
		return fmt.Sprint("float", t.Shape)
	}
	return fmt.Sprint(t.DType, t.Shape)
}

func (c *class) fill(ctx context.Context, all []*Pair, key string) error {
	for _, q := range all {
		if q.A == nil || classKey(q.A) != key {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		codes, err := readLeading(addressable(q.cast()))
		if err != nil {
			return err
		}
		c.bySum = append(c.bySum, int32(len(c.pairs)))
		c.pairs, c.known = append(c.pairs, q), append(c.known, signatureOf(addressable(q.cast()), codes))
	}
	slices.SortFunc(c.bySum, func(i, j int32) int { return cmp.Or(cmp.Compare(c.known[i].sum, c.known[j].sum), cmp.Compare(i, j)) })
	return nil
}

// equal returns the indexes of the first few pairs with a signature.sum, ascending.
func (c *class) equal(sum uint64) []int32 {
	first, _ := slices.BinarySearchFunc(c.bySum, sum, func(i int32, sum uint64) int { return cmp.Compare(c.known[i].sum, sum) })
	end := first
	for end < len(c.bySum) && end < first+maxEqual && c.known[c.bySum[end]].sum == sum {
		end++
	}
	return c.bySum[first:end]
}

// indexOf returns the index of a pair, or 0 if the class does not have it.
func (c *class) indexOf(p *Pair) int {
	if at, ok := slices.BinarySearchFunc(c.pairs, p, func(q, p *Pair) int { return cmp.Compare(q.at, p.at) }); ok {
		return at
	}
	return 0
}

// near returns the pairs, other than p, whose tensor in A may have the elements that s is the signature of or, if
// changed is set, elements that one operation turns into these.
func (c *class) near(p *Pair, s signature, changed bool) []*Pair {
	var found []*Pair
	for _, i := range c.equal(s.sum) {
		if c.pairs[i] != p {
			found = append(found, c.pairs[i])
		}
	}
	if !changed {
		return found
	}
	at := c.indexOf(p)
	for i, left := max(at-reach, 0), maxNear; i < min(at+reach, len(c.pairs)) && left > 0; i++ {
		if q := &c.known[i]; c.pairs[i] != p && q.sum != s.sum && s.like(q) {
			found = append(found, c.pairs[i])
			left--
		}
	}
	return found
}

// signature is what is kept of the sample of a tensor.
type signature struct {
	sum    uint64    // of the whole sample
	angle  uint64    // on which side of some planes the sample lies, apart from its mean; see planes
	single [8]uint16 // digests of single elements
	narrow bool      // the sample is small, so that many lie on the same side by chance
}

// like reports whether samples may agree in nearly all elements, or one may be computed from the other.
func (s *signature) like(q *signature) bool {
	most := 12
	if s.narrow {
		most = 4
	}
	if d := bits.OnesCount64(s.angle ^ q.angle); d <= most || d >= 64-most {
		return true
	}
	same := 0
	for i, d := range s.single {
		if d == q.single[i] {
			same++
		}
	}
	return same >= 4
}

// seed is that of digests within one process.
var seed = maphash.MakeSeed()

// planes are normals of 64 planes in the space of samples. Samples that point in nearly the same direction, as one and
// its multiple do, lie on the same side of nearly all of them (Charikar, "Similarity estimation techniques from rounding
// algorithms", 2002).
var planes = sync.OnceValue(func() *[maxSample][64]float32 {
	rng := rand.New(rand.NewPCG(11, 64))
	var p [maxSample][64]float32
	for i := range p {
		for k := range p[i] {
			p[i][k] = float32(rng.NormFloat64())
		}
	}
	return &p
})

func signatureOf(t *tensor.Tensor, codes []uint64) signature {
	s := signature{narrow: len(codes) < 64}
	raw := make([]byte, 0, 8*maxSample)
	for _, c := range codes {
		raw = binary.LittleEndian.AppendUint64(raw, c)
	}
	s.sum = maphash.Bytes(seed, raw)
	for i := range s.single {
		if len(codes) > 0 {
			s.single[i] = uint16(digest(codes[(2*i+1)*len(codes)/(2*len(s.single))]) >> 48)
		}
	}
	if !isFloat(t.DType) {
		return s
	}
	var values [maxSample]float32
	sum, n := 0.0, 0
	for _, c := range codes {
		if v := valueOf(c); v-v == 0 && math.Abs(v) < math.MaxFloat32 {
			sum += v
			n++
		}
	}
	mean := sum / float64(max(n, 1))
	for i, c := range codes {
		if v := valueOf(c); v-v == 0 && math.Abs(v) < math.MaxFloat32 {
			values[i] = float32(v - mean)
		}
	}
	var side [64]float32
	normals := planes()
	for i := range codes {
		if v := values[i]; v != 0 {
			for k, x := range &normals[i] {
				side[k] += v * x
			}
		}
	}
	for k, x := range side {
		if x > 0 {
			s.angle |= 1 << k
		}
	}
	return s
}
