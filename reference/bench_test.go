package reference

import (
	"context"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// repeated is the data of a parameter of any size: a small pool, repeated.
type repeated []byte

func (r repeated) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], r[(int(off)+n)%len(r):])
	}
	return len(p), nil
}

// sized is Weights of the shapes of a configuration, in the layout of torch.
type sized struct {
	Config
	pool repeated
}

func (s sized) Parameter(block int, name string) (*Parameter, error) {
	width, expanded, lru, head, heads := s.Width, s.MLPExpandedWidth, s.LRUWidth, s.HeadDim(), s.NumHeads
	shape := map[string][]int{
		Embedding: {s.VocabSize, width}, FinalNorm: {width}, TemporalNorm: {width}, ChannelNorm: {width},
		MLPGate + Kernel: {expanded, width}, MLPGate + Bias: {expanded}, MLPUp + Kernel: {expanded, width}, MLPUp + Bias: {expanded},
		MLPDown + Kernel: {width, expanded}, MLPDown + Bias: {width},
		LinearX + Kernel: {lru, width}, LinearX + Bias: {lru}, LinearY + Kernel: {lru, width}, LinearY + Bias: {lru},
		LinearOut + Kernel: {width, lru}, LinearOut + Bias: {width}, Conv1D + Kernel: {lru, s.ConvTaps()}, Conv1D + Bias: {lru},
		AParam: {lru}, InputGate + Kernel: {heads, lru / heads, lru / heads}, InputGate + Bias: {lru},
		AGate + Kernel: {heads, lru / heads, lru / heads}, AGate + Bias: {lru},
		ProjQ + Kernel: {width, width}, ProjK + Kernel: {head, width}, ProjV + Kernel: {head, width},
		ProjFinal + Kernel: {width, width}, ProjFinal + Bias: {width},
	}[name]
	p := &Parameter{DType: tensor.BF16, Data: s.pool}
	for _, d := range shape {
		p.Shape = append(p.Shape, int64(d))
	}
	return p, nil
}

// BenchmarkBlock runs 128 tokens through one block of each kind in the size of 2B. That model has 18
// recurrent and 8 attention blocks, and its logits take as long as 8 blocks.
func BenchmarkBlock(b *testing.B) {
	pool := make(repeated, 1<<20)
	for i := range pool {
		pool[i] = byte(0x3c + i%2)
	}
	for _, kind := range []BlockType{Recurrent, Attention} {
		for precision := range Fast + 1 {
			b.Run(kind.String()+"/"+precision.String(), func(b *testing.B) {
				c := Config{VocabSize: 8, Width: 2560, MLPExpandedWidth: 7680, NumHeads: 10, LRUWidth: 2560,
					BlockTypes: []BlockType{kind}, AttentionWindow: 2048}
				m := &Model{Config: c, Weights: sized{c, pool}, Arithmetic: Arithmetic{Precision: precision}}
				for b.Loop() {
					if err := m.Run(context.Background(), Pass{Tokens: make([]int32, 128), Batch: 1, End: 1}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
