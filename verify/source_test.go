package verify

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats"
)

// original returns a base's source in memory, under its own names.
func (b *base) original(t *testing.T) *made {
	src, err := formats.Open(b.source, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m := &made{base: b}
	for _, s := range src.Tensors() {
		e := &entry{name: s.Name, dtype: s.DType, shape: s.Shape, data: make([]byte, s.Bytes())}
		if _, err := s.ReadAt(e.data, 0); err != nil {
			t.Fatal(err)
		}
		m.tensors = append(m.tensors, e)
	}
	return m
}

func baseOf(t *testing.T, name string) *base { return bases(t, name)[0] }

// Which NaN it is counts where elements are copied; so does the sign of zero. Where they are
// rounded, NaN has to stay NaN, which one says nothing.
func TestBitsOfNaNAndZero(t *testing.T) {
	const embedder = "embedder.input_embedding"
	for _, tt := range []struct {
		base         string
		source, made float32
		same         bool
	}{
		{"float32, torch", math.Float32frombits(0x7fc00001), math.Float32frombits(0x7fc00001), true},
		{"float32, torch", math.Float32frombits(0x7fc00001), math.Float32frombits(0x7fc00000), false},
		{"float32, torch", math.Float32frombits(0xffc00000), math.Float32frombits(0x7fc00000), false},
		{"float32, torch", 0, float32(math.Copysign(0, -1)), false},
		{"float32, torch", 0, 0, true},
		{"float32 to float16", math.Float32frombits(0x7fc00001), math.Float32frombits(0x7fc00000), true},
		{"float32 to float16", math.Float32frombits(0x7fc00001), 1, false},
		{"float32 to float16", 0, float32(math.Copysign(0, -1)), false},
		{"float32 to float16", 1e6, float32(math.Inf(1)), false}, // beyond the range of float16, and not recorded as allowed
		{"float32 to float16", 1e6, 65504, false},
		{"float32 to float16", 65519, 65504, true},
		{"float32 to float16", float32(math.Inf(-1)), float32(math.Inf(-1)), true},
	} {
		b := *baseOf(t, tt.base)
		source := b.original(t)
		e := source.get(embedder)
		values := e.values()
		values[3] = tt.source
		e.set(values)
		b.source = source.write(t)
		m := b.made.clone()
		m.base = &b
		values = m.get(embeddingName).values()
		values[3] = tt.made
		m.get(embeddingName).set(values)
		v, err := m.judge(t)
		if err != nil || v.Same != tt.same {
			t.Errorf("%s: %v (%#x) as %v (%#x): %+v, %v", tt.base, tt.source, math.Float32bits(tt.source), tt.made, math.Float32bits(tt.made), v, err)
		}
	}
}

// A head of the source that is a copy of its embedding may be left out. A separate one has to be in the conversion, and
// config.json has to untie it.
func TestHeadOfTheSource(t *testing.T) {
	for _, differs := range []bool{false, true} {
		b := *baseOf(t, "float16 to bfloat16, legacy torch")
		source := b.original(t)
		e := source.get("embedder.input_embedding").clone()
		e.name = headName
		if differs {
			flip(9, 0)(e)
		}
		source.tensors = append(source.tensors, e)
		b.source = source.write(t)
		m := b.made.clone()
		m.base = &b
		v, err := m.judge(t)
		if err != nil {
			t.Fatal(err)
		}
		if got := named(v); differs == v.Same || differs && !slices.Equal(got, []string{headName, "tie_word_embeddings"}) {
			t.Errorf("differs %t: same %t, named %q", differs, v.Same, got)
		}
		m = b.convert(t, nil)
		m.base = &b
		if v, err = m.judge(t); err != nil || !v.Same {
			t.Errorf("differs %t, converted: %+v, %v", differs, v, err)
		}
	}
}

// A tensor that takes a part of the source's elements twice is no plan to prove by.
func TestCoverage(t *testing.T) {
	b := baseOf(t, "bfloat16, torch")
	b.convert(t, func(p *convert.Plan) {
		if err := checkCovered(p.List); err != nil {
			t.Error(err)
		}
		half, _ := movesTo(p, upProj)
		other, _ := movesTo(p, gateProj)
		wrong := p.List
		wrong.Moves = slices.Clone(p.Moves)
		for i := range wrong.Moves {
			if wrong.Moves[i].Source == half[0].Source && wrong.Moves[i].View.Offset == half[0].View.Offset {
				wrong.Moves[i].View = other[0].View
			}
		}
		if err := checkCovered(wrong); err == nil || !strings.Contains(err.Error(), "ffw_up.w") {
			t.Errorf("gate twice and up not at all: %v", err)
		}
	})
}
