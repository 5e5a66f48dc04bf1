package golden

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// Tokens are rows of tokens to record a fixture for.
type Tokens struct {
	Batch, Length int
	IDs           []int32 // [Batch, Length]
	Positions     []int32 // [Batch, Length]
	Packed        []int32 // positions of a second pass over the same tokens, or nil
}

// ReadTokens reads the tensor tokens, and the optional tensors positions and packed.positions, from a safetensors file,
// which may be a fixture.
func ReadTokens(path string) (*Tokens, error) {
	c, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	t, err := tokensOf(c)
	if err == nil {
		err = storage.Unchanged(c.Source)
	}
	return t, tensor.Annotate(err, tensor.Location{File: path})
}

func tokensOf(c *tensor.Checkpoint) (*Tokens, error) {
	tokens, err := readIntegers(c, "tokens", maxTokens)
	if err != nil {
		return nil, err
	}
	if tokens == nil {
		return nil, tensor.Bad("has no tensor tokens, int32 [batch, length]")
	}
	t := &Tokens{Batch: int(tokens.shape[0]), Length: int(tokens.shape[1]), IDs: tokens.values}
	t.Positions = rowPositions(t.Batch, t.Length)
	for name, to := range map[string]*[]int32{"positions": &t.Positions, "packed.positions": &t.Packed} {
		positions, err := readIntegers(c, name, maxTokens)
		if err != nil {
			return nil, err
		}
		if positions == nil {
			continue
		}
		if positions.shape[0] != tokens.shape[0] || positions.shape[1] != tokens.shape[1] {
			return nil, tensor.Bad("shape is %s, but that of tokens is %s", tensor.ShapeString(positions.shape), tensor.ShapeString(tokens.shape)).Of(name)
		}
		*to = positions.values
	}
	return t, nil
}

// Row returns one row of the given tokens.
func Row(ids []int32) (*Tokens, error) {
	if len(ids) < 1 || len(ids) > maxTokens {
		return nil, fmt.Errorf("%d tokens, and griffin reads 1 to %d", len(ids), maxTokens)
	}
	return &Tokens{Batch: 1, Length: len(ids), IDs: ids, Positions: rowPositions(1, len(ids))}, nil
}

// RandomTokens returns one row of n tokens of a vocabulary. The same seed gives the same tokens.
func RandomTokens(n int, vocabulary int64, seed uint64) (*Tokens, error) {
	if n < 1 || n > maxRecorded {
		return nil, fmt.Errorf("%d tokens, but a fixture has 1 to %d", n, maxRecorded)
	}
	random := rand.New(rand.NewPCG(seed, 0))
	t := &Tokens{Batch: 1, Length: n, IDs: make([]int32, n), Positions: rowPositions(1, n)}
	for i := range t.IDs {
		t.IDs[i] = int32(random.Int64N(vocabulary))
	}
	return t, nil
}

// Digest identifies the tokens: it is that of IDs, row-major and little-endian, as tensors have it.
func (t *Tokens) Digest(a digest.Algorithms) digest.Sum {
	bytes := make([]byte, 0, 4*len(t.IDs))
	for _, id := range t.IDs {
		bytes = binary.LittleEndian.AppendUint32(bytes, uint32(id))
	}
	return digest.Of(a, bytes)
}

// check returns an error if a token is outside the vocabulary.
func (t *Tokens) check(vocabulary int) error {
	for i, token := range t.IDs {
		if int(token) >= vocabulary {
			return tensor.Bad("token %d of row %d is %d, but the vocabulary has %d", i%t.Length, i/t.Length, token, vocabulary)
		}
	}
	return nil
}
