package reference_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// parameters is a reference.Weights that holds all parameters in memory. All blocks share them.
type parameters map[string]*reference.Parameter

func (p parameters) Parameter(block int, name string) (*reference.Parameter, error) {
	parameter, ok := p[name]
	if !ok {
		return nil, fmt.Errorf("block %d has no parameter %s", block, name)
	}
	return parameter, nil
}

// add adds a float32 parameter of the given shape and elements. One element stands for all.
func (p parameters) add(name string, shape []int64, elements ...float32) {
	count := int64(1)
	for _, d := range shape {
		count *= d
	}
	var data reference.Bytes
	for i := range count {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(elements[int(i)%len(elements)]))
	}
	p[name] = &reference.Parameter{DType: tensor.F32, Shape: shape, Data: data}
}

// A model of one recurrent block, of width 2, and three tokens of a vocabulary of 3.
func Example() {
	p := parameters{}
	p.add(reference.Embedding, []int64{3, 2}, 1, 0, 0, 1, -1, 1)
	for _, name := range []string{reference.TemporalNorm, reference.ChannelNorm, reference.FinalNorm} {
		p.add(name, []int64{2}, 0) // the factor is 1 + 0
	}
	for _, name := range []string{reference.LinearX, reference.LinearY, reference.LinearOut} {
		p.add(name+reference.Kernel, []int64{2, 2}, 1, 0, 0, 1)
		p.add(name+reference.Bias, []int64{2}, 0)
	}
	p.add(reference.Conv1D+reference.Kernel, []int64{2, 1, 4}, 0, 0, 0.5, 1)
	p.add(reference.Conv1D+reference.Bias, []int64{2}, 0)
	p.add(reference.AParam, []int64{2}, -2)
	for _, name := range []string{reference.InputGate, reference.AGate} {
		p.add(name+reference.Kernel, []int64{1, 2, 2}, 0.1)
		p.add(name+reference.Bias, []int64{2}, 0)
	}
	for _, name := range []string{reference.MLPGate, reference.MLPUp} {
		p.add(name+reference.Kernel, []int64{4, 2}, 0.5, -0.5)
		p.add(name+reference.Bias, []int64{4}, 0)
	}
	p.add(reference.MLPDown+reference.Kernel, []int64{2, 4}, 0.25)
	p.add(reference.MLPDown+reference.Bias, []int64{2}, 0)

	model := reference.Model{
		Config: reference.Config{VocabSize: 3, Width: 2, MLPExpandedWidth: 4, NumHeads: 1, LRUWidth: 2,
			BlockTypes: []reference.BlockType{reference.Recurrent}, LogitsSoftCap: 30, EmbeddingScale: true},
		Weights: p,
	}
	err := model.Run(context.Background(), reference.Pass{
		Tokens: []int32{0, 1, 2},
		Batch:  1,
		Observe: func(o reference.Observation) error {
			if o.Site == reference.Logits {
				for t := range o.Length {
					fmt.Printf("token %d: %.4f\n", t, o.Float32[t*o.Width:][:o.Width])
				}
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// token 0: [1.4002 0.1915 -1.2090]
	// token 1: [0.0714 1.4114 1.3401]
	// token 2: [-0.6393 1.2607 1.8983]
}
