package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

const backClass = "way back"

func cutRecord(dir string) error {
	return os.WriteFile(filepath.Join(dir, manifest.Name), []byte(`{"griffin": "1", "tensors": [`), 0o666)
}

// backBases are conversions to the original layouts, and between them.
func backBases(t testing.TB) []*base {
	hawk := dividedBases(t)[0].made.write(t)
	return prepare(t, []*base{
		{name: "bfloat16, Hugging Face to torch", source: "tiny-griffin/hf", to: convert.ToTorch},
		{name: "float32, Hugging Face to Flax", source: "odd-griffin/hf", to: convert.ToOrbax},
		{name: "float16 to float32, Hugging Face to torch", source: "micro-griffin/hf", to: convert.ToTorch, dtype: tensor.F32},
		{name: "float32 without scale and cap, Hugging Face to Flax", source: hawk, to: convert.ToOrbax},
		{name: "float32, torch to Flax", source: "odd-griffin/original/torch.pt", to: convert.ToOrbax},
		{name: "bfloat16, Orbax to torch", source: "tiny-griffin/original/orbax-ocdbt", to: convert.ToTorch},
	})
}

// part names a tensor of an original conversion by what follows its root and "blocks.N.": dense layers by
// "weight", which Flax calls "kernel".
func (m *made) part(layer int, tail string) string {
	if m.base.to == convert.ToOrbax {
		if cut, dense := strings.CutSuffix(tail, ".weight"); dense {
			tail = cut + ".kernel"
		}
	}
	root := model.Griffin.Roots[m.base.to.Layout()]
	if layer < 0 {
		return root + tail
	}
	return fmt.Sprintf("%sblocks.%d.%s", root, layer, tail)
}

func inLast(tail string) func(*made) (string, bool) {
	return func(m *made) (string, bool) { return m.part(m.blocks-1, tail), true }
}

func inFirst(kind model.BlockType, tail string) func(*made) (string, bool) {
	return func(m *made) (string, bool) {
		i, ok := m.layer(kind, 0)
		return m.part(i, tail), ok
	}
}

func outside(tail string) func(*made) (string, bool) {
	return func(m *made) (string, bool) { return m.part(-1, tail), true }
}

// onlyTo limits a fault to conversions to one target.
func onlyTo(to convert.Target, do func(*made) []string) func(*made) []string {
	return func(m *made) []string {
		if m.base.to != to {
			return nil
		}
		return do(m)
	}
}

// halves exchanges the two parts of the leading axis.
func halves(e *entry) {
	n := int64(len(e.data)) / 2
	e.data = slices.Concat(e.data[n:], e.data[:n])
}

// turnedParts transposes the matrices that the leading axis holds, and leaves the shape.
func turnedParts(e *entry) {
	rows, cols := e.shape[1], e.shape[2]
	rearranged(e, func(i int64) int64 {
		at := i % (rows * cols)
		return i - at + at%rows*cols + at/rows
	})
}

// tapsReversed turns [taps, channels] round.
func tapsReversed(e *entry) {
	n, taps := e.shape[1], e.shape[0]
	rearranged(e, func(i int64) int64 { return (taps-1-i/n)*n + i%n })
}

const (
	ffwUp, ffwUpB, ffwDown, ffwDownB    = "mlp_block.ffw_up.w", "mlp_block.ffw_up.b", "mlp_block.ffw_down.weight", "mlp_block.ffw_down.bias"
	projQ, projK, projV, projFinal      = "attention_block.proj_q.weight", "attention_block.proj_k.weight", "attention_block.proj_v.weight", "attention_block.proj_final.weight"
	linX, linY, linOut                  = "recurrent_block.linear_x.weight", "recurrent_block.linear_y.weight", "recurrent_block.linear_out.weight"
	convW, convB, lruParam              = "recurrent_block.conv_1d.w", "recurrent_block.conv_1d.b", "recurrent_block.rg_lru.a_param"
	lruInput, lruGate                   = "recurrent_block.rg_lru.input_gate.w", "recurrent_block.rg_lru.a_gate.w"
	normTemporal, normChannel, normLast = "temporal_pre_norm.scale", "channel_pre_norm.scale", "final_norm.scale"
	embedder                            = "embedder.input_embedding"
)

var (
	rec = model.Recurrent
	att = model.Attention
)

var backFaults = []fault{
	{backClass, "gate and up exchanged in ffw_up.w", one(inLast(ffwUp), halves), "its first part holds|its two indices exchanged", false},
	{backClass, "gate and up exchanged in ffw_up.b", one(inLast(ffwUpB), halves), "its first part holds|its two indices exchanged", false},
	{backClass, "gate twice in ffw_up.w", one(inLast(ffwUp), func(e *entry) { copy(e.data[len(e.data)/2:], e.data) }), "its second part holds ", false},
	{backClass, "up twice in ffw_up.w", one(inLast(ffwUp), func(e *entry) { copy(e.data, e.data[len(e.data)/2:]) }), "its first part holds ", false},
	{backClass, "both matrices of ffw_up.w transposed", one(inLast(ffwUp), turnedParts), "", false},
	{backClass, "ffw_up.w [2, out, in]", one(inLast(ffwUp), func(e *entry) { e.shape[1], e.shape[2] = e.shape[2], e.shape[1] }), "the same number of elements", false},
	{backClass, "ffw_up.b without its unit axes", one(inLast(ffwUpB), func(e *entry) { e.shape = []int64{2, e.shape[3]} }), "the same number of elements", false},
	{backClass, "ffw_up.w flat", one(inLast(ffwUp), func(e *entry) { e.shape = []int64{2 * e.shape[1], e.shape[2]} }), "instead of", false},
	{backClass, "query projection transposed", one(inFirst(att, projQ), transposedSquares), "transposed", false},
	{backClass, "output projection transposed", one(inFirst(att, projFinal), transposedSquares), "transposed", false},
	{backClass, "kernel of linear_x as torch has it", onlyTo(convert.ToOrbax, one(inFirst(rec, linX), func(e *entry) { slices.Reverse(e.shape) })), "looks transposed", false},
	{backClass, "weight of linear_x as Flax has it", onlyTo(convert.ToTorch, one(inFirst(rec, linX), func(e *entry) { slices.Reverse(e.shape) })), "looks transposed", false},
	{backClass, "kernel of ffw_down reshaped and not transposed", onlyTo(convert.ToOrbax, one(inLast(ffwDown), asIfReversed)), "reshaped instead of transposed", false},
	{backClass, "weight of ffw_down reshaped", onlyTo(convert.ToTorch, one(inLast(ffwDown), asIfReversed)), "", false},
	{backClass, "taps of the convolution reversed", one(inFirst(rec, convW), tapsReversed), "reversed along axis", false},
	{backClass, "taps of the convolution moved on by one", one(inFirst(rec, convW), rolled(1)), "rolled by", false},
	{backClass, "convolution [channels, taps]", one(inFirst(rec, convW), func(e *entry) { slices.Reverse(e.shape) }), "looks transposed", false},
	{backClass, "convolution [taps, 1, channels]", one(inFirst(rec, convW), func(e *entry) { e.shape = []int64{e.shape[0], 1, e.shape[1]} }), "instead of", false},
	{backClass, "convolution reshaped and not transposed", one(inFirst(rec, convW), asIfReversed), "", false},
	{backClass, "keys and values exchanged", both(inFirst(att, projK), inFirst(att, projV), exchange), "swapped with", false},
	{backClass, "linear_x and linear_y exchanged", both(inFirst(rec, linX), inFirst(rec, linY), exchange), "swapped with", false},
	{backClass, "the gates of the RG-LRU exchanged", both(inFirst(rec, lruInput), inFirst(rec, lruGate), exchange), "swapped with", false},
	{backClass, "every block of a gate transposed", one(inFirst(rec, lruGate), transposedSquares), "permuted to axes 0, 2, 1", false},
	{backClass, "gate heads rolled by one", one(inFirst(rec, lruInput), rolled(1)), "rolled by|two indices exchanged", false},
	{backClass, "norms before the two halves exchanged", both(inLast(normTemporal), inLast(normChannel), exchange), "swapped with", false},
	{backClass, "norm saved as 1 + scale", one(inLast(normChannel), each(func(x float32) float32 { return 1 + x })), "", false},
	{backClass, "norm of another block", stale(inLast(normTemporal), func(m *made) (string, bool) { return m.part(0, normTemporal), true }), "copied from", false},
	{backClass, "RG-LRU parameter negated", one(inFirst(rec, lruParam), each(func(x float32) float32 { return -x })), "scaled by -1", false},
	{backClass, "embedding scaled already", one(outside(embedder), multiplied(4)), "scaled by 4", false},
	{backClass, "embedding transposed", one(outside(embedder), func(e *entry) { slices.Reverse(e.shape) }), "looks transposed", false},
	{backClass, "one ulp in the embedding", one(outside(embedder), flip(-1, 0)), "1 of ", false},
	{backClass, "one ulp in ffw_up.w", one(inLast(ffwUp), flip(-3, 0)), "1 of ", false},
	{backClass, "one ulp in the convolution", one(inFirst(rec, convW), flip(9, 0)), "1 of ", false},
	{backClass, "infinity in linear_out", one(inFirst(rec, linOut), special(float32Inf)), "+Inf", false},
	{backClass, "final norm zeroed", one(outside(normLast), func(e *entry) { zero(e.data) }), "zeroed", false},
	{backClass, "a bias missing", missing(inLast(ffwDownB)), "missing", false},
	{backClass, "convolution bias missing", missing(inFirst(rec, convB)), "missing", false},
	{backClass, "final norm missing", missing(outside(normLast)), "missing", false},
	{backClass, "gate under transformers' name", func(m *made) []string {
		return m.rename(func(name string) string { return strings.Replace(name, "ffw_up.w", "gate_proj.weight", 1) })
	}, "renamed to", false},
	{backClass, "a dense layer under the other layout's name", func(m *made) []string {
		from := m.part(m.blocks-1, ffwDown)
		return m.rename(func(name string) string {
			if name == from {
				return strings.NewReplacer(".kernel", ".weight", ".weight", ".kernel").Replace(name)
			}
			return name
		})
	}, "renamed to", false},
	{backClass, "one tensor of another dtype, and a bit of it", one(inLast(ffwUp), castAndFlip), "elements differ", false},
	{backClass, "a head that is no copy of the embedding", func(m *made) []string {
		e := m.get(m.part(-1, embedder)).clone()
		e.name = model.Griffin.Roots[m.base.to.Layout()] + headName
		flip(5, 0)(e)
		m.tensors = append(m.tensors, e)
		return []string{e.name}
	}, "1 of ", false},
	{recordClass, "that of other weights", misrecorded("tensors", func(m *made, r map[string]any) {
		for _, t := range r["tensors"].([]any) {
			setDigest(t, strings.Repeat("0", 64))
		}
	}), "changed or damaged", false},
	{recordClass, "window of another model", func(m *made) []string {
		if m.record["settings"] == nil || !m.family().Has(att) {
			return nil
		}
		return misrecorded("settings.attention_window", func(m *made, r map[string]any) { inner(r, "settings")["attention_window"] = 2048 })(m)
	}, "2048", false},
}

// byBackPlan converts by a plan that is wrong.
var backConverterFaults = []fault{
	{converterClass, "the rule puts up first and the gate second", byPlan(func(_ *made, p *convert.Plan) []string {
		all, names := movesTo(p, ffwUp)
		if len(all) == 0 || len(all) == len(slices.Compact(slices.Clone(names))) {
			return nil // moved whole
		}
		for i := 0; i < len(all); i += 2 {
			all[i].Source, all[i+1].Source = all[i+1].Source, all[i].Source
			all[i].View, all[i+1].View = all[i+1].View, all[i].View
		}
		return slices.Compact(names)
	}), "its first part holds", false},
	{converterClass, "the rule transposes square projections once too often on the way back", byPlan(func(m *made, p *convert.Plan) []string {
		return changed(strings.TrimPrefix(m.part(-1, projQ), model.Griffin.Roots[m.base.to.Layout()]), func(v tensor.View) tensor.View { return v.Permute(1, 0) })(m, p)
	}), "transposed", false},
	{converterClass, "the rule takes the divided embedding for the model's", byPlan(func(m *made, p *convert.Plan) []string {
		all, names := movesTo(p, embedder)
		t := p.Source.Checkpoint.Tensor(embeddingName)
		if t == nil || all[0].Source == t {
			return nil
		}
		all[0].Source = t
		return names
	}), "scaled by 0.25", false},
}
