package reference

// mask is what each token of a pass can see of the earlier tokens of its row. All differences
// between the implementations in attention windows and document boundaries are here.
type mask struct {
	reset    []bool // the RG-LRU state is reset before this token
	taps     []int  // number of earlier tokens that the convolution sees
	firstKey []int  // first token that attention sees, counted from the start of the row
}

// row is the progress of one row of a batch.
type row struct {
	tokens        int   // tokens seen so far
	position      int32 // position of the last of them
	documentStart int   // first token that attention can see of the current document
}

// unlimited is the reach of attention without a window.
const unlimited = -1

// reach returns how many keys before its own token a query sees.
func (s Semantics) reach(window int) int {
	switch s {
	case Transformers4, Candle:
		return unlimited
	case Transformers5, MLX:
		return window - 1
	default:
		return window
	}
}

// WindowFull returns the first position of a document from which attention with a window no longer sees every earlier token;
// 0 if it sees them from every position.
func (s Semantics) WindowFull(window int) int { return s.reach(window) + 1 }

// advance moves the rows forward over the positions [rows, length] of a pass, and returns the mask
// of its tokens.
func advance(rows []row, positions []int32, length int, semantics Semantics, window, convTaps int) mask {
	m := mask{make([]bool, len(positions)), make([]int, len(positions)), make([]int, len(positions))}
	reach := semantics.reach(window)
	for i, position := range positions {
		r := &rows[i/length]
		switch {
		case semantics == Original && position == 0,
			semantics == Transformers5 && r.tokens > 0 && position != r.position+1:
			r.documentStart = r.tokens
		}
		m.reset[i] = position == 0
		m.taps[i] = min(r.tokens, convTaps-1)
		if semantics == Original {
			m.taps[i] = min(r.tokens-r.documentStart, convTaps-1)
		}
		m.firstKey[i] = r.documentStart
		if reach != unlimited {
			m.firstKey[i] = max(r.documentStart, r.tokens-reach)
		}
		r.tokens, r.position = r.tokens+1, position
	}
	return m
}

// TokenMask is what one token can see of the earlier tokens of its row.
type TokenMask struct {
	Keys  int  // tokens that attention sees, including this one
	Taps  int  // earlier tokens that the convolution sees
	Reset bool // the RG-LRU state is reset before this token
}

// TokenMasks returns the mask of each token of a batch of rows that start from no state, for a model with an attention
// window and a number of taps of the convolution. Positions has the shape [batch, length].
func TokenMasks(s Semantics, window, taps int, positions []int32, batch int) []TokenMask {
	length := len(positions) / batch
	if !s.TakesPositions() {
		positions = make([]int32, len(positions))
		for i := range positions {
			positions[i] = int32(i % length)
		}
	}
	m := advance(make([]row, batch), positions, length, s, window, taps)
	out := make([]TokenMask, len(positions))
	for i := range out {
		out[i] = TokenMask{Keys: i%length - m.firstKey[i] + 1, Taps: m.taps[i], Reset: m.reset[i]}
	}
	return out
}
