package verify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
)

// Where an adapter was merged by its own library, what differs by roundings is said to. Without an adapter nothing allows for that.
func TestRoundingOfAMerge(t *testing.T) {
	dir := filepath.Join(cases.Testdata(t), "finetune")
	adapter, err := peft.Read(storage.Local(dir), "adapter")
	if err != nil {
		t.Fatal(err)
	}
	defer adapter.Weights.Close()
	v, err := verifyFiles(t, filepath.Join(dir, "base"), filepath.Join(dir, "merged"), Options{Adapter: adapter})
	if err != nil || v.Same || v.Weights.Findings.Len() != 13 || !strings.HasSuffix(v.Weights.Summary, ": 13 tensors differ, in 1,257 elements") {
		t.Fatalf("%v, %+v", err, v)
	}
	for _, f := range v.Weights.Findings.All() {
		if f.Detail != "by no more than a merge that rounds otherwise to float32, as PEFT's does" {
			t.Error(f.String())
		}
	}
	m := baseOf(t, "float32, torch").made.clone()
	e := m.get(in(0, "mlp_block.down_proj.weight"))
	for i := 0; i < len(e.data); i += 12 {
		e.data[i] ^= 1
	}
	if v, err = m.judge(t); err != nil || v.Weights.Findings.Len() != 1 || strings.Contains(v.Weights.Findings.At(0).Detail, "merge") {
		t.Errorf("%v, %v", err, findings(v))
	}
}

// Two roundings are as far apart as twice the largest relative error of the dtype, of the largest element.
func TestDiffersByRounding(t *testing.T) {
	of := func(d tensor.DType, values ...float64) *tensor.Tensor {
		var raw memory
		for _, x := range values {
			switch bits := math.Float32bits(float32(x)); d {
			case tensor.BF16:
				raw = binary.LittleEndian.AppendUint16(raw, uint16(bits>>16))
			case tensor.F32:
				raw = binary.LittleEndian.AppendUint32(raw, bits)
			default:
				raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(x))
			}
		}
		return &tensor.Tensor{Name: "w", DType: d, Shape: []int64{int64(len(values))}, Data: raw}
	}
	nan, inf := math.NaN(), math.Inf(1)
	long := slices.Repeat([]float64{4}, 1<<13+1)
	off := append(slices.Clone(long[1:]), 5)
	for _, tt := range []struct {
		name string
		a, b *tensor.Tensor
		want bool
	}{
		{"equal", of(tensor.F32, 4, 1), of(tensor.F32, 4, 1), true},
		{"just as far", of(tensor.F32, 4, 1), of(tensor.F32, 4+0x1p-21, 1), true},
		{"farther", of(tensor.F32, 4, 1), of(tensor.F32, 4+0x2p-21, 1), false},
		{"a small element as far", of(tensor.F32, -4, 0.5), of(tensor.F32, -4, 0.5-0x1p-21), true},
		{"a small element farther", of(tensor.F32, -4, 0.5), of(tensor.F32, -4, 0.5+0x2p-21), false},
		{"the largest of the first", of(tensor.F32, 1, 0.5), of(tensor.F32, 4, 0.5), false},
		{"bfloat16", of(tensor.BF16, 4), of(tensor.BF16, 4+0x1p-5), true},
		{"bfloat16, farther", of(tensor.BF16, 4), of(tensor.BF16, 4+0x2p-5), false},
		{"float64", of(tensor.F64, 4), of(tensor.F64, 4+0x1p-50), true},
		{"NaN", of(tensor.F32, nan, 1), of(tensor.F32, nan, 1), false},
		{"another NaN", of(tensor.F32, 1, 1), of(tensor.F32, nan, 1), false},
		{"infinity", of(tensor.F32, inf, 1), of(tensor.F32, 1, 1), false},
		{"integers", of(tensor.I64, 0), of(tensor.I64, 0), false},
		{"long", of(tensor.F32, long...), of(tensor.F32, long...), true},
		{"the last of many", of(tensor.F32, long...), of(tensor.F32, off...), false},
	} {
		if got, err := differsByRounding(t.Context(), tt.a, tt.b); got != tt.want || err != nil {
			t.Errorf("%s: %t, %v", tt.name, got, err)
		}
		for _, merged := range []bool{true, false} {
			x := &explanations{merged: merged}
			if got, err := x.describeRounding(t.Context(), &explain.Pair{A: tt.a, B: tt.b}); (got != "") != (tt.want && merged) || err != nil {
				t.Errorf("%s, merged %t: %q, %v", tt.name, merged, got, err)
			}
		}
	}
	for values, want := range map[[2]float64]bool{{1 + 0x1p-12, 1 + 0x1p-7}: true, {1 + 0x1p-12, 1 + 0x1p-5}: false} { // a merge in another dtype is rounded first
		exact, found := of(tensor.F32, values[0]), of(tensor.BF16, values[1])
		if got, err := differsByRounding(t.Context(), exact, found); got || err != nil {
			t.Errorf("two types: %t, %v", got, err)
		}
		x := &explanations{merged: true}
		if got, err := x.describeRounding(t.Context(), &explain.Pair{A: exact, B: found}); (got != "") != want || err != nil {
			t.Errorf("%v: %q, %v", values, got, err)
		}
	}
	short := of(tensor.F32, 1)
	short.Shape = []int64{2}
	var bad *tensor.FormatError
	if _, err := differsByRounding(t.Context(), of(tensor.F32, 1, 2), short); !errors.As(err, &bad) {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := differsByRounding(ctx, of(tensor.F32, long...), of(tensor.F32, long...)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// An element of a tensor is found by its index.
func TestElementAt(t *testing.T) {
	floats := func(values ...float32) (raw memory) {
		for _, x := range values {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		return raw
	}
	for _, tt := range []struct {
		dtype tensor.DType
		shape []int64
		raw   memory
		index []int64
		want  float64
	}{
		{tensor.F32, []int64{2, 3}, floats(1, 2, 3, 4, 5, 6), []int64{0, 0}, 1}, {tensor.F32, []int64{2, 3}, floats(1, 2, 3, 4, 5, 6), []int64{1, 0}, 4},
		{tensor.F32, []int64{2, 3}, floats(1, 2, 3, 4, 5, 6), []int64{1, 2}, 6}, {tensor.F32, nil, floats(7), nil, 7}, {tensor.F32, []int64{1, 2, 2}, floats(1, 2, 3, 4), []int64{0, 1, 1}, 4},
		{tensor.C64, []int64{2}, floats(1, 2, 3, 4), []int64{1}, 3}, {tensor.I8, []int64{3}, memory{1, 2, 0xfd}, []int64{2}, -3}, {tensor.F4, []int64{2}, memory{0x77}, []int64{1}, 0},
	} {
		if got, err := elementAt(&tensor.Tensor{Name: "w", DType: tt.dtype, Shape: tt.shape, Data: tt.raw}, tt.index); got != tt.want || err != nil {
			t.Errorf("%s %v at %v: %v, %v, want %v", tt.dtype, tt.shape, tt.index, got, err, tt.want)
		}
	}
	if _, err := elementAt(&tensor.Tensor{Name: "w", DType: tensor.F32, Shape: []int64{2}, Data: floats(1)}, []int64{1}); err == nil {
		t.Error("an element was read that is not there")
	}
}

// Of very many wrong tensors the first are explained; of the others too it is said that they hold NaN.
func TestManyWrongTensors(t *testing.T) {
	const n = maxExplained + 2
	floats := func(values ...float32) (raw memory) {
		for _, x := range values {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		return raw
	}
	var l moves.List
	var found []*tensor.Tensor
	var failures []proof.Failure
	for i := range n {
		x := float32(i + 1)
		of := &tensor.Tensor{Name: fmt.Sprint("s", i), DType: tensor.F32, Shape: []int64{4}, Data: floats(x, 2*x, -x, x/2)}
		l.Dests = append(l.Dests, moves.Dest{Name: fmt.Sprint("d", i), DType: tensor.F32, Shape: []int64{4}})
		l.Moves = append(l.Moves, moves.Move{Dest: i, Source: of, View: tensor.RowMajor(4)})
		made := floats(0, 0, 0, 0)
		if i == n-1 {
			made = floats(float32(math.NaN()), 2*x, -x, x/2)
		}
		found = append(found, &tensor.Tensor{Name: fmt.Sprint("d", i), DType: tensor.F32, Shape: []int64{4}, Data: made})
		failures = append(failures, proof.Failure{Dest: i, Tensor: fmt.Sprint("d", i), Index: []int64{0}, Differing: 4})
	}
	c, err := tensor.NewCheckpoint("", "test", found)
	if err != nil {
		t.Fatal(err)
	}
	w := &weightsCheck{list: l, converted: c, failures: strictjson.Items(failures...), section: &WeightsSection{}}
	w.addFindings()
	var mu sync.Mutex
	var last int64
	progress := func(done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		last = max(last, done)
	}
	if err := w.explain(t.Context(), &model.Config{NumHeads: 1, Width: 4}, progress); err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{0: "zeroed", maxExplained - 1: "zeroed", maxExplained: "", n - 1: "NaN in the conversion"} {
		if got := w.section.Findings.At(i).Detail; got != want {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
	if w.differing != 4*n || last != 16*maxExplained {
		t.Errorf("%d elements differ; %d bytes were read", w.differing, last)
	}
}

// What a wrong tensor has that is not finite is counted. Infinities alone are said only if one of them is wrong.
func TestNotFinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tt := range []struct {
		values []float64
		wrong  bool // an infinity is
		want   string
	}{
		{[]float64{1, 2}, false, ""}, {[]float64{nan, 1, nan, inf}, false, "2 NaN and 1 infinity"}, {[]float64{1, nan}, false, "1 NaN"},
		{[]float64{inf, -inf}, false, ""}, {[]float64{inf, -inf}, true, "2 infinities"},
	} {
		var raw memory
		for _, x := range tt.values {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(x)))
		}
		got, err := notFinite(t.Context(), &tensor.Tensor{Name: "w", DType: tensor.F32, Shape: []int64{int64(len(tt.values))}, Data: raw}, tt.wrong)
		if err != nil || got.String() != tt.want {
			t.Errorf("%v: %q, want %q; %v", tt.values, got, tt.want, err)
		}
	}
	if got, err := notFinite(t.Context(), &tensor.Tensor{Name: "w", DType: tensor.F32, Shape: []int64{4}, Data: memory(make([]byte, 8))}, false); err == nil {
		t.Errorf("%v of a tensor that is cut short", got)
	}
}

// Elements in a wider dtype are counted apart from those that were rounded, but for those that were divided or could not be compared.
func TestWidened(t *testing.T) {
	transposed := func(m *made) { slices.Reverse(m.get(in(0, "mlp_block.down_proj.weight")).shape) }
	divided := matchedBases(t)[2]
	for _, tt := range []struct {
		name   string
		base   *base
		do     func(*made)
		narrow int64 // elements of those that were rounded
		answer string
	}{
		{"wider", baseOf(t, "bfloat16 to float32"), func(*made) {}, 0, "the same model, as float32"},
		{"wider, and one that cannot be compared", baseOf(t, "bfloat16 to float32"), transposed, 0, "not the same model"},
		{"wider and divided", divided, func(*made) {}, divided.config.VocabSize * divided.config.Width, "the same model, rounded to float32"},
		{"narrower", baseOf(t, "float32 to float16"), func(*made) {}, -1, "the same model, rounded to float16"},
	} {
		m := tt.base.made.clone()
		tt.do(m)
		v, err := m.judge(t)
		if err != nil {
			t.Fatal(err)
		}
		narrow := v.Weights.Rounded - v.Weights.Widened
		if tt.narrow < 0 && v.Weights.Widened == 0 {
			narrow = -1
		}
		if v.Weights.Rounded == 0 || narrow != tt.narrow || !strings.HasPrefix(v.Answer(), tt.answer) {
			t.Errorf("%s: %d rounded, %d of them wider: %s", tt.name, v.Weights.Rounded, v.Weights.Widened, v.Answer())
		}
	}
}

// The lists of digests say of each tensor whether it is right, on both sides.
func TestDigestsOfWrongTensors(t *testing.T) {
	name := in(0, "mlp_block.down_proj.weight")
	for what, spoil := range map[string]func(*made){
		"wrong":     func(m *made) { flip(3, 2)(m.get(name)) },
		"misshapen": func(m *made) { slices.Reverse(m.get(name).shape) },
		"nothing":   func(*made) {},
	} {
		m := baseOf(t, "float32, torch").made.clone()
		spoil(m)
		v, err := m.judge(t)
		if err != nil {
			t.Fatal(err)
		}
		listed, bad := false, 0
		for _, d := range v.Weights.Converted.All() {
			listed = listed || d.Name == name
			if d.OK != (d.Name != name || what == "nothing") || len(d.Shape) == 0 {
				t.Errorf("%s: %s is right: %t", what, d.Name, d.OK)
			}
		}
		for _, d := range v.Weights.Source.All() {
			if !d.OK {
				bad++
				if d.Name != "blocks.0.mlp_block.ffw_down.weight" {
					t.Errorf("%s: %s is not right", what, d.Name)
				}
			}
		}
		if listed != (what != "misshapen") || (bad == 1) != (what != "nothing") {
			t.Errorf("%s: listed %t, %d of the source are not right", what, listed, bad)
		}
	}
}

// Of a tensor that is divided, what multiplying does not restore is counted to its end; nothing of it counts as rounded if it keeps its dtype;
// and a wrong element of it should be the quotient.
func TestDivided(t *testing.T) {
	const n = 70_000
	var raw memory
	want := int64(0)
	for i := range n {
		x := float32(i) / 1000
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		if quotient := float32(float64(x) / 6); float32(float64(quotient)*6) != x {
			want++
		}
	}
	m := moves.Move{Source: &tensor.Tensor{Name: "w", DType: tensor.F32, Shape: []int64{n}, Data: raw}, View: tensor.RowMajor(n), Divide: 6}
	if got, err := countInexact(t.Context(), &m, tensor.F32); got != want || want == 0 || err != nil {
		t.Errorf("%d, want %d, %v", got, want, err)
	}
	b := dividedBases(t)[0]
	elements := b.config.VocabSize * b.config.Width
	for _, wrong := range []bool{false, true} {
		made := b.made.clone()
		e := made.get(embeddingName)
		values := e.values()
		right := values[7]
		if wrong {
			values[7] += 5
			e.set(values)
		}
		v, err := made.judge(t)
		if err != nil || v.Weights.Divided != elements || v.Weights.Rounded != 0 || v.Weights.Inexact != 0 || v.Weights.OK == wrong {
			t.Fatalf("wrong %t: %v, %+v", wrong, err, v.Weights)
		}
		if wrong && v.Weights.Findings.At(0).Want != fmt.Sprint(float64(right)) {
			t.Errorf("it should be %s, want %v", v.Weights.Findings.At(0).Want, right)
		}
	}
}

// The summary says what was compared, how, and what was not.
func TestWeightsSummary(t *testing.T) {
	for _, tt := range []struct {
		section              WeightsSection
		dests, absent, wrong int
		ok                   bool
		summary, note        string
	}{
		{WeightsSection{Tensors: 2, Elements: 9}, 2, 0, 0, true, "2 tensors, 9 elements: identical to the source, bit for bit", ""},
		{WeightsSection{Tensors: 2, Elements: 9}, 3, 0, 0, false, "1 tensor could not be compared (see structure); 2 others, 9 elements: identical to the source, bit for bit", ""},
		{WeightsSection{Tensors: 2, Elements: 9}, 3, 1, 0, false, "1 tensor is missing, and 1 could not be compared (see structure); 2 others, 9 elements: identical to the source, bit for bit", ""},
		{WeightsSection{Tensors: 2, Elements: 9}, 2, 2, 0, false, "2 tensors are missing (see structure); 2 others, 9 elements: identical to the source, bit for bit", ""},
		{WeightsSection{Tensors: 2, Elements: 9}, 3, 0, 1, false, "1 tensor could not be compared (see structure); 2 others, 9 elements: 1 tensor differs, in 5 elements", ""},
		{WeightsSection{}, 3, 1, 0, false, "no tensor could be compared", ""}, {WeightsSection{}, 0, 0, 0, true, "0 tensors, 0 elements: identical to the source, bit for bit", ""},
		{WeightsSection{Tensors: 2, Elements: 9}, 2, 0, 1, false, "2 tensors, 9 elements: 1 tensor differs, in 5 elements", ""},
		{WeightsSection{Tensors: 2, Elements: 9}, 2, 0, 2, false, "2 tensors, 9 elements: every tensor differs, in 5 elements", ""},
		{WeightsSection{Tensors: 1, Elements: 9}, 1, 0, 1, false, "1 tensor, 9 elements: 1 tensor differs, in 5 elements", ""},
		{WeightsSection{Tensors: 1, Elements: 9, Rounded: 4, Overflowed: 2}, 1, 0, 0, true, "1 tensor, 9 elements: identical to the source, rounded to nearest where the dtype changed (4 of 9 elements)", "2 elements became infinite, beyond the range of float16"},
		{WeightsSection{Tensors: 1, Elements: 9, Rounded: 4, Overflowed: 1}, 1, 0, 0, true, "1 tensor, 9 elements: identical to the source, rounded to nearest where the dtype changed (4 of 9 elements)", "1 element became infinite, beyond the range of float16"},
		{WeightsSection{Tensors: 1, Elements: 9, Rounded: 4, Widened: 4}, 1, 0, 0, true, "1 tensor, 9 elements: identical to the source; 4 of them in a wider dtype, which has all values of the old one", ""},
		{WeightsSection{Tensors: 1, Elements: 9, Divided: 3}, 1, 0, 0, true, "1 tensor, 9 elements: identical to the source, bit for bit, and the embedding's 3 divided by 6, exactly", ""},
		{WeightsSection{Tensors: 1, Elements: 9, Divided: 3, Inexact: 1}, 1, 0, 0, true, "1 tensor, 9 elements: identical to the source, bit for bit, and the embedding's 3 divided by 6; multiplying does not restore 1 of them", ""},
	} {
		w := &weightsCheck{list: moves.List{Dests: make([]moves.Dest, tt.dests)}, absent: tt.absent, wrong: make([]int32, tt.wrong), differing: 5, divisor: 6, source: "the source", section: &tt.section}
		w.summarise(tensor.F16)
		if s := w.section; (s.RoundedTo == "float16") != (s.Rounded > 0) || s.OK != tt.ok || s.Summary != tt.summary || strings.Join(s.Notes, "; ") != tt.note {
			t.Errorf("right %t: %s %q, want %s %q", s.OK, s.Summary, s.Notes, tt.summary, tt.note)
		}
	}
}

// Elements that are too large for another dtype are wrong, and said to be, unless the conversion.json beside them records that they were allowed. In no case
// is the conversion said to compute the same.
func TestOverflowed(t *testing.T) {
	m := baseOf(t, "float32, torch").made.clone()
	special(0x7149f2ca)(m.get(finalNorm)) // 1e30
	source, converted := m.write(t), filepath.Join(t.TempDir(), "hf")
	convertFiles(t, source, converted, convert.Options{To: convert.ToHF, DType: tensor.F16, AllowInexact: true})
	const summary = "1 element became infinite, so that the conversion need not compute what the source does at any position"
	for _, tt := range []struct {
		verdict, wrong string
		do             func()
	}{
		{"the same model, rounded to float16 (1 element became infinite)", "", func() {}},
		{"not the same model", "(0x7c00), not 1.0000000150474662e+30 (0x7149f2ca); became infinite, beyond the range of float16", func() { remove(t, converted, manifest.Name) }},
	} {
		tt.do()
		v, err := verifyFiles(t, source, converted, Options{})
		if err != nil {
			t.Fatal(err)
		}
		wrong := ""
		for _, f := range v.Weights.Findings.All() {
			wrong += f.String()
		}
		if v.Verdict != tt.verdict || !strings.HasSuffix(wrong, tt.wrong) || (wrong == "") != v.Weights.OK || v.Runtime.Summary != summary || v.Runtime.From != 0 {
			t.Errorf("%s, %q, %+v", v.Verdict, wrong, v.Runtime)
		}
	}
}

// NaN and infinities that both checkpoints have are no difference, and noted.
func TestNotFiniteOnBothSides(t *testing.T) {
	for _, tt := range []struct {
		do   func(m *made)
		want []string
	}{
		{func(*made) {}, nil},
		{func(m *made) { special(float32NaN)(m.get(finalNorm)) }, []string{"1 NaN in 1 tensor of the source, and the same in the conversion: model.final_norm.weight"}},
		{func(m *made) {
			for _, name := range m.all("down_proj.weight") {
				special(float32NaN)(m.get(name))
			}
			special(float32Inf)(m.get(finalNorm))
		}, []string{"5 NaN and 1 infinity in 6 tensors of the source, and the same in the conversion: model.final_norm.weight, all layers (5) of model.layers: mlp_block.down_proj.weight"}},
	} {
		m := baseOf(t, "bfloat16, torch").made.clone()
		tt.do(m)
		dir := m.write(t)
		v, err := verifyFiles(t, dir, dir, Options{})
		if err != nil || !v.Weights.OK || !slices.Equal(v.Weights.Notes, tt.want) {
			t.Errorf("%v, %v, want %q", err, v.Weights, tt.want)
		}
	}
	// What is wrong is said by findings.
	m := baseOf(t, "bfloat16, torch").made.clone()
	special(float32NaN)(m.get(finalNorm))
	dir := m.write(t)
	flip(3, 2)(m.get(embeddingName))
	if v, err := verifyFiles(t, dir, m.write(t), Options{}); err != nil || v.Weights.OK || v.Weights.Notes != nil {
		t.Errorf("%v, %v", err, v.Weights)
	}
}
