package perplexity

// Span is the mean score of the tokens at some positions of their rows.
type Span struct {
	From, To  int       // positions in the row, To not included
	Predicted int       // tokens of all rows
	NLL       []float64 // for each model, as in Result
	KL        float64   // of two models, as in Pair
}

// maxSpans is the most spans of a curve.
const maxSpans = 128

// curve sums scores over spans of positions. All spans are of one width, which doubles when a row grows longer than they are.
type curve struct {
	width int
	sums  []sums
}

type sums struct {
	predicted int
	nll       [2]float64
	kl        float64
}

// add adds a prediction at a position of its row.
func (c *curve) add(position int, p *prediction) {
	if c.width == 0 {
		c.width = 1
	}
	for position/c.width >= maxSpans {
		c.widen()
	}
	at := position / c.width
	for len(c.sums) <= at {
		c.sums = append(c.sums, sums{})
	}
	c.sums[at].include(sums{1, p.nll, p.kl})
}

// widen makes one span of every two.
func (c *curve) widen() {
	for i := range c.sums {
		s := c.sums[i]
		c.sums[i] = sums{}
		c.sums[i/2].include(s)
	}
	c.sums = c.sums[:(len(c.sums)+1)/2]
	c.width *= 2
}

func (s *sums) include(o sums) {
	s.predicted += o.predicted
	s.nll[0] += o.nll[0]
	s.nll[1] += o.nll[1]
	s.kl += o.kl
}

// spans returns the spans that have tokens.
func (c *curve) spans(models int) []Span {
	var out []Span
	for i, s := range c.sums {
		if s.predicted == 0 {
			continue
		}
		n := float64(s.predicted)
		x := Span{From: i * c.width, To: (i + 1) * c.width, Predicted: s.predicted, KL: s.kl / n}
		for m := range models {
			x.NLL = append(x.NLL, s.nll[m]/n)
		}
		out = append(out, x)
	}
	return out
}
