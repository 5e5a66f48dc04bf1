package reference

// sight is what each token of a pass may see of the tokens before it in its row. All that the
// implementations disagree on about windows and document boundaries is here.
type sight struct {
	reset    []bool // the recurrence starts anew at this token
	taps     []int  // how many tokens back the convolution may look
	firstKey []int  // the first token of the row that attention sees, counted from the row's start
}

// row is where a row of the batch has got to.
type row struct {
	tokens   int   // seen so far
	position int32 // of the last one
	document int   // where the current document began, in tokens: what attention may go back to
}

// unlimited is the reach of attention without a window.
const unlimited = -1

// reach returns how many keys before its own a query may see.
func (s Semantics) reach(window int) int {
	switch s {
	case Transformers4:
		return unlimited
	case Transformers5:
		return window - 1
	default:
		return window
	}
}

// look advances the rows over the positions [rows, length] of a pass, and returns what each token
// sees.
func look(rows []row, positions []int32, length int, semantics Semantics, window int) sight {
	s := sight{make([]bool, len(positions)), make([]int, len(positions)), make([]int, len(positions))}
	reach := semantics.reach(window)
	for i, position := range positions {
		r := &rows[i/length]
		switch {
		case semantics == Original && position == 0,
			semantics == Transformers5 && r.tokens > 0 && position != r.position+1:
			r.document = r.tokens
		}
		s.reset[i] = position == 0
		s.taps[i] = min(r.tokens, convTaps-1)
		if semantics == Original {
			s.taps[i] = min(r.tokens-r.document, convTaps-1)
		}
		s.firstKey[i] = r.document
		if reach != unlimited {
			s.firstKey[i] = max(r.document, r.tokens-reach)
		}
		r.tokens, r.position = r.tokens+1, position
	}
	return s
}

// Sight is what a token may see of the tokens before it.
type Sight struct {
	Keys  int  // tokens that attention sees, with its own
	Taps  int  // inputs of the convolution before its own, at most 3
	Reset bool // the recurrence starts anew
}

// Sights returns what each token of rows [batch, length] sees that are run from their start.
func Sights(s Semantics, window int, positions []int32, batch int) []Sight {
	length := len(positions) / batch
	seen := look(make([]row, batch), positions, length, s, window)
	out := make([]Sight, len(positions))
	for i := range out {
		out[i] = Sight{Keys: i%length - seen.firstKey[i] + 1, Taps: seen.taps[i], Reset: seen.reset[i]}
	}
	return out
}
