package logits

import (
	"cmp"
	"math"
	"slices"
)

// PassMetrics compares the logits of a pass with those in float64.
type PassMetrics struct {
	Pass    string  `json:"pass,omitempty"` // "", "packed" or "decode"
	Fixture Metrics `json:"fixture"`        // of the fixture
	Legal   Metrics `json:"legal"`          // the worst value of each metric among the legal runs, at the same tokens

	Tokens  []TokenMetrics `json:"-"` // of the fixture, by token
	Scatter [][2]float32   `json:"-"` // some of the logits, float64 and the fixture's, for a plot
}

// Metrics says how much logits differ from others. If any of the logits is NaN, all but the counts are NaN, and Differ has the
// tokens with NaN.
type Metrics struct {
	Tokens  int    `json:"tokens"`
	Largest Number `json:"largest_difference"`
	Mean    Number `json:"mean_difference"`
	NMSE    Number `json:"nmse_db"`      // 10·log10(Σ(x−y)² / Σy²)
	KLMean  Number `json:"kl_mean"`      // Kullback-Leibler divergence of the tokens' distributions, in nats
	KLP95   Number `json:"kl_p95"`       // 95% of the tokens have less
	KLMax   Number `json:"kl_largest"`   //
	Top1    Number `json:"top1_agree"`   // share of tokens with the same most likely next token
	Top10   Number `json:"top10_agree"`  // mean share of the ten most likely that are the same
	Differ  int    `json:"top1_differs"` // tokens with another most likely next token
}

// TokenMetrics are the metrics of one token.
type TokenMetrics struct {
	Row, Token int
	KL         float64
	Largest    float64
	Top        [2]int // the most likely next token, in float64 and in the logits compared; -1 if some logit is NaN
}

// meter gathers metrics token by token. It keeps sums and one TokenMetrics a token, not the logits.
type meter struct {
	tokens   []TokenMetrics
	sum      float64 // of absolute differences
	squares  float64 // of differences
	norm     float64 // squares of the logits compared with
	count    float64 // of logits
	top1     int
	top10    float64
	topCount int  // tokens
	nan      bool // some logit is NaN
}

// logit is the type of logits.
type logit interface{ float32 | float64 }

// addLogits compares the logits x of one token with y.
func addLogits[X, Y logit](m *meter, row, token int, x []X, y []Y) {
	t := TokenMetrics{Row: row, Token: token}
	for i := range y {
		d := 0.0
		if float64(x[i]) != float64(y[i]) { // also if one is NaN
			d = math.Abs(float64(x[i]) - float64(y[i]))
		}
		m.sum += d
		m.squares += d * d
		m.norm += float64(y[i]) * float64(y[i])
		t.Largest = max(t.Largest, d) // NaN if either is
	}
	if math.IsNaN(t.Largest) {
		m.nan = true
	}
	m.count += float64(len(y))
	t.KL = divergence(y, x)
	const top = 10
	topY, topX := highest(y, top), highest(x, top)
	if len(topY) > 0 {
		t.Top = [2]int{mostLikely(y, topY), mostLikely(x, topX)}
		same := 0
		for _, i := range topY {
			if slices.Contains(topX, i) {
				same++
			}
		}
		m.top10 += float64(same) / float64(len(topY))
		if t.Top[0] == t.Top[1] && !math.IsNaN(t.Largest) {
			m.top1++
		}
		m.topCount++
	}
	m.tokens = append(m.tokens, t)
}

// divergence returns Σ p·(log p − log q) for the distributions p and q of logits y and x.
func divergence[X, Y logit](y []Y, x []X) float64 {
	ly, lx := logTotal(y), logTotal(x)
	var sum float64
	for i := range y {
		p := float64(y[i]) - ly
		if e := math.Exp(p); e != 0 { // NaN counts
			sum += e * (p - (float64(x[i]) - lx))
		}
	}
	return max(sum, 0) // rounding may leave it slightly below 0
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

// mostLikely returns the first of the highest logits x, or -1 if some logit is NaN.
func mostLikely[X logit](x []X, highest []int) int {
	if slices.ContainsFunc(x, func(v X) bool { return v != v }) {
		return -1
	}
	return highest[0]
}

// highest returns the indices of the n largest, largest first; of equal ones the first.
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

// metrics returns the metrics of all tokens.
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
		largest = max(largest, t.Largest)
	}
	slices.SortFunc(kl, CompareWorst)
	r.Largest, r.KLMean, r.KLMax = Number(largest), Number(total/float64(n)), Number(kl[n-1])
	r.KLP95 = Number(kl[min(n-1, (n*95+99)/100-1)])
	if m.topCount > 0 {
		r.Top1, r.Top10 = Number(float64(m.top1)/float64(m.topCount)), Number(m.top10/float64(m.topCount))
		r.Differ = m.topCount - m.top1
	}
	if m.nan {
		r.Top1, r.Top10, r.KLP95 = Number(math.NaN()), Number(math.NaN()), Number(math.NaN())
	}
	return r
}

// CompareWorst orders numbers ascending, NaN last.
func CompareWorst(a, b float64) int {
	switch {
	case math.IsNaN(a) && math.IsNaN(b):
		return 0
	case math.IsNaN(a):
		return 1
	case math.IsNaN(b):
		return -1
	}
	return cmp.Compare(a, b)
}

// worse returns the worse value of each metric.
func (m Metrics) worse(o Metrics) Metrics {
	if m.Tokens == 0 {
		return o
	}
	return Metrics{Tokens: m.Tokens, Largest: max(m.Largest, o.Largest), Mean: max(m.Mean, o.Mean), NMSE: max(m.NMSE, o.NMSE),
		KLMean: max(m.KLMean, o.KLMean), KLP95: max(m.KLP95, o.KLP95), KLMax: max(m.KLMax, o.KLMax),
		Top1: min(m.Top1, o.Top1), Top10: min(m.Top10, o.Top10), Differ: max(m.Differ, o.Differ)}
}
