package verify

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
)

const (
	qProj, kProj, vProj, oProj  = "temporal_block.q_proj.weight", "temporal_block.k_proj.weight", "temporal_block.v_proj.weight", "temporal_block.o_proj.weight"
	linearX, linearY, linearOut = "temporal_block.linear_x.weight", "temporal_block.linear_y.weight", "temporal_block.linear_out.weight"
	convWeight, convBias        = "temporal_block.conv_1d.weight", "temporal_block.conv_1d.bias"
	inputGate, recurrentGate    = "temporal_block.rg_lru.input_gate_weight", "temporal_block.rg_lru.recurrent_gate_weight"
	inputGateB, recurrentGateB  = "temporal_block.rg_lru.input_gate_bias", "temporal_block.rg_lru.recurrent_gate_bias"
	aParam                      = "temporal_block.rg_lru.recurrent_param"
	gateProj, upProj, downProj  = "mlp_block.gate_proj.weight", "mlp_block.up_proj.weight", "mlp_block.down_proj.weight"
	gateBias, upBias, downBias  = "mlp_block.gate_proj.bias", "mlp_block.up_proj.bias", "mlp_block.down_proj.bias"
	temporalNorm, channelNorm   = "temporal_pre_norm.weight", "channel_pre_norm.weight"
	finalNorm                   = "model.final_norm.weight"
	embeddingName               = "model.embed_tokens.weight"
	float32NaN, float32Inf      = 0x7fc00000, 0x7f800000
	weightsClass, layoutClass   = "weights", "layout"
	namesClass, headClass       = "names", "head"
	configClass, filesClass     = "configuration", "files"
	converterClass              = "converter"
)

var embedding = named1(embeddingName)

var weightFaults = []fault{
	{weightsClass, "one ulp in the last element of the embedding", one(embedding, flip(-1, 0)), "1 of ", false},
	{weightsClass, "one ulp in the first element of a query projection", one(attention(qProj), flip(0, 0)), "1 of ", false},
	{weightsClass, "one ulp in one element of a transposed matrix", one(last(gateProj), flip(77, 0)), "1 of ", false},
	{weightsClass, "one ulp in one convolution tap", one(recurrent(convWeight), flip(5, 0)), "1 of ", false},
	{weightsClass, "one ulp in a bias", one(last(downBias), flip(3, 0)), "1 of ", false},
	{weightsClass, "one sign", one(last(upProj), flip(-1, -1)), "1 of ", false},
	{weightsClass, "one exponent bit", one(recurrent(linearOut), flip(11, -3)), "1 of ", false},
	{weightsClass, "NaN in a norm", one(named1(finalNorm), special(float32NaN)), "NaN", false},
	{weightsClass, "infinity in a gate", one(recurrent(inputGate), special(float32Inf)), "+Inf", false},
	{weightsClass, "a NaN in a matrix that is transposed", one(last(downProj), special(float32NaN)), "NaN", false},
	{weightsClass, "minus zero for a small number", one(last(gateBias), special(1<<31)), "-0 (", false},
	{weightsClass, "linear_x and linear_y exchanged", both(recurrent(linearX), recurrent(linearY), exchange), "swapped with", false},
	{weightsClass, "keys and values exchanged", both(attention(kProj), attention(vProj), exchange), "swapped with", false},
	{weightsClass, "queries and output projection exchanged", both(attention(qProj), attention(oProj), exchange), "swapped with", false},
	{weightsClass, "gate and up exchanged", both(last(gateProj), last(upProj), exchange), "swapped with", false},
	{weightsClass, "biases of gate and up exchanged", both(last(gateBias), last(upBias), exchange), "swapped with", false},
	{weightsClass, "input gate and recurrence gate exchanged", both(recurrent(inputGate), recurrent(recurrentGate), exchange), "swapped with", false},
	{weightsClass, "biases of the two gates exchanged", both(recurrent(inputGateB), recurrent(recurrentGateB), exchange), "swapped with", false},
	{weightsClass, "norms before the two halves exchanged", both(last(temporalNorm), last(channelNorm), exchange), "swapped with", false},
	{weightsClass, "convolution bias and RG-LRU parameter exchanged", both(recurrent(convBias), recurrent(aParam), exchange), "swapped with", false},
	{weightsClass, "query projection transposed", one(attention(qProj), transposedSquares), "transposed", false},
	{weightsClass, "output projection transposed", one(attention(oProj), transposedSquares), "transposed", false},
	{weightsClass, "every block of a gate transposed", one(recurrent(recurrentGate), transposedSquares), "permuted to axes 0, 2, 1", false},
	{weightsClass, "up projection reshaped and not transposed", one(last(upProj), asIfReversed), "reshaped instead of transposed", false},
	{weightsClass, "down projection reshaped and not transposed", one(last(downProj), asIfReversed), "", false},
	{weightsClass, "query heads rolled by one", func(m *made) []string { return one(attention(qProj), rolled(m.family().HeadDim()))(m) }, "an attention head is", false},
	{weightsClass, "gate heads rolled by one", one(recurrent(inputGate), rolled(1)), "rolled by|two indices exchanged", false},
	{weightsClass, "channels of the output projection rolled by a head", func(m *made) []string {
		head := m.family().HeadDim()
		return one(attention(oProj), func(e *entry) {
			n := e.shape[1]
			rearranged(e, func(i int64) int64 { return i/n*n + (i%n+head)%n })
		})(m)
	}, "", false},
	{weightsClass, "query rows as pairs j, j+1 for the rotation", one(attention(qProj), func(e *entry) {
		n, half := e.shape[1], e.shape[0]/2
		rearranged(e, func(i int64) int64 { return (i/n%2*half+i/n/2)*n + i%n })
	}), "", false},
	{weightsClass, "vocabulary off by one, the first row twice", one(embedding, func(e *entry) {
		n := e.shape[1]
		rearranged(e, func(i int64) int64 { return max(i-n, i%n) })
	}), "", false},
	{weightsClass, "vocabulary rolled by one", one(embedding, rolled(1)), "rolled by", false},
	{weightsClass, "two rows of the embedding exchanged", one(embedding, swapRows(3, 7)), "", false},
	{weightsClass, "a row of the embedding zeroed", one(embedding, func(e *entry) { zero(e.row(5)) }), "", false},
	{weightsClass, "the last row of a matrix zeroed", one(last(downProj), func(e *entry) { zero(e.row(e.shape[0] - 1)) }), "", false},
	{weightsClass, "a bias zeroed", one(recurrent(convBias), func(e *entry) { zero(e.data) }), "zeroed", false},
	{weightsClass, "a matrix zeroed", one(attention(vProj), func(e *entry) { zero(e.data) }), "zeroed", false},
	{weightsClass, "two columns of a matrix exchanged", one(last(downProj), func(e *entry) {
		n := e.shape[1]
		rearranged(e, func(i int64) int64 {
			switch i % n {
			case 1:
				return i + 1
			case 2:
				return i - 1
			}
			return i
		})
	}), "", false},
	{weightsClass, "MLP of another block", stale(named1(in(0, downProj)), last(downProj)), "copied from", false},
	{weightsClass, "gate projection of another block", stale(named1(in(0, gateProj)), named1(in(1, gateProj))), "copied from layer 1", false},
	{weightsClass, "norm of another block", stale(last(temporalNorm), named1(in(0, temporalNorm))), "copied from layer 0", false},
	{weightsClass, "gate projection twice, in place of up", stale(last(upProj), last(gateProj)), "copied from", false},
	{weightsClass, "final norm of the last block", stale(named1(finalNorm), last(channelNorm)), "copied from", false},
	{weightsClass, "keys twice, in place of values", stale(attention(vProj), attention(kProj)), "copied from", false},
	{weightsClass, "recurrent half of another block", func(m *made) []string {
		a, _ := m.layer(model.Recurrent, 0)
		b, ok := m.layer(model.Recurrent, 1)
		if !ok {
			return nil
		}
		var out []string
		for _, name := range m.all(fmt.Sprintf("layers.%d.temporal_block.", a)) {
			m.get(name).data = slices.Clone(m.get(strings.Replace(name, fmt.Sprint("layers.", a), fmt.Sprint("layers.", b), 1)).data)
			out = append(out, name)
		}
		return out
	}, "copied from layer 1", false},
	{weightsClass, "MLP blocks moved on by one", func(m *made) []string {
		last := map[string][]byte{}
		var out []string
		for layer := range m.blocks {
			for _, tail := range []string{gateProj, gateBias, upProj, upBias, downProj, downBias} {
				e := m.get(in(layer, tail))
				from := last[tail]
				if layer == 0 {
					from = m.get(in(m.blocks-1, tail)).data
				}
				last[tail] = e.data
				e.data = slices.Clone(from)
				out = append(out, e.name)
			}
		}
		return out
	}, "copied from|swapped between layers 0 and 1", false},
	{weightsClass, "convolution taps reversed", one(recurrent(convWeight), func(e *entry) {
		n := e.shape[2]
		rearranged(e, func(i int64) int64 { return i/n*n + n - 1 - i%n })
	}), "reversed along axis", false},
	{weightsClass, "convolution taps moved on by one", one(recurrent(convWeight), func(e *entry) {
		n := e.shape[2]
		rearranged(e, func(i int64) int64 { return i/n*n + (i+1)%n })
	}), "", false},
	{weightsClass, "RG-LRU parameter negated", one(recurrent(aParam), each(func(x float32) float32 { return -x })), "scaled by -1", false},
	{weightsClass, "RG-LRU parameter through softplus already", one(recurrent(aParam), each(func(x float32) float32 { return float32(math.Log1p(math.Exp(float64(x)))) })), "", false},
	{weightsClass, "norm saved as 1 + scale", one(last(channelNorm), each(func(x float32) float32 { return 1 + x })), "", false},
	{weightsClass, "embedding scaled already", func(m *made) []string {
		root := float32(math.Sqrt(float64(m.family().Width)))
		return one(embedding, each(func(x float32) float32 { return x * root }))(m)
	}, "", false},
	{weightsClass, "query scaled by head_dim^-0.5 already", func(m *made) []string {
		root := float32(1 / math.Sqrt(float64(m.family().HeadDim())))
		return one(attention(qProj), each(func(x float32) float32 { return x * root }))(m)
	}, "", false},
	{weightsClass, "one ulp in every element", one(recurrent(linearOut), func(e *entry) {
		for i := range e.count() {
			e.setBits(i, e.bits(i)^1)
		}
	}), "elements differ", false},
	{weightsClass, "bytes in the other order", one(last(upProj), func(e *entry) { tensor.SwapBytes(e.data, int(e.size())) }), "", false},
	{weightsClass, "lowest bit of every element cleared", func(m *made) []string {
		if m.base.dtype == tensor.F32 { // which has it clear already
			return nil
		}
		return one(embedding, func(e *entry) {
			for i := range e.count() {
				e.setBits(i, e.bits(i)&^1)
			}
		})(m)
	}, "", false},
	{weightsClass, "rounded to bfloat16 on the way", func(m *made) []string {
		if m.get(embeddingName).dtype != tensor.F32 || m.base.dtype == tensor.F32 && !strings.Contains(m.name, "float16") || strings.HasPrefix(m.name, "bfloat16") {
			return nil
		}
		return one(embedding, func(e *entry) { e.cast(tensor.BF16); e.cast(tensor.F32) })(m)
	}, "", false},
	{weightsClass, "rounded toward zero", func(m *made) []string {
		if m.name != "float32 to bfloat16, Orbax" {
			return nil
		}
		exact := m.exact(embeddingName)
		return one(embedding, func(e *entry) {
			for i, x := range exact {
				e.setBits(int64(i), uint64(math.Float32bits(x)>>16))
			}
		})(m)
	}, "truncated to bfloat16, not rounded to nearest", false},
	{weightsClass, "rounded twice, to float16 on the way", func(m *made) []string {
		if m.name != "float32 to bfloat16, Orbax" {
			return nil
		}
		exact := m.exact(embeddingName)
		return one(embedding, func(e *entry) {
			half := &entry{dtype: tensor.F16}
			half.set(exact)
			e.set(half.values())
		})(m)
	}, "rounded through float16", false},
	{weightsClass, "everything zero", func(m *made) []string {
		var out []string
		for _, e := range m.tensors {
			zero(e.data)
			out = append(out, e.name)
		}
		return out
	}, "zeroed", false},
}

func (m *made) family() *model.Config { return &m.base.config }

// exact returns the values that a tensor has before they are rounded.
func (m *made) exact(name string) []float32 {
	b := *m.base
	b.dtype = tensor.Invalid
	return b.convert(m.t, nil).get(name).values()
}

var layoutFaults = []fault{
	{layoutClass, "convolution without its unit axis", one(recurrent(convWeight), func(e *entry) { e.shape = []int64{e.shape[0], e.shape[2]} }), "instead of", false},
	{layoutClass, "gate projection [in, out]", one(last(gateProj), func(e *entry) { slices.Reverse(e.shape) }), "looks transposed", false},
	{layoutClass, "key projection [in, out]", one(attention(kProj), func(e *entry) { slices.Reverse(e.shape) }), "looks transposed", false},
	{layoutClass, "RG-LRU parameter by heads", func(m *made) []string {
		c := m.family()
		return one(recurrent(aParam), reshaped(c.NumHeads, c.LRUWidth/c.NumHeads))(m)
	}, "instead of", false},
	{layoutClass, "gate bias flat", func(m *made) []string { return one(recurrent(inputGateB), reshaped(m.family().LRUWidth))(m) }, "instead of", false},
	{layoutClass, "embedding a row short", contradicting(one(embedding, func(e *entry) {
		e.shape[0]--
		e.data = e.data[:e.shape[0]*e.shape[1]*e.size()]
	}), "vocab_size"), "instead of", false},
	{layoutClass, "embedding padded to a multiple of 64", contradicting(one(embedding, func(e *entry) {
		e.shape[0] = (e.shape[0]/64 + 1) * 64
		e.data = append(e.data, make([]byte, e.shape[0]*e.shape[1]*e.size()-int64(len(e.data)))...)
	}), "vocab_size"), "instead of", false},
	{layoutClass, "up and gate in one tensor", func(m *made) []string {
		gate, up := in(0, gateProj), in(0, upProj)
		e := m.get(gate)
		e.shape[0] *= 2
		e.data = append(e.data, m.get(up).data...)
		m.remove(up)
		return []string{gate, up}
	}, "missing", false},
	{layoutClass, "a scalar", one(named1(finalNorm), func(e *entry) { e.shape, e.data = nil, e.data[:e.size()] }), "instead of", false},
	{layoutClass, "one tensor of another dtype, and a bit of it", one(last(upProj), castAndFlip), "elements differ", false},
	{layoutClass, "all norms of another dtype, and a bit of each", func(m *made) []string {
		names := append(m.all("norm"), []string{}...)
		for _, name := range names {
			castAndFlip(m.get(name))
		}
		return names
	}, "elements differ", false},
	{layoutClass, "bits of integers", one(recurrent(aParam), func(e *entry) {
		e.dtype = map[int64]tensor.DType{2: tensor.I16, 4: tensor.I32}[e.size()]
	}), "instead of", false},
}

// castAndFlip gives a tensor another dtype, and changes an element by the least of it.
func castAndFlip(e *entry) {
	e.cast(otherType(e.dtype))
	flip(3, 0)(e)
}

var nameFaults = []fault{
	{namesClass, "key projection missing", missing(attention(kProj)), "missing", false},
	{namesClass, "a bias missing", missing(last(upBias)), "missing", false},
	{namesClass, "embedding missing", missing(embedding), "missing", false},
	{namesClass, "final norm missing", missing(named1(finalNorm)), "missing", false},
	{namesClass, "last block missing", func(m *made) []string {
		names := m.all(fmt.Sprintf("layers.%d.", m.blocks-1))
		for _, name := range names {
			m.remove(name)
		}
		return names
	}, "missing", false},
	{namesClass, "a bias too many", func(m *made) []string {
		i, ok := m.layer(model.Attention, 0)
		if !ok {
			return nil
		}
		name := in(i, "temporal_block.q_proj.bias")
		m.tensors = append(m.tensors, &entry{name, tensor.F32, []int64{4}, make([]byte, 16)})
		return []string{name}
	}, "not a tensor of the model", false},
	{namesClass, "a block too many", func(m *made) []string {
		var out []string
		for _, name := range m.all(fmt.Sprintf("layers.%d.", m.blocks-1)) {
			e := m.get(name).clone()
			e.name = strings.Replace(name, fmt.Sprint("layers.", m.blocks-1), fmt.Sprint("layers.", m.blocks), 1)
			m.tensors = append(m.tensors, e)
			out = append(out, e.name)
		}
		return append(out, "num_hidden_layers", "block_types")
	}, "not a tensor of the model", false},
	{namesClass, "rotary frequencies saved too", func(m *made) []string {
		i, ok := m.layer(model.Attention, 0)
		if !ok {
			return nil
		}
		name := in(i, "temporal_block.rotary_emb.inv_freq")
		m.tensors = append(m.tensors, &entry{name, tensor.F32, []int64{2}, make([]byte, 8)})
		return []string{name}
	}, "not a tensor of the model", false},
	{namesClass, "output projection under the original's name", renamed("o_proj", "proj_final"), "renamed to", false},
	{namesClass, "RG-LRU parameter under the original's name", renamed("recurrent_param", "a_param"), "renamed to", false},
	{namesClass, "one letter of another case", renamed("final_norm", "Final_norm"), "renamed to", false},
	{namesClass, "layers without model.", renamed("model.layers.", "layers."), "renamed to", false},
	{namesClass, "with a wrapper", func(m *made) []string {
		return m.rename(func(name string) string { return "module." + name })
	}, "renamed to", false},
	{namesClass, "blocks counted from 1", func(m *made) []string {
		out := m.rename(func(name string) string {
			for i := range m.blocks {
				if rest, ok := strings.CutPrefix(name, fmt.Sprintf("model.layers.%d.", i)); ok {
					return in(i+1, rest)
				}
			}
			return name
		})
		return append(out, m.all("model.layers.")...) // what stands under a name that is right is the block before
	}, "renamed to", false},
	{namesClass, "the first block removed, and the others renumbered", func(m *made) []string {
		before := m.all("model.layers.")
		m.renumber(1, func(block int) []int { return []int{block - 1} })
		return append(append(before, m.all("model.layers.")...), "num_hidden_layers", "block_types")
	}, "renamed to", false},
	{namesClass, "a block twice, and those behind it renumbered", func(m *made) []string {
		behind := func(names []string, first int) []string {
			return slices.DeleteFunc(names, func(name string) bool {
				_, n, _ := diff.SplitLayer(name)
				return n < first
			})
		}
		before := behind(m.all("model.layers."), 2)
		m.renumber(0, func(block int) []int {
			switch block {
			case 0:
				return []int{0}
			case 1:
				return []int{1, 2}
			}
			return []int{block + 1}
		})
		return append(append(before, behind(m.all("model.layers."), 2)...), "num_hidden_layers", "block_types")
	}, "renamed to|not a tensor of the model", false},
}

// renumber gives the blocks from the first on other numbers, or several, and leaves out those before.
func (m *made) renumber(first int, to func(block int) []int) {
	var out []*entry
	for _, e := range m.tensors {
		list, n, rest := diff.SplitLayer(e.name)
		if list != "model.layers" {
			out = append(out, e)
			continue
		}
		if n < first {
			continue
		}
		for _, n := range to(n) {
			moved := e.clone()
			moved.name = in(n, rest)
			out = append(out, moved)
		}
	}
	m.tensors = out
}

func missing(name func(*made) (string, bool)) func(*made) []string {
	return func(m *made) []string {
		n, ok := name(m)
		if !ok {
			return nil
		}
		m.remove(n)
		return []string{n}
	}
}

// renamed changes a part of names.
func renamed(from, to string) func(*made) []string {
	return func(m *made) []string {
		return m.rename(func(name string) string { return strings.Replace(name, from, to, 1) })
	}
}

func withHeadOf(edit func(e *entry)) func(*made) []string {
	return func(m *made) []string {
		e := m.get(embeddingName).clone()
		e.name = headName
		edit(e)
		m.tensors = append(m.tensors, e)
		return []string{headName}
	}
}

var headFaults = []fault{
	{headClass, "a head that differs in one ulp", withHeadOf(flip(100, 0)), "1 of ", false},
	{headClass, "a head of zeros", withHeadOf(func(e *entry) { zero(e.data) }), "zeroed", false},
	{headClass, "a head of another shape", withHeadOf(func(e *entry) { slices.Reverse(e.shape) }), "the head is tied", false},
	{headClass, "a head of another dtype", withHeadOf(func(e *entry) { e.cast(otherType(e.dtype)) }), "the head is tied", false},
	{headClass, "an embedding that is not the source's, beside a head that is", func(m *made) []string {
		return append(withHeadOf(func(*entry) {})(m), one(embedding, rolled(2))(m)...)
	}, "embed_tokens", false},
}

var configFaults = []fault{
	{configClass, "window + 2", recorded(field("attention_window_size", func(m *made) any { return m.family().AttentionWindow + 2 })), "this is window + 2", false},
	{configClass, "window - 1", recorded(field("attention_window_size", func(m *made) any { return m.family().AttentionWindow - 1 })), "this is window - 1", false},
	{configClass, "default window", recorded(field("attention_window_size", constant(2048))), "attention would", false},
	{configClass, "no window", without("attention_window_size"), "stands for 2048", false},
	{configClass, "window under its other name", recorded(field("sliding_window", constant(4096))), "", false},
	{configClass, "wrong soft cap", recorded(field("logits_soft_cap", constant(50.0))), "", false},
	{configClass, "soft cap as an integer", field("logits_soft_cap", func(m *made) any {
		if m.family().LogitsSoftCap == 0 {
			return nil
		}
		return int64(m.family().LogitsSoftCap)
	}), "transformers 5.23 does not load", false},
	{configClass, "no soft cap", field("logits_soft_cap", constant(0.0)), "", false},
	{configClass, "soft cap left to the default", func(m *made) []string {
		if m.family().LogitsSoftCap == 30 {
			return nil
		}
		return without("logits_soft_cap")(m)
	}, "stands for 30", false},
	{configClass, "twice as many heads", field("num_attention_heads", func(m *made) any { return 2 * m.family().NumHeads }), "", false},
	{configClass, "as many key and value heads as query heads", field("num_key_value_heads", func(m *made) any { return m.family().NumHeads }), "share one key and value head", false},
	{configClass, "key and value heads left to the default", without("num_key_value_heads"), "no such field, which stands for", false},
	{configClass, "key and value heads null", func(m *made) []string {
		m.config["num_key_value_heads"] = nil
		return []string{"num_key_value_heads"}
	}, "null, which stands for", false},
	{configClass, "wrong head_dim", field("head_dim", func(m *made) any { return 2 * m.family().HeadDim() }), "", false},
	{configClass, "wrong hidden_size", field("hidden_size", func(m *made) any { return m.family().Width + 1 }), "", false},
	{configClass, "intermediate_size of the MLP's width itself", field("intermediate_size", func(m *made) any { return m.family().MLPExpandedWidth }), "half of it", false},
	{configClass, "a block too few", field("num_hidden_layers", func(m *made) any { return m.blocks - 1 }), "", false},
	{configClass, "blocks left to the default", without("num_hidden_layers"), "stands for 26", false},
	{configClass, "block pattern the other way round", func(m *made) []string {
		blocks := slices.Clone(m.family().BlockTypes)
		slices.Reverse(blocks)
		if slices.Equal(blocks, m.family().BlockTypes) {
			return nil
		}
		return field("block_types", constant(blocks))(m)
	}, "", false},
	{configClass, "only recurrent blocks", field("block_types", constant([]string{"recurrent"})), "", false},
	{configClass, "block types of transformers 5's own names", field("block_types", constant([]string{"linear_attention", "linear_attention", "sliding_attention"})), "", false},
	{configClass, "no block types", field("block_types", constant([]string{})), "", false},
	{configClass, "lru_width of the model's width", func(m *made) []string { return field("lru_width", func(m *made) any { return m.family().Width })(m) }, "", false},
	{configClass, "lru_width left to the default", without("lru_width"), "no such field, which stands for", false},
	{configClass, "three convolution taps", field("conv1d_width", constant(3)), "", false},
	{configClass, "GELU in its exact form", field("hidden_activation", constant("gelu")), "another function", false},
	{configClass, "eps of 1e-5", field("rms_norm_eps", constant(1e-5)), "every norm", false},
	{configClass, "another rope_theta, as transformers 5 reads it", field("rope_parameters.rope_theta", constant(500000.0)), "other angles", false},
	{configClass, "another rope_theta, as transformers 4 reads it", field("rope_theta", constant(500000.0)), "other angles", false},
	{configClass, "whole heads turned, as transformers 5 reads it", field("rope_parameters.partial_rotary_factor", constant(1.0)), "", false},
	{configClass, "whole heads turned, as transformers 4 reads it", field("partial_rotary_factor", constant(1.0)), "", false},
	{configClass, "another kind of rotation", field("rope_parameters.rope_type", constant("linear")), "", false},
	{configClass, "scaled rotation", func(m *made) []string {
		m.config["rope_scaling"] = map[string]any{"factor": 2.0}
		return []string{"rope_scaling.factor"}
	}, "instead of rope_parameters", false},
	{configClass, "head not tied, and not there", field("tie_word_embeddings", constant(false)), "random weights", false},
	{configClass, "another vocabulary", field("vocab_size", func(m *made) any { return m.family().VocabSize + 1 }), "", false},
	{configClass, "vocabulary left to the default", without("vocab_size"), "stands for 256000", false},
	{configClass, "another model type", field("model_type", constant("gemma2")), "", false},
	{configClass, "no model type", without("model_type"), "no such field", false},
	{configClass, "another architecture", field("architectures", constant([]string{"GemmaForCausalLM"})), "", false},
	{configClass, "attention with biases", field("attention_bias", constant(true)), "", false},
	{configClass, "attention with dropout", field("attention_dropout", constant(0.1)), "", false},
	{configClass, "another dtype", field("dtype", func(m *made) any { return otherType(m.get(embeddingName).dtype).String() }), "", false},
	{configClass, "another dtype, under its older name", field("torch_dtype", func(m *made) any { return otherType(m.get(embeddingName).dtype).String() }), "", false},
	{configClass, "a dtype that torch does not have", field("dtype", constant("bf16")), "neither transformers 5.23 nor 4.57 loads", false},
	{configClass, "a function that transformers does not have", field("hidden_activation", constant("gelu_pytorch")), "neither transformers 5.23 nor 4.57 loads", false},
	{configClass, "quantised when it is loaded", func(m *made) []string {
		m.config["quantization_config"] = map[string]any{"quant_method": "bitsandbytes"}
		return []string{"quantization_config.quant_method"}
	}, "", false},
	{configClass, "padding token outside the vocabulary", field("pad_token_id", func(m *made) any { return m.family().VocabSize }), "outside the vocabulary", false},
	{configClass, "a number as a string", field("hidden_size", func(m *made) any { return fmt.Sprint(m.family().Width) }), "", false},
	{configClass, "no config.json", func(m *made) []string {
		m.config = nil
		return []string{"config.json"}
	}, "cannot load", false},
}

var fileFaults = []fault{
	{filesClass, "a tensor is missing from the index", files(func(_ string, _ []string, index map[string]any) error {
		delete(index["weight_map"].(map[string]any), finalNorm)
		return nil
	}, func(*made) string { return finalNorm }), "", true},
	{filesClass, "the index places a tensor in another file", files(func(_ string, shards []string, index map[string]any) error {
		index["weight_map"].(map[string]any)[finalNorm] = filepath.Base(shards[0])
		return nil
	}, func(*made) string { return finalNorm }), "", true},
	{filesClass, "the index has a tensor that no file has", files(func(_ string, shards []string, index map[string]any) error {
		index["weight_map"].(map[string]any)["model.layers.99.x"] = filepath.Base(shards[0])
		return nil
	}, func(*made) string { return "model.layers.99.x" }), "", true},
	{filesClass, "a shard is missing", files(func(_ string, shards []string, _ map[string]any) error { return os.Remove(shards[1]) },
		func(*made) string { return "model-00002-of-" }), "shard is missing", true},
	{filesClass, "two shards under each other's name", files(func(_ string, shards []string, _ map[string]any) error {
		a, b := readFile(shards[0]), readFile(shards[1])
		return firstOf(os.WriteFile(shards[0], b, 0o666), os.WriteFile(shards[1], a, 0o666))
	}, func(*made) string { return "model-00001-of-" }), "the index says that the tensor is in", true},
	{filesClass, "a shard is cut short", files(func(_ string, shards []string, _ map[string]any) error {
		text := readFile(shards[2])
		return os.WriteFile(shards[2], text[:len(text)-1], 0o666)
	}, func(*made) string { return "model-00003-of-" }), "", true},
	{filesClass, "a shard of another conversion", files(func(_ string, shards []string, _ map[string]any) error {
		text := readFile(shards[1])
		return os.WriteFile(shards[1], bytes.Replace(text, []byte(`"model.layers.`), []byte(`"model_layers.`), 1), 0o666)
	}, func(*made) string { return "model_layers." }), "not in the index", true},
	{filesClass, "one file, cut short", func(m *made) []string {
		m.disturb = func(dir string) error {
			path := filepath.Join(dir, "model.safetensors")
			text := readFile(path)
			return os.WriteFile(path, text[:len(text)/2], 0o666)
		}
		return []string{"model.safetensors"}
	}, "", true},
	{filesClass, "two tensors share their bytes", func(m *made) []string {
		m.disturb = func(dir string) error { return edit(filepath.Join(dir, "model.safetensors"), shareBytes) }
		return []string{"model.safetensors"}
	}, "", true},
	{filesClass, "two tensors of a file under each other's name in its header", func(m *made) []string {
		m.disturb = func(dir string) error {
			return edit(filepath.Join(dir, "model.safetensors"), func(header map[string]any) {
				a, b := in(0, temporalNorm), in(0, channelNorm)
				header[a], header[b] = header[b], header[a]
			})
		}
		return []string{in(0, temporalNorm), in(0, channelNorm)}
	}, "swapped with", false},
	{filesClass, "bytes zero behind the first page, as a copy that was interrupted leaves them", func(m *made) []string {
		m.disturb = func(dir string) error {
			path := filepath.Join(dir, "model.safetensors")
			text := readFile(path)
			clear(text[len(text)-64:])
			return os.WriteFile(path, text, 0o666)
		}
		return m.endsWith(64)
	}, "", false},
	{filesClass, "config.json cut short", func(m *made) []string {
		m.disturb = func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"vocab_size": `), 0o666)
		}
		return []string{"config.json"}
	}, "", true},
}

// endsWith returns the tensors that lie in the last n bytes of the file.
func (m *made) endsWith(n int64) []string {
	var specs []tensor.Spec
	for _, e := range m.tensors {
		specs = append(specs, tensor.Spec{Name: e.name, DType: e.dtype, Shape: e.shape})
	}
	layout, err := safetensors.NewLayout(specs, 0, map[string]string{"format": "pt"})
	if err != nil {
		panic(err)
	}
	var out []string
	for i, p := range layout.Ranges {
		if p.Offset+p.Length > layout.Files[0].Size-n {
			out = append(out, m.tensors[i].name)
		}
	}
	return out
}

// byPlan converts by a plan that is wrong.
func byPlan(spoil func(m *made, p *convert.Plan) []string) func(*made) []string {
	return func(m *made) []string {
		var want []string
		wrong := m.base.convert(m.t, func(p *convert.Plan) { want = spoil(m, p) })
		m.tensors = wrong.tensors
		return want
	}
}

// movesTo returns the moves that fill tensors whose names end so.
func movesTo(p *convert.Plan, tail string) (out []*moves.Move, names []string) {
	for i := range p.Moves {
		if name := p.Dests[p.Moves[i].Dest].Name; strings.HasSuffix(name, tail) {
			out, names = append(out, &p.Moves[i]), append(names, name)
		}
	}
	return out, names
}

// swapped plans each other's source and view for two kinds of tensors.
func swapped(a, b string) func(*made, *convert.Plan) []string {
	return func(_ *made, p *convert.Plan) []string {
		x, namesX := movesTo(p, a)
		y, namesY := movesTo(p, b)
		for i := range x {
			x[i].Source, y[i].Source = y[i].Source, x[i].Source
			x[i].View, y[i].View = y[i].View, x[i].View
		}
		return append(namesX, namesY...)
	}
}

// changed plans another view for a kind of tensors.
func changed(tail string, view func(v tensor.View) tensor.View) func(*made, *convert.Plan) []string {
	return func(_ *made, p *convert.Plan) []string {
		all, names := movesTo(p, tail)
		for _, move := range all {
			move.View = view(move.View)
		}
		return names
	}
}

var converterFaults = []fault{
	{converterClass, "the rule takes gate for up and up for gate", byPlan(swapped(gateProj, upProj)), "swapped with", false},
	{converterClass, "the rule takes the gate's bias for both", byPlan(func(_ *made, p *convert.Plan) []string {
		x, _ := movesTo(p, gateBias)
		y, names := movesTo(p, upBias)
		for i := range y {
			y[i].View = x[i].View
		}
		return names
	}), "copied from", false},
	{converterClass, "the rule exchanges keys and values", byPlan(swapped(kProj, vProj)), "swapped with", false},
	{converterClass, "the rule exchanges the gates of the RG-LRU", byPlan(swapped(inputGate, recurrentGate)), "swapped with", false},
	{converterClass, "the rule transposes square projections once too often", byPlan(changed(qProj, func(v tensor.View) tensor.View { return v.Permute(1, 0) })), "transposed", false},
	{converterClass, "the rule transposes the blocks of a gate", byPlan(changed(recurrentGate, func(v tensor.View) tensor.View { return v.Permute(0, 2, 1) })), "permuted to axes 0, 2, 1", false},
	{converterClass, "the rule orders a gate's axes otherwise", byPlan(changed(inputGate, func(v tensor.View) tensor.View {
		return tensor.View{Shape: v.Shape, Strides: []int64{v.Shape[1], v.Shape[0] * v.Shape[1], 1}, Offset: v.Offset}
	})), "", false},
	{converterClass, "the rule reshapes up where it should transpose", byPlan(changed(upProj, func(v tensor.View) tensor.View {
		return tensor.View{Shape: v.Shape, Strides: []int64{v.Shape[1], 1}, Offset: v.Offset}
	})), "", false},
	{converterClass, "the rule takes the next block's norm", byPlan(func(_ *made, p *convert.Plan) []string {
		all, names := movesTo(p, channelNorm)
		for i := range len(all) - 1 {
			all[i].Source = all[i+1].Source
		}
		return names[:len(names)-1]
	}), "copied from", false},
	{converterClass, "the rule mixes up two norms", byPlan(swapped(temporalNorm, channelNorm)), "swapped with", false},
	{converterClass, "the rule forgets a tap of the convolution", byPlan(changed(convWeight, func(v tensor.View) tensor.View {
		v.Strides = slices.Clone(v.Strides)
		v.Strides[len(v.Strides)-1] = 0
		return v
	})), "", false},
	{converterClass, "the rule begins a matrix one element late", byPlan(func(m *made, p *convert.Plan) []string {
		all, names := movesTo(p, upProj)
		for _, move := range all {
			move.View.Offset-- // into the gate's last element
		}
		return names
	}), "", false},
	{converterClass, "the rule repeats one row of the vocabulary", byPlan(changed("embed_tokens.weight", func(v tensor.View) tensor.View {
		v.Strides = slices.Clone(v.Strides)
		v.Strides[0] = 0
		return v
	})), "", false},
}

// Small tools.

func readJSON(path string) map[string]any {
	var out map[string]any
	if err := json.Unmarshal(readFile(path), &out); err != nil {
		panic(err)
	}
	return out
}

func toJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func readFile(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return text
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// edit changes the header of a safetensors file.
func edit(path string, change func(header map[string]any)) error {
	text := readFile(path)
	n := binary.LittleEndian.Uint64(text)
	var header map[string]any
	if err := json.Unmarshal(text[8:8+n], &header); err != nil {
		return err
	}
	change(header)
	head := toJSON(header)
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	return os.WriteFile(path, slices.Concat(length, head, text[8+n:]), 0o666)
}

func shareBytes(header map[string]any) {
	a, b := header[in(0, temporalNorm)].(map[string]any), header[in(0, channelNorm)].(map[string]any)
	b["data_offsets"] = a["data_offsets"]
}
