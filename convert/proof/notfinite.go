package proof

import (
	"encoding/binary"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// exponents are, by dtype, the masks that find numbers that are not finite among those in 8 bytes: their exponent has all bits set. Without its
// sign, such a number carries into the place of the sign when the lowest bit of the exponent is added.
var exponents = map[tensor.DType]struct{ signs, lowest uint64 }{
	tensor.F16:  {0x8000_8000_8000_8000, 0x0400_0400_0400_0400},
	tensor.BF16: {0x8000_8000_8000_8000, 0x0080_0080_0080_0080},
	tensor.F32:  {0x8000_0000_8000_0000, 0x0080_0000_0080_0000},
	tensor.F64:  {0x8000_0000_0000_0000, 0x0010_0000_0000_0000},
}

// HasNotFinite reports whether whole elements have NaN or infinities. It is false for other dtypes than floating-point ones.
func HasNotFinite(d tensor.DType, p []byte) bool {
	e, ok := exponents[d]
	if !ok {
		return false
	}
	found := uint64(0)
	for ; len(p) >= 32; p = p[32:] { // four at a time, which is twice as fast
		a, b := binary.LittleEndian.Uint64(p)&^e.signs+e.lowest, binary.LittleEndian.Uint64(p[8:])&^e.signs+e.lowest
		c, d := binary.LittleEndian.Uint64(p[16:])&^e.signs+e.lowest, binary.LittleEndian.Uint64(p[24:])&^e.signs+e.lowest
		found |= a | b | c | d
	}
	for ; len(p) >= 8; p = p[8:] {
		found |= binary.LittleEndian.Uint64(p)&^e.signs + e.lowest
	}
	var rest [8]byte
	copy(rest[:], p)
	found |= binary.LittleEndian.Uint64(rest[:])&^e.signs + e.lowest
	return found&e.signs != 0
}

// lookAt remembers a source if p, a part of its elements, has NaN or infinities.
func (t *tally) lookAt(source *tensor.Tensor, p []byte) {
	if !HasNotFinite(source.DType, p) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.notFinite == nil {
		t.notFinite = map[*tensor.Tensor]bool{}
	}
	t.notFinite[source] = true
}
