package proof

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/internal/movestest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// Every order of three axes, and views that repeat elements, in pieces of every size: the right
// elements are proven, and each that is wrong is reported with its place and both values.
func TestProveEveryElement(t *testing.T) {
	whole := tensor.RowMajor(3, 4, 5)
	views := []tensor.View{
		{Shape: []int64{3, 3}, Strides: []int64{2, 1}}, {Shape: []int64{3, 3}, Strides: []int64{1, 2}, Offset: 4}, {Shape: []int64{3, 4}, Strides: []int64{1, 1}},
		{Shape: []int64{3, 4}, Strides: []int64{0, 1}}, {Shape: []int64{3, 4}, Strides: []int64{1, 0}}, {Shape: []int64{3, 4}, Strides: []int64{0, 0}},
		{Shape: []int64{5, 2, 3}, Strides: []int64{1, 40, 5}},
	}
	for _, axes := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		views = append(views, whole.Permute(axes...))
	}
	for _, types := range [][2]tensor.DType{{tensor.BF16, tensor.BF16}, {tensor.F32, tensor.BF16}, {tensor.BF16, tensor.F32}, {tensor.F32, tensor.F32}} {
		content := make([]byte, 60*types[0].Size())
		for i := range 60 { // the numbers 1 to 60, which all types hold
			code := math.Float32bits(float32(i + 1))
			if types[0] == tensor.BF16 {
				binary.LittleEndian.PutUint16(content[2*i:], uint16(code>>16))
			} else {
				binary.LittleEndian.PutUint32(content[4*i:], code)
			}
		}
		source := &tensor.Tensor{Name: "s", DType: types[0], Shape: whole.Shape, Data: &tensortest.Stream{Content: content}}
		for _, view := range views {
			m := movestest.New(t, 1, 1)
			m.Dest(types[1], []*tensor.Tensor{source}, [][]byte{content}, []tensor.View{view})
			m.List.Moves[0].Divide, m.List.Dests[0].Shape = 0, view.Shape
			want := wantNumbers(view, types[1])
			for _, sizes := range [][2]int{{16, 16}, {16, 1 << 18}, {50, 16}, {90, 50}, {1 << 10, 16}, {1 << 10, 64}, {1 << 10, 1 << 18}} {
				for element := int64(-1); element < view.Elements(); element++ {
					written := bytes.Clone(want)
					if element >= 0 {
						copy(written[element*types[1].Size():], number(types[1], 99))
					}
					c, err := tensor.NewCheckpoint("written", "test", []*tensor.Tensor{tensortest.Stored("dest.0", types[1], view.Shape, written)})
					if err != nil {
						t.Fatal(err)
					}
					v := newProver(m.List, c, Options{})
					v.blockSize, v.piece = sizes[0], int64(sizes[1])
					proof, err := v.run(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					rounded := int64(0)
					if types[0] != types[1] {
						rounded = view.Elements()
					}
					if proof.Elements != view.Elements() || proof.Bytes != int64(len(want)) || proof.Rounded != rounded {
						t.Fatalf("%v as %s: %d elements, %d bytes, %d rounded", view, types[1], proof.Elements, proof.Bytes, proof.Rounded)
					}
					var failures []Failure
					if element >= 0 {
						index := tensor.Unravel(element, view.Shape)
						f := Failure{Dest: 0, Tensor: "dest.0", Source: "s", Index: index, Differing: 1,
							Want: valueString(types[0], number(types[0], view.At(index)+1)), Got: valueString(types[1], number(types[1], 99))}
						failures = []Failure{f}
					}
					if fmt.Sprint(proof.Failures.All()) != fmt.Sprint(failures) {
						t.Fatalf("%+v from %s as %s, block of %d, pieces of %d, element %d: %+v, want %+v", view, types[0], types[1], sizes[0], sizes[1], element, proof.Failures.All(), failures)
					}
				}
			}
		}
	}
}

// number returns an element.
func number(d tensor.DType, n int64) []byte {
	p := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(n)))
	return p[4-d.Size():]
}

// wantNumbers returns the elements of a view of the numbers 1, 2, ….
func wantNumbers(v tensor.View, d tensor.DType) []byte {
	var all []byte
	tensortest.EachIndex(v.Shape, func(index []int64) { all = append(all, number(d, v.At(index)+1)...) })
	return all
}

func TestValueString(t *testing.T) {
	for _, tt := range []struct {
		d    tensor.DType
		p    []byte
		want string
	}{
		{tensor.F32, []byte{0, 0, 0xc0, 0xbf}, "-1.5 (0xbfc00000)"},
		{tensor.BF16, []byte{0xc0, 0x3f}, "1.5 (0x3fc0)"},
		{tensor.F16, []byte{0x01, 0x80}, "-5.960464477539063e-08 (0x8001)"},
		{tensor.F16, []byte{0x00, 0xfc}, "-Inf (0xfc00)"},
		{tensor.F16, []byte{0xff, 0x7b}, "65504 (0x7bff)"},
		{tensor.I16, []byte{0x34, 0x12}, "0x1234"},
	} {
		if got := valueString(tt.d, tt.p); got != tt.want {
			t.Errorf("%s %x: %s, want %s", tt.d, tt.p, got, tt.want)
		}
	}
}

// Where numbers lie closer together, so do the points halfway between them.
func TestIsNearest(t *testing.T) {
	const ulp = 1.0 / 128 // of bfloat16 above 1
	half := func(n float64) float64 { return math.Ldexp(n, -24) }
	for _, tt := range []struct {
		to          tensor.DType
		x, y        float64
		right, flip bool // flip: so is the next number towards 0
	}{
		{tensor.BF16, 1, 1, true, false},
		{tensor.BF16, 1 + ulp/2, 1, true, false}, // a tie: 1 is even
		{tensor.BF16, 1 + ulp/2, 1 + ulp, false, true},
		{tensor.BF16, 1 + 3*ulp/2, 1 + ulp, false, false},
		{tensor.BF16, 1 + 3*ulp/2, 1 + 2*ulp, true, false},
		{tensor.BF16, 1 - ulp/4, 1, true, false}, // halfway below a power of two
		{tensor.BF16, 1 - ulp/4 - ulp/64, 1, false, true},
		{tensor.BF16, 1 - ulp/4 + ulp/64, 1, true, false},
		{tensor.BF16, -1, 1, false, false},
		{tensor.BF16, math.Copysign(0, -1), 0, false, false},
		{tensor.BF16, math.NaN(), math.NaN(), true, false},
		{tensor.BF16, math.NaN(), 1, false, false},
		{tensor.BF16, 1, math.NaN(), false, false},
		{tensor.BF16, math.Inf(1), math.Inf(1), true, false},
		{tensor.BF16, math.Inf(1), math.MaxFloat32, false, false},
		// float16 below, at and above 2^-14, from where on numbers are normal, and at its ends.
		{tensor.F16, half(1024 - 0.4), half(1024), true, false},
		{tensor.F16, half(1024 - 0.6), half(1024), false, true},
		{tensor.F16, half(1024 + 0.4), half(1024), true, false},
		{tensor.F16, half(2048 - 0.4), half(2048), true, false},
		{tensor.F16, half(2048 - 0.6), half(2048), false, true},
		{tensor.F16, half(2048 + 0.9), half(2048), true, false},
		{tensor.F16, half(0.5), 0, true, false},
		{tensor.F16, half(0.5), half(1), false, true},
		{tensor.F16, half(0.51), half(1), true, false},
		{tensor.F16, half(0.51), 0, false, false},
		{tensor.F16, 65519, 65504, true, false},
		{tensor.F16, 65520, 65504, false, false}, // a tie with the next power of two, which is even
		{tensor.F16, 65520, math.Inf(1), true, false},
		{tensor.F16, 65519, math.Inf(1), false, true},
	} {
		f := binaryFormats[tt.to]
		for _, divisor := range []float64{1, 3, 50.5} {
			if got := f.isNearest(tt.x*divisor, tt.y, divisor); got != tt.right {
				t.Errorf("%g, divided by %g, as %s %g: %t", tt.x*divisor, divisor, tt.to, tt.y, got)
			}
		}
		if math.IsNaN(tt.y) || math.IsInf(tt.y, 0) || math.Signbit(tt.x) {
			continue
		}
		// The table of intervals says the same.
		for code, in := range f.intervals(3) {
			p := binary.LittleEndian.AppendUint16(nil, uint16(code))
			if f.value(p) == tt.y && (3*tt.x >= in.low && 3*tt.x <= in.high) != tt.right {
				t.Errorf("%g as %s %g: interval %v", tt.x, tt.to, tt.y, in)
			}
			if tt.flip && f.value(p) == math.Float64frombits(math.Float64bits(tt.y)) && tt.right {
				t.Errorf("%+v contradicts itself", tt)
			}
		}
	}
}

// What is judged fast is judged as by the definition.
func TestAllHold(t *testing.T) {
	inf := math.Inf(1)
	max32 := float64(math.MaxFloat32)
	for _, tt := range []struct {
		from, to tensor.DType
		divide   float64
		x, y     float64
		fast     bool
	}{
		{tensor.F64, tensor.F32, 0, 1.5, 1.5, true},
		{tensor.F64, tensor.F32, 0, 1.5, -1.5, false},
		{tensor.F64, tensor.F32, 0, 1.5, 1.25, false},
		{tensor.BF16, tensor.F32, 0, 1.5, 1.5, true},
		{tensor.BF16, tensor.F32, 0, 1.5, 1.25, false},
		{tensor.BF16, tensor.F32, 0, math.NaN(), math.NaN(), false}, // holds says that it is right
		{tensor.F32, tensor.BF16, 0, 1.5, 1.5, true},
		{tensor.F32, tensor.BF16, 0, 1.5, -1.5, false},
		{tensor.F32, tensor.BF16, 0, inf, inf, false},
		{tensor.F32, tensor.BF16, 0, inf, math.NaN(), false},
		{tensor.F64, tensor.F16, 0, 0, 0, true},
		{tensor.F32, tensor.F32, 3, 4.5, 1.5, true},
		{tensor.F32, tensor.F32, 3, -4.5, -1.5, true},
		{tensor.F32, tensor.F32, 3, 4.5, -1.5, false},
		{tensor.F32, tensor.F32, 0.5, max32, max32, false}, // becomes infinite
		{tensor.F32, tensor.F32, 0.5, max32, inf, false},
		{tensor.F32, tensor.F32, 3, 0, 0, false},
		{tensor.F32, tensor.F32, 64, 0x1.8p-143, 0x1p-149, false}, // a tie of the smallest numbers: 1.5 becomes 2, not 1
		{tensor.F32, tensor.F32, 64, 0x1.8p-143, 0x1p-148, false},
		{tensor.F32, tensor.F32, 64, 0x1.4p-142, 0x1.8p-148, false}, // 2.5 becomes 2, not 3
	} {
		r, err := newRounding(tt.from, tt.to, tt.divide)
		if err != nil {
			t.Fatal(err)
		}
		s, w := encoded(tt.from, tt.x), encoded(tt.to, tt.y)
		if got := r.allHold(s, tt.from.Size(), w); got != tt.fast {
			t.Errorf("%s %g, divided by %g, as %s %g: %t", tt.from, tt.x, tt.divide, tt.to, tt.y, got)
		}
		if right, _ := r.holds(s, w); tt.fast && !right {
			t.Errorf("%+v: not by the definition", tt)
		}
	}
}

// encoded returns a number that the type holds.
func encoded(d tensor.DType, x float64) []byte {
	switch d {
	case tensor.F64:
		return binary.LittleEndian.AppendUint64(nil, math.Float64bits(x))
	case tensor.F16: // the tests use only 0
		return []byte{0, 0}
	}
	p := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(x)))
	return p[4-d.Size():]
}

func TestNewRoundingRefuses(t *testing.T) {
	for _, types := range [][2]tensor.DType{{tensor.I32, tensor.BF16}, {tensor.F32, tensor.I8}, {tensor.F8E4M3, tensor.F16}, {tensor.I8, tensor.I16}} {
		if _, err := newRounding(types[0], types[1], 0); err == nil {
			t.Errorf("%s to %s can be proven", types[0], types[1])
		}
	}
	if _, err := newRounding(tensor.F32, tensor.F64, 3); err == nil {
		t.Error("a quotient in float64 can be proven")
	}
}

// Numbers are kept in float64, with the signs of zeros.
func TestWidening(t *testing.T) {
	nan, zero := math.NaN(), math.Copysign(0, -1)
	for _, tt := range []struct {
		from tensor.DType
		x, y float64
		want bool
	}{
		{tensor.BF16, 1.5, 1.5, true}, {tensor.BF16, 1.5, -1.5, false}, {tensor.F32, 1.5, math.Nextafter(1.5, 2), false}, {tensor.BF16, zero, zero, true},
		{tensor.BF16, zero, 0, false}, {tensor.F32, nan, nan, true}, {tensor.F32, nan, 1, false}, {tensor.F32, math.Inf(1), math.Inf(1), true}, {tensor.F16, 0, 0, true},
	} {
		r, err := newRounding(tt.from, tensor.F64, 0)
		if err != nil {
			t.Fatal(err)
		}
		s, w := encoded(tt.from, tt.x), encoded(tensor.F64, tt.y)
		if right, overflowed := r.holds(s, w); right != tt.want || overflowed || r.allHold(s, tt.from.Size(), w) {
			t.Errorf("%s %g as %g: %t", tt.from, tt.x, tt.y, right)
		}
	}
}

// Tensors that are not those of the list are reported, each by itself.
func TestProveStructure(t *testing.T) {
	content := []byte{0, 0x3f, 0x80, 0x3f}
	source := tensortest.Stored("s", tensor.BF16, []int64{2}, content)
	var l moves.List
	for i, name := range []string{"dtype", "shape", "missing", "right"} {
		l.Dests = append(l.Dests, moves.Dest{Name: name, DType: tensor.BF16, Shape: []int64{2}})
		l.Moves = append(l.Moves, moves.Move{Source: source, View: tensor.RowMajor(2), Dest: i})
	}
	c, err := tensor.NewCheckpoint("written", "test", []*tensor.Tensor{tensortest.Stored("dtype", tensor.F16, []int64{2}, content), tensortest.Stored("extra.1", tensor.U8, nil, content),
		tensortest.Stored("extra.2", tensor.U8, nil, content), tensortest.Stored("shape", tensor.BF16, []int64{2, 1}, content), tensortest.Stored("right", tensor.BF16, []int64{2}, content)})
	if err != nil {
		t.Fatal(err)
	}
	proof, err := Prove(t.Context(), l, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := `not as in the source: 5 tensors
  dtype: float16 instead of bfloat16
  shape: shape [2, 1] instead of [2]
  missing: missing
  extra.1: not part of the conversion
  extra.2: not part of the conversion`
	if err := proof.Err(); err == nil || err.Error() != want || proof.Elements != 2 {
		t.Errorf("%v, %d elements", err, proof.Elements)
	}
	var dests []int
	for _, f := range proof.Failures.All() {
		dests = append(dests, f.Dest)
	}
	if !slices.Equal(dests, []int{0, 1, 2, -1, -1}) {
		t.Errorf("the failures are of %d", dests)
	}
}

// The failure of a tensor that several moves fill names the first element that is wrong.
func TestTallyFirst(t *testing.T) {
	tally := &tally{different: make([]*difference, 1)}
	list := moves.List{Dests: []moves.Dest{{Name: "w", DType: tensor.U8, Shape: []int64{2, 6}}}}
	for _, x := range []struct {
		source   string
		n, first int64
	}{{"b", 2, 8}, {"a", 1, 5}, {"c", 3, 5}, {"d", 1, 6}} {
		m := &moves.Move{Source: &tensor.Tensor{Name: x.source, DType: tensor.U8}}
		tally.differ(m, x.n, 0, x.first, []byte{x.source[0]}, []byte{x.source[0] + 0x10})
	}
	counted := tally.proof(list, nil, []*tensor.Tensor{{}}, nil)
	if got, want := counted.Failures.At(0), "differs in 7 elements; the first, [0, 5], is 0x71 instead of 0x61 (from a)"; got.Describe() != want {
		t.Errorf("%s, want %s", got.Describe(), want)
	}
	// Of two elements that one run has, too.
	m := movestest.New(t, 1, 1)
	content := wantNumbers(tensor.RowMajor(6), tensor.BF16)
	m.Dest(tensor.BF16, []*tensor.Tensor{tensortest.Stored("s", tensor.BF16, []int64{6}, content)}, [][]byte{content}, []tensor.View{tensor.RowMajor(6)})
	wrong := bytes.Clone(m.Want[0])
	wrong[0], wrong[4] = wrong[0]^1, wrong[4]^1
	m.List.Moves[0].Divide = 0
	proof, err := Prove(t.Context(), m.List, written(m, [][]byte{wrong}), Options{})
	if err != nil || proof.Failures.Len() != 1 || proof.Failures.At(0).Differing != 2 || !slices.Equal(proof.Failures.At(0).Index, []int64{0}) {
		t.Errorf("%+v, %v", proof, err)
	}
}

// A tensor on either side that is damaged is an error, in whatever order it is compared.
func TestProveDamaged(t *testing.T) {
	content := wantNumbers(tensor.RowMajor(6, 4), tensor.BF16)
	cut := &tensor.Strided{Store: bytes.NewReader(content[:40]), Length: 24, DType: tensor.BF16, View: tensor.RowMajor(6, 4)}
	claims := &tensor.Strided{Store: bytes.NewReader(content), Length: 0, DType: tensor.BF16, View: tensor.View{Shape: []int64{1 << 20, 24}, Strides: []int64{0, 1}}}
	sound := &tensortest.Stream{Content: content}
	for name, data := range map[string]tensor.Data{
		"stream that ends early":       &tensortest.Stream{Content: content[:40]},
		"stream that ends in an error": tensortest.Broken{Content: content[:40], Err: io.ErrClosedPipe},
		"file that ends early":         cut,
		"claims":                       claims,
		"checksum":                     tensortest.NewSummed(tensor.BF16, tensor.RowMajor(6, 4), content, 0, 48, true),
	} {
		for _, view := range []tensor.View{tensor.RowMajor(6, 4), tensor.RowMajor(6, 4).Permute(1, 0)} {
			for _, side := range []string{"source", "dest"} {
				s, w := &tensor.Tensor{Name: "source", DType: tensor.BF16, Shape: []int64{6, 4}, Data: sound}, &tensor.Tensor{Name: "dest", DType: tensor.BF16, Shape: view.Shape, Data: data}
				if side == "source" {
					s.Data = data
					w.Data = &tensortest.Stream{Content: wantNumbers(view, tensor.BF16)}
				} else if !view.IsRowMajor() {
					s.Data = &tensortest.Stream{Content: wantNumbers(tensor.RowMajor(4, 6).Permute(1, 0), tensor.BF16)}
				}
				l := moves.List{Dests: []moves.Dest{{Name: "dest", DType: tensor.BF16, Shape: view.Shape}}, Moves: []moves.Move{{Source: s, View: view}}}
				c, err := tensor.NewCheckpoint("written", "test", []*tensor.Tensor{w})
				if err != nil {
					t.Fatal(err)
				}
				proof, err := Prove(t.Context(), l, c, Options{})
				var bad *tensor.FormatError
				if name == "stream that ends in an error" {
					if !errors.Is(err, io.ErrClosedPipe) {
						t.Errorf("%s, %s, %v: %+v, %v", name, side, view.Strides, proof, err)
					}
				} else if !errors.As(err, &bad) || bad.Tensor != side {
					t.Errorf("%s, %s, %v: %+v, %v", name, side, view.Strides, proof, err)
				}
			}
		}
	}
}

// atEnd is a file whose last read gives io.EOF, as io.ReaderAt allows.
type atEnd struct{ *bytes.Reader }

func (f atEnd) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.Reader.ReadAt(p, off)
	if off+int64(n) == f.Size() {
		err = io.EOF
	}
	return n, err
}

func TestProveReadsToTheEnd(t *testing.T) {
	content := wantNumbers(tensor.RowMajor(24), tensor.BF16)
	s := tensortest.Stored("s", tensor.BF16, []int64{24}, content)
	w := &tensor.Tensor{Name: "w", DType: tensor.BF16, Shape: []int64{24}, Data: &tensor.Strided{Store: atEnd{bytes.NewReader(content)}, Length: 24, DType: tensor.BF16, View: tensor.RowMajor(24)}}
	l := moves.List{Dests: []moves.Dest{{Name: "w", DType: tensor.BF16, Shape: []int64{24}}}, Moves: []moves.Move{{Source: s, View: tensor.RowMajor(24)}}}
	c, err := tensor.NewCheckpoint("written", "test", []*tensor.Tensor{w})
	if err != nil {
		t.Fatal(err)
	}
	if proof, err := Prove(t.Context(), l, c, Options{}); err != nil || proof.Err() != nil {
		t.Errorf("%+v, %v", proof, err)
	}
}

// Two whole sources in one destination: its digest is not theirs.
func TestProveDigestsOfParts(t *testing.T) {
	m := movestest.New(t, 1, 1)
	a, b := wantNumbers(tensor.RowMajor(20), tensor.BF16), wantNumbers(tensor.RowMajor(30), tensor.BF16)
	m.Dest(tensor.BF16, []*tensor.Tensor{tensortest.Stored("a", tensor.BF16, []int64{20}, a), tensortest.Stored("b", tensor.BF16, []int64{30}, b)},
		[][]byte{a, b}, []tensor.View{tensor.RowMajor(20), tensor.RowMajor(30)})
	for i := range m.List.Moves {
		m.List.Moves[i].Divide = 0
	}
	proof, err := Prove(t.Context(), m.List, written(m, [][]byte{slices.Concat(a, b)}), Options{Sources: digest.SHA256, Dests: digest.SHA256})
	if err != nil || proof.Err() != nil {
		t.Fatalf("%+v, %v", proof, err)
	}
	checkDigests(t, m, digest.SHA256, proof.Digests, [][]byte{slices.Concat(a, b)})
}

func TestJoinAxes(t *testing.T) {
	for _, tt := range []struct{ axes, want []tensor.Axis }{
		{[]tensor.Axis{{Size: 2, Stride: 12, Step: 12}, {Size: 3, Stride: 4, Step: 4}, {Size: 4, Stride: 1, Step: 1}}, []tensor.Axis{{Size: 24, Stride: 1, Step: 1}}},
		{[]tensor.Axis{{Size: 2, Stride: 12, Step: 12}, {Size: 3, Stride: 1, Step: 4}, {Size: 4, Stride: 3, Step: 1}}, []tensor.Axis{{Size: 2, Stride: 12, Step: 12}, {Size: 3, Stride: 1, Step: 4}, {Size: 4, Stride: 3, Step: 1}}},
		{[]tensor.Axis{{Size: 2, Stride: 4, Step: 8}, {Size: 4, Stride: 1, Step: 1}}, []tensor.Axis{{Size: 2, Stride: 4, Step: 8}, {Size: 4, Stride: 1, Step: 1}}}, // a part of the destination
		{[]tensor.Axis{{Size: 2, Stride: 8, Step: 4}, {Size: 4, Stride: 1, Step: 1}}, []tensor.Axis{{Size: 2, Stride: 8, Step: 4}, {Size: 4, Stride: 1, Step: 1}}}, // of the source
		{nil, nil},
	} {
		if got := joinAxes(tt.axes); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.axes, got, tt.want)
		}
	}
}

// Digests are right whatever the size of the pieces.
func TestProveDigestsInPieces(t *testing.T) {
	for round := range uint64(60) {
		m := movestest.New(t, 9, round)
		m.Add()
		if !provable(m) {
			continue
		}
		v := newProver(m.List, written(m, m.Want), Options{Sources: digest.Default, Dests: digest.Default, AllowOverflow: true})
		v.blockSize, v.piece = []int{16, 500, 1 << 20}[round%3], []int64{16, 100, 3000}[round%4*2%3]
		proof, err := v.run(t.Context())
		if err != nil || proof.Err() != nil {
			t.Fatalf("round %d: %v, %v", round, proof.Err(), err)
		}
		checkDigests(t, m, digest.Default, proof.Digests, m.Want)
	}
}
