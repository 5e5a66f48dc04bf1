package verify

import (
	"fmt"
	"math/rand/v2"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Tokens are what a fixture is recorded for.
type Tokens struct {
	Batch, Length int
	Tokens        []int32 // [Batch, Length]
	Positions     []int32 // [Batch, Length]
	Packed        []int32 // further positions for the same tokens, or nil
}

// ReadTokens reads tokens, and positions and packed.positions where there are some, from a
// safetensors file, which may be a fixture.
func ReadTokens(path string) (*Tokens, error) {
	c, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	t, err := tokensOf(c)
	return t, describe(err, path)
}

func tokensOf(c *tensor.Checkpoint) (*Tokens, error) {
	tokens, err := readIntegers(c, "tokens")
	if err != nil {
		return nil, err
	}
	if tokens == nil {
		return nil, tensor.Bad("has no tensor tokens").Advise("it holds tokens and optional positions, both int32 [batch, length]")
	}
	t := &Tokens{Batch: int(tokens.shape[0]), Length: int(tokens.shape[1]), Tokens: tokens.values}
	t.Positions = counting(t.Batch, t.Length)
	for name, to := range map[string]*[]int32{"positions": &t.Positions, "packed.positions": &t.Packed} {
		positions, err := readIntegers(c, name)
		if err != nil {
			return nil, err
		}
		if positions == nil {
			continue
		}
		if positions.shape[0] != tokens.shape[0] || positions.shape[1] != tokens.shape[1] {
			return nil, tensor.Bad("shape is %s, that of tokens %s", tensor.ShapeString(positions.shape), tensor.ShapeString(tokens.shape)).Of(name)
		}
		*to = positions.values
	}
	return t, nil
}

// RandomTokens returns one row of n tokens of a vocabulary: the same for the same seed.
func RandomTokens(n int, vocabulary int64, seed uint64) (*Tokens, error) {
	if n < 1 || n > maxTokens {
		return nil, fmt.Errorf("%d tokens: there are at least 1 and at most %d", n, maxTokens)
	}
	random := rand.New(rand.NewPCG(seed, 0))
	t := &Tokens{Batch: 1, Length: n, Tokens: make([]int32, n), Positions: counting(1, n)}
	for i := range t.Tokens {
		t.Tokens[i] = int32(random.Int64N(vocabulary))
	}
	return t, nil
}

// check reports tokens that a vocabulary does not have.
func (t *Tokens) check(vocabulary int64) error {
	for i, token := range t.Tokens {
		if int64(token) >= vocabulary {
			return tensor.Bad("token %d of row %d is %d, and the model's vocabulary has %d", i%t.Length, i/t.Length, token, vocabulary)
		}
	}
	return nil
}
