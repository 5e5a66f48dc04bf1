package verify

import (
	"cmp"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/verify/golden"
)

// LogitsResult is the outcome of holding a model against a golden fixture: every result that the
// fixture has against the same in float64, judged by what legal rounding does (Envelope).
type LogitsResult struct {
	OK      bool   `json:"ok"`
	Summary string `json:"summary"` // one line

	Checkpoint     string                `json:"checkpoint"` // that was run
	Golden         string                `json:"golden"`
	Implementation golden.Implementation `json:"implementation"` // that recorded the fixture
	Versions       map[string]string     `json:"versions"`
	DType          string                `json:"dtype"`
	Backend        string                `json:"backend,omitempty"`
	Semantics      string                `json:"semantics"`

	Batch  int `json:"batch"`
	Length int `json:"length"`
	Window int `json:"window"` // of attention; 0 if the model has none

	Envelope *Envelope     `json:"envelope"`
	Sites    []*SiteResult `json:"sites"`   // in the order in which the model comes by them: each from tokens on, then fed
	Metrics  []PassMetrics `json:"metrics"` // of logits, by pass
	Faults   []*Fault      `json:"faults"`  // where the model and the fixture part, first to last; empty if OK
	Notes    []string      `json:"notes,omitempty"`
}

// SiteResult is one kind of result, such as the output of block 2, at all tokens of a pass.
type SiteResult struct {
	Pass string `json:"pass,omitempty"` // "", "packed" or "decode"
	Name string `json:"name"`           // "hidden.3", "temporal.3", "final_norm", "logits"

	// Fed says that the block was given the fixture's own input, so that its error is of this block
	// alone. Otherwise the model ran from the tokens on, and errors add up.
	Fed bool `json:"fed"`

	OK      bool   `json:"ok"`
	Exact   bool   `json:"exact,omitempty"` // held bit for bit
	Largest Number `json:"largest"`         // absolute difference from float64

	// The root mean square over the channels of the error, and the largest error, each over the root
	// mean square of the channels in float64, at the token where it is worst; and what is allowed.
	RMS        Number `json:"rms"`
	RMSAllowed Number `json:"rms_allowed"`
	Max        Number `json:"max"`
	MaxAllowed Number `json:"max_allowed"`

	Worst Place  `json:"worst"`           // the largest excess over (or share of) what is allowed
	First *Place `json:"first,omitempty"` // the first token outside, where there is one

	// Errors has both numbers for every token, [batch, length] (for decoding: of the positions that it
	// has), as plots show them, and what is allowed of each.
	Errors  []TokenError `json:"-"`
	Allowed [][2]float64 `json:"-"` // of RMS and Max
}

// Place is one number of a result.
type Place struct {
	Row      int    `json:"row"`
	Token    int    `json:"token"`    // of the row
	Position int32  `json:"position"` // that the model was told
	Channel  int    `json:"channel"`  // of logits: the vocabulary entry
	Share    Number `json:"share"`    // error over what is allowed there
}

// TokenError is the error of the channels of one token, over their root mean square in float64.
type TokenError struct {
	RMS, Max float64
	Channel  int     // that has the largest error
	Largest  float64 // error, not over anything
}

// PassMetrics compares the logits of a pass with those in float64.
type PassMetrics struct {
	Pass    string  `json:"pass,omitempty"` // "", "packed" or "decode"
	Fixture Metrics `json:"fixture"`        // the fixture's
	Legal   Metrics `json:"legal"`          // the worst, of each, of the runs that the envelope was measured with

	Tokens  []TokenMetrics `json:"-"` // of the fixture, by token
	Scatter [][2]float32   `json:"-"` // some of the logits, float64 and the fixture's, for a plot
}

// Metrics says how far logits are from others.
type Metrics struct {
	Tokens  int    `json:"tokens"`
	Largest Number `json:"largest_difference"`
	Mean    Number `json:"mean_difference"`
	NMSE    Number `json:"nmse_db"`      // 10·log10(Σ(x−y)² / Σy²)
	KLMean  Number `json:"kl_mean"`      // Kullback-Leibler divergence of a token's distribution, in nats
	KLP95   Number `json:"kl_p95"`       // 95 of 100 tokens have less
	KLMax   Number `json:"kl_largest"`   //
	Top1    Number `json:"top1_agree"`   // share of tokens with the same likeliest next token
	Top10   Number `json:"top10_agree"`  // mean share of the ten likeliest that are the same
	Differ  int    `json:"top1_differs"` // tokens with another likeliest next token
}

// TokenMetrics is what Metrics sums up, for one token.
type TokenMetrics struct {
	Row, Token int
	KL         float64
	Largest    float64
	Top        [2]int // the likeliest next token, in float64 and in the logits compared
}

// meter takes logits token by token and keeps only sums.
type meter struct {
	tokens   []TokenMetrics
	sum      float64 // of absolute differences
	squares  float64 // of differences
	norm     float64 // of the logits compared with
	count    float64
	top1     int
	top10    float64
	topCount int
}

// logit is a number that logits come in.
type logit interface{ float32 | float64 }

// add compares the logits x of one token with y.
func add[X, Y logit](m *meter, row, token int, x []X, y []Y) {
	t := TokenMetrics{Row: row, Token: token}
	for i := range y {
		d := math.Abs(apart(float64(x[i]), float64(y[i])))
		m.sum += d
		m.squares += d * d
		m.norm += float64(y[i]) * float64(y[i])
		if !(d <= t.Largest) {
			t.Largest = d
		}
	}
	m.count += float64(len(y))
	t.KL = divergence(y, x)
	const top = 10
	ours, theirs := highest(y, top), highest(x, top)
	if len(ours) > 0 {
		t.Top = [2]int{ours[0], theirs[0]}
		same := 0
		for _, i := range ours {
			if slices.Contains(theirs, i) {
				same++
			}
		}
		m.top10 += float64(same) / float64(len(ours))
		if t.Top[0] == t.Top[1] {
			m.top1++
		}
		m.topCount++
	}
	m.tokens = append(m.tokens, t)
}

// apart returns x - y, where what is not finite is no distance from its like.
func apart(x, y float64) float64 {
	if x == y || math.IsNaN(x) && math.IsNaN(y) {
		return 0
	}
	return x - y
}

// divergence returns Σ p·(log p − log q) for the distributions p and q of logits y and x.
func divergence[X, Y logit](y []Y, x []X) float64 {
	ly, lx := logTotal(y), logTotal(x)
	var sum float64
	for i := range y {
		p := float64(y[i]) - ly
		if e := math.Exp(p); e > 0 {
			sum += e * (p - (float64(x[i]) - lx))
		}
	}
	return max(sum, 0) // rounding may leave it a little below
}

// logTotal returns log Σ exp(x).
func logTotal[X logit](x []X) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, float64(v))
	}
	var sum float64
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}

// highest returns the indices of the n largest, largest first; of equals the first.
func highest[X logit](x []X, n int) []int {
	best := make([]int, 0, n+1)
	for i, v := range x {
		if len(best) == n && !(v > x[best[n-1]]) {
			continue
		}
		at := len(best)
		for at > 0 && v > x[best[at-1]] {
			at--
		}
		best = slices.Insert(best, at, i)
		best = best[:min(len(best), n)]
	}
	return best
}

// metrics sums up.
func (m *meter) metrics() Metrics {
	n := len(m.tokens)
	if n == 0 {
		return Metrics{}
	}
	r := Metrics{Tokens: n, Mean: Number(m.sum / m.count), NMSE: Number(10 * math.Log10(m.squares/m.norm))}
	if m.squares == 0 {
		r.NMSE = Number(math.Inf(-1))
	}
	kl := make([]float64, n)
	var total, largest float64
	for i, t := range m.tokens {
		kl[i] = t.KL
		total += t.KL
		if !(t.Largest <= largest) {
			largest = t.Largest
		}
	}
	slices.SortFunc(kl, func(a, b float64) int { // what is no number comes last, as the largest
		if math.IsNaN(a) || math.IsNaN(b) {
			return cmp.Compare(b2i(math.IsNaN(a)), b2i(math.IsNaN(b)))
		}
		return cmp.Compare(a, b)
	})
	r.Largest, r.KLMean, r.KLMax = Number(largest), Number(total/float64(n)), Number(kl[n-1])
	r.KLP95 = Number(kl[min(n-1, (n*95+99)/100-1)])
	if m.topCount > 0 {
		r.Top1, r.Top10 = Number(float64(m.top1)/float64(m.topCount)), Number(m.top10/float64(m.topCount))
		r.Differ = m.topCount - m.top1
	}
	return r
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// worse returns the worse of each number.
func (m Metrics) worse(o Metrics) Metrics {
	if m.Tokens == 0 {
		return o
	}
	return Metrics{Tokens: m.Tokens, Largest: max(m.Largest, o.Largest), Mean: max(m.Mean, o.Mean), NMSE: max(m.NMSE, o.NMSE),
		KLMean: max(m.KLMean, o.KLMean), KLP95: max(m.KLP95, o.KLP95), KLMax: max(m.KLMax, o.KLMax),
		Top1: min(m.Top1, o.Top1), Top10: min(m.Top10, o.Top10), Differ: max(m.Differ, o.Differ)}
}
