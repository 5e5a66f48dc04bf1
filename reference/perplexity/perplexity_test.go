package perplexity_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/perplexity"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

const data = "../../testdata"

// open returns the model of a fixture with its settings.
func open(t testing.TB, name string, semantics reference.Semantics) *reference.Model {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, name, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Config struct {
			Window int64   `json:"attention_window_size"`
			Cap    float64 `json:"logits_soft_cap"`
			Scale  bool    `json:"embeddings_scale_by_sqrt_dim"`
		}
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	checkpoint, err := formats.Open(filepath.Join(data, name, "original", "torch.pt"), formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkpoint.Close() })
	m, err := runtime.Open(context.Background(), checkpoint, runtime.Options{Settings: model.Settings{
		AttentionWindow: &c.Config.Window, LogitsSoftCap: &c.Config.Cap, EmbeddingScale: &c.Config.Scale}})
	if err != nil {
		t.Fatal(err)
	}
	return m.Reference(semantics, reference.Arithmetic{})
}

// recording is what an implementation computed for the tokens of a fixture.
type recording struct {
	rows       [][]int32
	vocabulary int
	logits     []float32
}

func record(t *testing.T, name, implementation string) *recording {
	t.Helper()
	f, err := golden.Open(filepath.Join(data, name, "golden", implementation+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := f.Passes[0]
	r := &recording{vocabulary: p.Width("logits"), logits: make([]float32, len(p.Tokens)*p.Width("logits"))}
	if err := p.ReadAt(r.logits, "logits", 0); err != nil {
		t.Fatal(err)
	}
	for row := range p.Batch {
		r.rows = append(r.rows, p.Tokens[row*p.Length:][:p.Length])
	}
	return r
}

// logProbabilities returns those of the token after position i of a row.
func (r *recording) logProbabilities(row, i int) []float64 {
	logits := r.logits[(row*len(r.rows[0])+i)*r.vocabulary:][:r.vocabulary]
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x))
	}
	out := make([]float64, r.vocabulary)
	for k, x := range logits {
		out[k] = float64(x) - math.Log(sum)
	}
	return out
}

func (r *recording) nll() float64 {
	total, n := 0.0, 0
	for row, tokens := range r.rows {
		for i := range len(tokens) - 1 {
			total -= r.logProbabilities(row, i)[tokens[i+1]]
			n++
		}
	}
	return total / float64(n)
}

func score(t *testing.T, rows [][]int32, models ...*reference.Model) *perplexity.Result {
	t.Helper()
	s, err := perplexity.New(models...)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := errors.Join(s.Add(context.Background(), row), s.EndRow(context.Background())); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Result()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRecordings: perplexity is what the logits that the implementations computed give.
func TestRecordings(t *testing.T) {
	for _, tt := range []struct {
		implementation string
		semantics      reference.Semantics
	}{{"torch", reference.Original}, {"jax", reference.Original}, {"hf4", reference.Transformers4}, {"hf5", reference.Transformers5}} {
		r := record(t, "odd-griffin", tt.implementation)
		got := score(t, r.rows, open(t, "odd-griffin", tt.semantics))
		if want := r.nll(); math.Abs(got.NLL[0]-want) > 1e-5 || math.Abs(got.Perplexity(0)-math.Exp(want)) > 1e-3 {
			t.Errorf("%s: %g nats, want %g", tt.implementation, got.NLL[0], want)
		}
		if tokens := len(r.rows) * len(r.rows[0]); got.Tokens != tokens || got.Predicted != tokens-len(r.rows) || got.Pair != nil {
			t.Errorf("%s: %d tokens, %d predicted, %v", tt.implementation, got.Tokens, got.Predicted, got.Pair)
		}
	}
}

// TestPair: the divergence of transformers 5 from the original is what their recorded logits give.
func TestPair(t *testing.T) {
	first, second := record(t, "odd-griffin", "torch"), record(t, "odd-griffin", "hf5")
	kl, n := 0.0, 0
	var partings []perplexity.Parting
	for row, tokens := range first.rows {
		for i := range len(tokens) - 1 {
			p, q := first.logProbabilities(row, i), second.logProbabilities(row, i)
			for k := range p {
				kl += math.Exp(p[k]) * (p[k] - q[k])
			}
			n++
			if a, b := highest(p), highest(q); a != b {
				partings = append(partings, perplexity.Parting{Row: row, Position: i + 1, Token: tokens[i+1], Top: [2]int32{a, b}})
			}
		}
	}
	got := score(t, first.rows, open(t, "odd-griffin", reference.Original), open(t, "odd-griffin", reference.Transformers5))
	if math.Abs(got.Pair.KL-kl/float64(n)) > 1e-6 || got.Pair.Agreed != n-len(partings) || len(partings) == 0 {
		t.Errorf("KL %g, want %g; %d agree, want %d", got.Pair.KL, kl/float64(n), got.Pair.Agreed, n-len(partings))
	}
	if math.Abs(got.NLL[1]-second.nll()) > 1e-5 {
		t.Errorf("second: %g nats, want %g", got.NLL[1], second.nll())
	}
	for i, p := range got.Pair.Partings {
		if !(p.KL > 0 && p.Probability[0] > 0 && p.Probability[1] < 1) {
			t.Errorf("%+v", p)
		}
		p.KL, p.Probability = 0, [2]float64{}
		if p != partings[i] {
			t.Errorf("parting %d is %+v, want %+v", i, p, partings[i])
		}
	}
}

func highest(x []float64) int32 { return int32(slices.Index(x, slices.Max(x))) }

// TestPieces: neither the pieces in which a row arrives nor those in which logits are computed change the result, and a model
// equals itself.
func TestPieces(t *testing.T) {
	m := open(t, "odd-griffin", reference.Original)
	row := make([]int32, 1500)
	for i := range row {
		row[i] = int32(i * i * 7 % 61)
	}
	want := score(t, [][]int32{row}, m)
	for _, pieces := range [][]int{{1}, {7, 500, 3}, {513}, {512}} {
		restore := perplexity.SetLogitsMemory(7 * 4 * 61)
		s, err := perplexity.New(m, m)
		if err != nil {
			t.Fatal(err)
		}
		for at, i := 0, 0; at < len(row); i++ {
			n := min(pieces[i%len(pieces)], len(row)-at)
			if err := s.Add(context.Background(), row[at:at+n]); err != nil {
				t.Fatal(err)
			}
			at += n
		}
		if err := s.EndRow(context.Background()); err != nil {
			t.Fatal(err)
		}
		restore()
		got, err := s.Result()
		if err != nil || math.Abs(got.NLL[0]-want.NLL[0]) > 1e-12 || got.Predicted != len(row)-1 {
			t.Errorf("pieces of %v: %+v, want %+v; %v", pieces, got, want, err)
		}
		if got.NLL[0] != got.NLL[1] || got.Pair.KL != 0 || got.Pair.Agreed != got.Predicted || got.Pair.Partings != nil {
			t.Errorf("a model and itself: %+v, %+v", got, got.Pair)
		}
	}
}

// TestProgress: tokens that are being scored count by the share of the blocks and of the logits that is done, so that a short text shows progress too.
func TestProgress(t *testing.T) {
	m := open(t, "odd-griffin", reference.Original)
	defer perplexity.SetLogitsMemory(100 * 4 * 61)()
	for _, models := range [][]*reference.Model{{m}, {m, m}} {
		s, err := perplexity.New(models...)
		if err != nil {
			t.Fatal(err)
		}
		var done []int
		s.Progress = func(tokens int) { done = append(done, tokens) }
		for _, length := range []int{301, 1025} {
			if err := errors.Join(s.Add(t.Context(), make([]int32, length)), s.EndRow(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.IsSorted(done) || done[0] != 0 || !slices.Contains(done, 300) || !slices.Contains(done, 301+512) || done[len(done)-1] != 301+1024 {
			t.Errorf("%d models: %v", len(models), done)
		}
		if first := slices.Compact(done[:slices.Index(done, 300)]); len(first) < 8*len(models) {
			t.Errorf("%d models: only %v in the first row", len(models), first)
		}
	}
}

func TestErrors(t *testing.T) {
	ctx := context.Background()
	m := open(t, "odd-griffin", reference.Original)
	var bad *tensor.FormatError
	if _, err := perplexity.New(m, open(t, "micro-griffin", reference.Original)); !errors.As(err, &bad) {
		t.Errorf("two vocabularies: %v", err)
	}
	if _, err := perplexity.New(); err == nil {
		t.Error("no model")
	}
	s, err := perplexity.New(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Add(ctx, []int32{5}), s.EndRow(ctx)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Result(); !errors.Is(err, perplexity.ErrNothingPredicted) {
		t.Errorf("a row of one token: %v", err)
	}
	if err := errors.Join(s.Add(ctx, []int32{5, 61, 2}), s.EndRow(ctx)); err == nil {
		t.Error("a token outside the vocabulary is read")
	}
	if s, err = perplexity.New(m); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Add(ctx, []int32{5, 61}), s.EndRow(ctx)); err == nil {
		t.Error("a token outside the vocabulary is predicted")
	}
}
