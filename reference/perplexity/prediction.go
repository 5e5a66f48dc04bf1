package perplexity

import (
	"math"
	"runtime"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/reference"
)

// prediction is what one or two models say about one token.
type prediction struct {
	nll         [2]float64 // negative log-likelihood of the token
	top         [2]int32   // most likely token
	probability [2]float64 // of the most likely token
	kl          float64    // Σ p·log(p/q), with p of the first model and q of the second
	finite      bool
}

// predictions computes the predictions of tokens from the logits of each model, on all cores. Each is computed by one
// goroutine, so that their number changes no bit.
func predictions(logits []*reference.Activations, tokens []int32) []prediction {
	out := make([]prediction, len(tokens))
	var next atomic.Int64
	var group task.Group
	for range min(runtime.GOMAXPROCS(0), len(tokens)) {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < len(tokens); i = int(next.Add(1)) - 1 {
				out[i] = predict(logits, i, tokens[i])
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		panic(err)
	}
	return out
}

// predict computes the prediction of a token from row i of the logits:
//
//	log p(token) = logits[token] − log Σ exp(logits)
func predict(logits []*reference.Activations, i int, token int32) prediction {
	p := prediction{finite: true}
	var logZ [2]float64
	for m, a := range logits {
		first := i * a.Width
		top := 0
		for k := range a.Width {
			if a.At(first+k) > a.At(first+top) {
				top = k
			}
		}
		highest, sum := a.At(first+top), 0.0
		for k := range a.Width {
			sum += math.Exp(a.At(first+k) - highest)
		}
		logZ[m] = highest + math.Log(sum)
		p.nll[m] = logZ[m] - a.At(first+int(token))
		p.top[m] = int32(top)
		p.probability[m] = 1 / sum
		p.finite = p.finite && isFinite(p.nll[m])
	}
	if len(logits) == 1 {
		p.top[1] = p.top[0]
		return p
	}
	first, second := logits[0], logits[1]
	at := i * first.Width
	for k := range first.Width {
		logP, logQ := first.At(at+k)-logZ[0], second.At(at+k)-logZ[1]
		p.kl += math.Exp(logP) * (logP - logQ)
	}
	p.finite = p.finite && isFinite(p.kl)
	return p
}

func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
