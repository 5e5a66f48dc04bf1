package generate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/generate"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

const data = "../../testdata"

// open returns the model of a fixture with its settings.
func open(t testing.TB, name string) *reference.Model {
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
	return m.Reference(reference.Original, reference.Arithmetic{})
}

// run reads a prompt and generates.
func run(t testing.TB, m *reference.Model, prompt []int32, o generate.Options) (*generate.Session, []int32) {
	t.Helper()
	s := generate.New(m)
	if err := s.Read(context.Background(), prompt, nil); err != nil {
		t.Fatal(err)
	}
	r, err := s.Generate(context.Background(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, r.Tokens
}

// TestGreedy: greedy generation gives the tokens of google-deepmind/recurrentgemma, torch and JAX, over three attention
// windows. testdata/interop/generate.py wrote the file.
func TestGreedy(t *testing.T) {
	text, err := os.ReadFile("testdata/greedy.json")
	if err != nil {
		t.Fatal(err)
	}
	var samples []struct {
		Case           string
		Prompt, Tokens []int32
	}
	if err := json.Unmarshal(text, &samples); err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if _, got := run(t, open(t, s.Case), s.Prompt, generate.Options{Max: len(s.Tokens)}); !slices.Equal(got, s.Tokens) {
			t.Errorf("%s, prompt of %d: %v, want %v", s.Case, len(s.Prompt), got, s.Tokens)
		}
	}
}

// TestLongPrompt: a prompt that is read in blocks gives the continuation of one that is read token by token.
func TestLongPrompt(t *testing.T) {
	m := open(t, "odd-griffin")
	prompt := make([]int32, 1100)
	for i := range prompt {
		prompt[i] = int32(i * i % 61)
	}
	var done []int
	s := generate.New(m)
	for _, token := range prompt {
		if err := s.Read(context.Background(), []int32{token}, nil); err != nil {
			t.Fatal(err)
		}
	}
	want, err := s.Generate(context.Background(), generate.Options{Max: 20}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s = generate.New(m)
	if err := s.Read(context.Background(), prompt, func(n int) { done = append(done, n) }); err != nil {
		t.Fatal(err)
	}
	got, err := s.Generate(context.Background(), generate.Options{Max: 20}, nil)
	if err != nil || !slices.Equal(got.Tokens, want.Tokens) {
		t.Errorf("%v, want %v; %v", got.Tokens, want.Tokens, err)
	}
	if !slices.IsSorted(done) || !slices.Contains(done, 85) || done[len(done)-1] != len(prompt) { // 85 after the first half of three blocks
		t.Errorf("progress %v", done)
	}
	if s.Tokens() != len(prompt)+20 || got.Passes != 19 || got.Rate() <= 0 {
		t.Errorf("%d tokens in all, %d passes at %g per second", s.Tokens(), got.Passes, got.Rate())
	}
}

// TestReadOn: text that is read after a continuation follows it.
func TestReadOn(t *testing.T) {
	m := open(t, "micro-hawk")
	s, _ := run(t, m, []int32{37, 35, 20}, generate.Options{})
	text := []int32{37, 35, 20}
	for i := range int32(12) {
		got, err := s.Generate(context.Background(), generate.Options{Max: 3}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, want := run(t, m, text, generate.Options{Max: 3}); !slices.Equal(got.Tokens, want) {
			t.Errorf("after %d tokens: %v, want %v", len(text), got.Tokens, want)
		}
		more := []int32{3 * i, 39 - i}
		if err := s.Read(context.Background(), more, nil); err != nil {
			t.Fatal(err)
		}
		text = slices.Concat(text, got.Tokens, more)
	}
}

// TestStop: a stop token ends the continuation, and is its last one.
func TestStop(t *testing.T) {
	m := open(t, "odd-griffin")
	_, all := run(t, m, []int32{1, 2}, generate.Options{Max: 12})
	stop := all[5]
	first := slices.Index(all, stop)
	s := generate.New(m)
	if err := s.Read(context.Background(), []int32{1, 2}, nil); err != nil {
		t.Fatal(err)
	}
	var emitted []int32
	r, err := s.Generate(context.Background(), generate.Options{Max: 12, Stop: []int32{60, stop}}, func(token int32) error {
		emitted = append(emitted, token)
		return nil
	})
	if err != nil || !r.Stopped || !slices.Equal(r.Tokens, all[:first+1]) || !slices.Equal(emitted, r.Tokens) {
		t.Errorf("%v, emitted %v, want %v; %v", r.Tokens, emitted, all[:first+1], err)
	}
	if last, ok := s.Last(); !ok || last != stop {
		t.Errorf("last token %d, %t", last, ok)
	}
	full := errors.New("full")
	if _, err := s.Generate(context.Background(), generate.Options{Max: 2}, func(int32) error { return full }); err != full {
		t.Errorf("error of emit: %v", err)
	}
}

func TestErrors(t *testing.T) {
	m := open(t, "odd-griffin")
	s := generate.New(m)
	if _, err := s.Generate(context.Background(), generate.Options{Max: 1}, nil); !errors.Is(err, generate.ErrNoText) {
		t.Errorf("without a text: %v", err)
	}
	if err := s.Save(context.Background(), filepath.Join(t.TempDir(), "state"), "x"); !errors.Is(err, generate.ErrNoText) {
		t.Errorf("saved without a text: %v", err)
	}
	if err := s.Read(context.Background(), []int32{61}, nil); err == nil {
		t.Error("a token outside the vocabulary")
	}
	for _, bad := range []generate.Sampling{{Temperature: -1}, {Temperature: math.NaN()}, {Temperature: math.Inf(1)}, {TopK: -1}, {TopP: 1.5}, {TopP: math.NaN()}} {
		if _, err := s.Generate(context.Background(), generate.Options{Max: 1, Sampling: bad}, nil); err == nil || errors.Is(err, generate.ErrNoText) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := generate.New(m).Read(ctx, []int32{1}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestMemoryIsFlat: memory does not grow with the number of tokens. (testdata/interop/generate.py measures the command
// over 100,000 tokens.)
func TestMemoryIsFlat(t *testing.T) {
	count := 20_000
	if testing.Short() {
		count = 5_000
	}
	m := open(t, "micro-griffin")
	m.Weights = inMemory{m.Weights, map[string]*reference.Parameter{}}
	m.Threads = 1
	heap := func() int64 { // the least of some: a collection may leave what has a finalizer, or was made while it ran
		least := int64(math.MaxInt64)
		for range 4 {
			goruntime.GC()
			var stats goruntime.MemStats
			goruntime.ReadMemStats(&stats)
			least = min(least, int64(stats.HeapAlloc))
		}
		return least
	}
	s := generate.New(m)
	if err := s.Read(context.Background(), []int32{1, 2, 3}, nil); err != nil {
		t.Fatal(err)
	}
	var after []int64 // a tenth, and all
	for _, n := range []int{count / 10, count - count/10} {
		if _, err := s.Generate(context.Background(), generate.Options{Max: n, Sampling: generate.Sampling{Temperature: 1}}, nil); err != nil {
			t.Fatal(err)
		}
		after = append(after, heap())
	}
	t.Logf("%d tokens: heap of %d bytes after a tenth, %d at the end", s.Tokens(), after[0], after[1])
	if s.Tokens() != count+3 || after[1] > after[0]+64<<10 {
		t.Errorf("%d tokens: heap of %d bytes after a tenth, %d at the end", s.Tokens(), after[0], after[1])
	}
}

// inMemory keeps parameters in memory.
type inMemory struct {
	reference.Weights
	kept map[string]*reference.Parameter
}

func (w inMemory) Parameter(block int, name string) (*reference.Parameter, error) {
	key := fmt.Sprint(block, name)
	if p := w.kept[key]; p != nil {
		return p, nil
	}
	p, err := w.Weights.Parameter(block, name)
	if err != nil {
		return nil, err
	}
	n := int64(1)
	for _, d := range p.Shape {
		n *= d
	}
	content := make(reference.Bytes, n*int64(p.DType.Size()))
	if _, err := p.Data.ReadAt(content, 0); err != nil {
		return nil, err
	}
	kept := *p
	kept.Data = content
	w.kept[key] = &kept
	return &kept, nil
}
