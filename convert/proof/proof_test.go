package proof

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/internal/movestest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// provable reports whether all conversions of a list can be proven.
func provable(m *movestest.Maker) bool {
	for _, move := range m.List.Moves {
		if move.Source.DType == tensor.F8E4M3 {
			return false
		}
	}
	return true
}

// written returns a checkpoint whose tensors have those bytes.
func written(m *movestest.Maker, contents [][]byte) *tensor.Checkpoint {
	var all []*tensor.Tensor
	for i, d := range m.List.Dests {
		all = append(all, tensortest.Stored(d.Name, d.DType, d.Shape, contents[i]))
	}
	c, err := tensor.NewCheckpoint("written", "test", all)
	if err != nil {
		m.T.Fatal(err)
	}
	return c
}

// Correct checkpoints are proven, and the digests of all tensors are right. One changed bit is found,
// with its index.
func TestProveRandomPlans(t *testing.T) {
	for round := range uint64(150) {
		rng := rand.New(rand.NewPCG(8, round))
		m := &movestest.Maker{T: t, Rand: rng}
		for range 1 + rng.IntN(5) {
			m.Add()
		}
		if !provable(m) {
			continue
		}
		a := []digest.Algorithms{digest.BLAKE3, digest.SHA256, digest.BLAKE3 | digest.SHA256}[round%3]
		block := []int{64, 3000, 40_000, 1 << 20}[round%4]
		v := newProver(m.List, written(m, m.Want), Options{AllowOverflow: true})
		v.blockSize = max(block, 16)
		proof, err := v.run(t.Context())
		if err != nil || proof.Failures.Len() > 0 {
			t.Fatalf("round %d: %+v, %v", round, proof, err)
		}
		proof, err = Prove(t.Context(), m.List, written(m, m.Want), Options{Sources: a, Dests: a, AllowOverflow: true})
		if err != nil || proof.Failures.Len() > 0 {
			t.Fatalf("round %d: %+v, %v", round, proof, err)
		}
		checkDigests(t, m, a, proof.Digests, m.Want)

		broken, dest, element := breakOne(m)
		if broken == nil {
			continue
		}
		v = newProver(m.List, written(m, broken), Options{AllowOverflow: true})
		v.blockSize = max(block, 16)
		if proof, err = v.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if proof.Failures.Len() != 1 || proof.Failures.At(0).Tensor != m.List.Dests[dest].Name || proof.Failures.At(0).Differing != 1 ||
			!slices.Equal(proof.Failures.At(0).Index, []int64{element}) {
			t.Fatalf("round %d: element %d of %s was changed, the proof says %+v", round, element, m.List.Dests[dest].Name, proof.Failures)
		}
		proof, err = Prove(t.Context(), m.List, written(m, broken), Options{Sources: a, Dests: a})
		if err != nil {
			t.Fatal(err)
		}
		checkDigests(t, m, a, proof.Digests, broken)
	}
}

// breakOne changes one bit of one element, so that the element is wrong even if it was rounded.
func breakOne(m *movestest.Maker) (contents [][]byte, dest int, element int64) {
	for range 50 {
		dest = m.Rand.IntN(len(m.Want))
		size := m.List.Dests[dest].DType.Size()
		if len(m.Want[dest]) == 0 {
			continue
		}
		at := m.Rand.IntN(len(m.Want[dest]))
		element = int64(at) / size
		contents = slices.Clone(m.Want)
		contents[dest] = bytes.Clone(contents[dest])
		contents[dest][at] ^= 1 << m.Rand.IntN(8)
		for _, move := range m.List.Moves {
			if move.Dest == dest && (move.Divide != 0 || move.Source.DType != m.List.Dests[dest].DType) {
				was, is := binaryFormats[m.List.Dests[dest].DType].value(m.Want[dest][element*size:]), binaryFormats[m.List.Dests[dest].DType].value(contents[dest][element*size:])
				if math.IsNaN(was) && math.IsNaN(is) {
					contents = nil // after rounding, any NaN is right
				}
			}
		}
		if contents != nil {
			return contents, dest, element
		}
	}
	return nil, 0, 0
}

func checkDigests(t *testing.T, m *movestest.Maker, a digest.Algorithms, d *moves.Digests, written [][]byte) {
	t.Helper()
	for i, content := range written {
		if want := digest.Of(a, content); d.Dest(i) != want {
			t.Errorf("%s: wrong digest", m.List.Dests[i].Name)
		}
	}
	for _, move := range m.List.Moves {
		got, _ := d.Source(move.Source)
		if want, err := tensor.Digest(t.Context(), move.Source, a); err != nil || got != want {
			t.Errorf("%s: wrong digest (%v)", move.Source.Name, err)
		}
	}
}

func TestIsTransposed(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 3000 {
		size := []int{1, 2, 4, 8}[rng.IntN(4)]
		rows, cols := 1+rng.IntN(40), 1+rng.IntN(40)
		srcPitch, dstPitch := cols*size+rng.IntN(20), rows*size+rng.IntN(20)
		src, dst := make([]byte, rows*srcPitch), make([]byte, cols*dstPitch)
		for i := range src {
			src[i] = byte(rng.Uint32())
		}
		for r := range rows {
			for c := range cols {
				copy(dst[c*dstPitch+r*size:], src[r*srcPitch+c*size:][:size])
			}
		}
		if !isTransposed(dst, dstPitch, src, srcPitch, rows, cols, size) {
			t.Fatalf("%dx%d of %d bytes: not found to be its transpose", rows, cols, size)
		}
		r, c, b := rng.IntN(rows), rng.IntN(cols), rng.IntN(size)
		dst[c*dstPitch+r*size+b] ^= 1 << rng.IntN(8)
		if isTransposed(dst, dstPitch, src, srcPitch, rows, cols, size) {
			t.Fatalf("%dx%d of %d bytes: a change in row %d, column %d was not seen", rows, cols, size, r, c)
		}
	}
}

// The table of intervals agrees with the definition at every boundary.
func TestRoundingIntervals(t *testing.T) {
	for i, to := range []tensor.DType{tensor.BF16, tensor.F16, tensor.BF16} {
		divisor := []float64{0, 0, 50.5}[i]
		r, err := newRounding(tensor.F64, to, divisor)
		if err != nil {
			t.Fatal(err)
		}
		for code := range 1 << 16 {
			var w [2]byte
			binary.LittleEndian.PutUint16(w[:], uint16(code))
			y := r.target.value(w[:])
			if math.IsNaN(y) || math.IsInf(y, 0) {
				continue
			}
			below, above := r.target.halves(math.Abs(y))
			for _, edge := range []float64{below * r.divisor, above * r.divisor} {
				for _, x := range []float64{math.Nextafter(edge, -1), edge, math.Nextafter(edge, math.Inf(1))} {
					var s [8]byte
					binary.LittleEndian.PutUint64(s[:], math.Float64bits(math.Copysign(x, y)))
					one, _ := r.holds(s[:], w[:])
					if x >= 0 && r.allHold(s[:], 8, w[:]) != one {
						t.Fatalf("%v as %s %v: the definition says %t", x, to, y, one)
					}
				}
			}
		}
	}
}

// A quotient in float32 that allHold accepts is right by the definition, and it accepts most of them.
func TestProveDividedFloat32(t *testing.T) {
	r, err := newRounding(tensor.F32, tensor.F32, 50.5)
	if err != nil {
		t.Fatal(err)
	}
	divide, err := tensor.NewDivide(tensor.F32, tensor.F32, 50.5)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	fast := 0
	for range 20000 {
		var s, w [4]byte
		binary.LittleEndian.PutUint32(s[:], rng.Uint32())
		divide(w[:], s[:])
		if one, _ := r.holds(s[:], w[:]); !one {
			t.Fatalf("%x divided is %x, which the definition denies", s, w)
		}
		if r.allHold(s[:], 4, w[:]) {
			fast++
		}
		w[0] ^= 1
		one, _ := r.holds(s[:], w[:])
		if nan := math.IsNaN(r.source.value(s[:])); one && !nan || r.allHold(s[:], 4, w[:]) {
			t.Fatalf("%x divided is not %x", s, w)
		}
	}
	if fast < 18000 {
		t.Errorf("only %d of 20000 are judged fast", fast)
	}
}

// A finite element that became infinite is counted, and is a failure unless it is allowed.
func TestProveCountsOverflow(t *testing.T) {
	source := make([]byte, 12)
	binary.LittleEndian.PutUint32(source[4:], math.Float32bits(1e30))
	s := &tensor.Tensor{Name: "s", DType: tensor.F32, Shape: []int64{3}, Data: &tensortest.Stream{Content: source}}
	m := &movestest.Maker{T: t}
	m.Dest(tensor.F16, []*tensor.Tensor{s}, [][]byte{source}, []tensor.View{tensor.RowMajor(3)})
	for allowed, failures := range map[bool]int{true: 0, false: 1} {
		proof, err := Prove(t.Context(), m.List, written(m, m.Want), Options{AllowOverflow: allowed})
		if err != nil || proof.Failures.Len() != failures || proof.Rounded != 3 || proof.Overflowed != 1 {
			t.Fatalf("allowed %t: %+v, %v", allowed, proof, err)
		}
		for _, f := range proof.Failures.All() {
			if f.Overflowed != 1 || f.Describe() != "differs in 1 element; the first, [1], is +Inf (0x7c00) instead of 1.0000000150474662e+30 (0x7149f2ca) (from s)" {
				t.Errorf("%s", f.Describe())
			}
		}
	}
}

// Changed tells whether an element has another value than in the source, however its tensor is laid out, and be it the last one.
func TestProveChanged(t *testing.T) {
	const rows, columns = 40, 50
	for _, view := range []tensor.View{tensor.RowMajor(rows, columns), tensor.RowMajor(rows, columns).Permute(1, 0)} {
		for _, to := range []tensor.DType{tensor.BF16, tensor.F16} {
			for at, tt := range map[int]struct {
				value   float32
				changed bool
			}{0: {1.5, false}, 1: {float32(math.NaN()), false}, 2: {float32(math.Inf(-1)), false}, 3: {1.0001, true}, 99: {1e-30, true}, rows*columns - 1: {1 + 0x1p-12, true}} {
				source := make([]byte, 4*rows*columns)
				binary.LittleEndian.PutUint32(source[4*at:], math.Float32bits(tt.value))
				s := &tensor.Tensor{Name: "s", DType: tensor.F32, Shape: []int64{rows, columns}, Data: &tensortest.Stream{Content: source}}
				m := &movestest.Maker{T: t}
				m.Dest(to, []*tensor.Tensor{s}, [][]byte{source}, []tensor.View{view})
				proof, err := Prove(t.Context(), m.List, written(m, m.Want), Options{})
				if err != nil || proof.Failures.Len() != 0 || proof.Rounded != rows*columns || proof.Changed != tt.changed {
					t.Errorf("%s, %g at %d: changed %t, %v", to, tt.value, at, proof.Changed, err)
				}
			}
		}
	}
}

// The checksum of a source is computed from what is read if all of it is read in order, and checked in
// any case.
func TestProveChecksOnItsWay(t *testing.T) {
	shape := []int64{2, 30, 50}
	half := func(i int64) tensor.View { return tensor.RowMajor(shape...).Index(0, i).Permute(1, 0) }
	for _, tt := range []struct {
		name  string
		views []tensor.View
		onWay bool
	}{
		{"copy", []tensor.View{tensor.RowMajor(shape...)}, true},
		{"two transposes", []tensor.View{half(0), half(1)}, true},
		{"one half", []tensor.View{half(1)}, false},
	} {
		for _, wrong := range []bool{false, true} {
			m := movestest.New(t, 5, 1)
			content := m.Bytes(2 * 30 * 50 * 2)
			data := tensortest.NewSummed(tensor.BF16, tensor.RowMajor(shape...), content, 0, int64(len(content)), wrong)
			source := &tensor.Tensor{Name: "w", DType: tensor.BF16, Shape: shape, Data: data}
			for _, v := range tt.views {
				m.Dest(tensor.BF16, []*tensor.Tensor{source}, [][]byte{content}, []tensor.View{v})
			}
			_, err := Prove(t.Context(), m.List, written(m, m.Want), Options{})
			var bad *tensor.FormatError
			if errors.As(err, &bad) != wrong {
				t.Errorf("%s, wrong %t: %v", tt.name, wrong, err)
			}
			if passed := data.Passes.Load() > 0; passed != (tt.onWay && !wrong) {
				t.Errorf("%s, wrong %t: passed %t, checked %d times", tt.name, wrong, passed, data.Checked.Load())
			}
		}
	}
}

// Elements of packed types are compared byte by byte, and the index of a wrong one is that of its element.
func TestProvePacked(t *testing.T) {
	for _, tt := range []struct {
		dtype tensor.DType
		shape []int64
		bytes int
		index []int64 // of an element in the last byte
	}{{tensor.F4, []int64{3, 6}, 9, []int64{2, 4}}, {tensor.F6E2M3, []int64{8}, 6, []int64{6}}} {
		content := make([]byte, tt.bytes)
		packed := func(content []byte) *tensor.Tensor {
			return &tensor.Tensor{Name: "w", DType: tt.dtype, Shape: tt.shape, Data: &tensortest.Stream{Content: content}}
		}
		stored := packed(content)
		l := moves.List{Dests: []moves.Dest{{Name: "w", DType: tt.dtype, Shape: tt.shape}}, Moves: []moves.Move{{Source: stored, View: tensor.RowMajor(tt.shape...)}}}
		wrong := slices.Clone(content)
		wrong[len(wrong)-1] = 1
		for _, written := range [][]byte{content, wrong} {
			c, err := tensor.NewCheckpoint("written", "test", []*tensor.Tensor{packed(written)})
			if err != nil {
				t.Fatal(err)
			}
			p, err := Prove(t.Context(), l, c, Options{Sources: digest.Default, Dests: digest.Default})
			if err != nil {
				t.Fatal(err)
			}
			if p.Elements != stored.Elements() || p.Bytes != int64(tt.bytes) {
				t.Errorf("%s: %d elements, %d bytes", tt.dtype, p.Elements, p.Bytes)
			}
			right := &written[tt.bytes-1] == &content[tt.bytes-1]
			if right != (p.Failures.Len() == 0) || !right && !slices.Equal(p.Failures.At(0).Index, tt.index) {
				t.Errorf("%s, right %t: %+v", tt.dtype, right, p.Failures)
			}
		}
	}
}
