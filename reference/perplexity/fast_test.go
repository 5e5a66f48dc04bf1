package perplexity_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/kernel"
	"github.com/griffin-ckpt/griffin/reference/perplexity"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

var measureFast = flag.String("fast", "", "write reference/FAST.md anew, with the error and the speed of this Hugging Face `checkpoint`")

const fastPage = "../FAST.md"

// randomTokens returns n tokens drawn at random, the same ones every time.
func randomTokens(n, vocabulary int) []int32 {
	rng := rand.New(rand.NewPCG(31, 32))
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32(rng.IntN(vocabulary))
	}
	return tokens
}

// with returns a model that computes in a precision.
func with(m *reference.Model, p reference.Precision) *reference.Model {
	other := *m
	other.Arithmetic.Precision = p
	return &other
}

// logitsOf returns the logits of tokens.
func logitsOf(t *testing.T, m *reference.Model, tokens []int32) (logits []float32) {
	t.Helper()
	err := m.Run(context.Background(), reference.Pass{Tokens: tokens, Batch: 1, Observe: func(o reference.Observation) error {
		if o.Site == reference.Logits {
			logits = o.Float32
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return logits
}

// errorRow returns a row of the table of errors: of the logits of up to 128 tokens, and of the predictions of all tokens.
func errorRow(t *testing.T, name, stored string, m *reference.Model, p reference.Precision, tokens []int32) string {
	t.Helper()
	few := tokens[:min(len(tokens), 128)]
	want, got := logitsOf(t, with(m, reference.Float32), few), logitsOf(t, with(m, p), few)
	var square, lost, most float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		square, lost, most = square+float64(w)*float64(w), lost+d*d, max(most, math.Abs(d))
	}
	rms := math.Sqrt(square / float64(len(want)))
	s, err := perplexity.New(with(m, reference.Float32), with(m, p))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(context.Background(), tokens); err != nil {
		t.Fatal(err)
	}
	if err := s.EndRow(context.Background()); err != nil {
		t.Fatal(err)
	}
	r, err := s.Result()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("| %s | %s | %s | %.2g | %.2g | %.5f | %+.5f | %.2g | %d of %d |\n", name, stored, p,
		math.Sqrt(lost/square), most/rms, r.NLL[0], r.NLL[1]-r.NLL[0], r.Pair.KL, r.Pair.Agreed, r.Predicted)
}

// testModels are the rows of the table for the models of testdata, which every machine computes alike.
func testModels(t *testing.T) string {
	var b strings.Builder
	for _, m := range []struct{ name, stored string }{{"tiny-griffin", "bfloat16"}, {"odd-griffin", "float32"}, {"micro-griffin", "float16"}, {"micro-hawk", "float32"}} {
		model := open(t, m.name, reference.Original)
		tokens := randomTokens(400, model.Config.VocabSize)
		for _, p := range []reference.Precision{reference.Fast, reference.BFloat16} {
			b.WriteString(errorRow(t, m.name, m.stored, model, p, tokens))
		}
	}
	return b.String()
}

// TestFastPage: the published errors are those of the models of testdata. With -fast, it writes the page.
func TestFastPage(t *testing.T) {
	rows := testModels(t)
	if *measureFast == "" {
		page, err := os.ReadFile(fastPage)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), rows) {
			t.Errorf("%s does not have these rows:\n%s", fastPage, rows)
		}
		return
	}
	checkpoint, err := formats.Open(*measureFast, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer checkpoint.Close()
	large, err := runtime.Open(context.Background(), checkpoint, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	model := large.Reference(reference.Transformers5, reference.Arithmetic{})
	tokens := randomTokens(513, model.Config.VocabSize)
	for _, p := range []reference.Precision{reference.Fast, reference.BFloat16} {
		rows += errorRow(t, "2B, synthetic", "bfloat16", model, p, tokens)
	}
	page := fastText + rows + fastSpeed + productSpeeds(t) + commandSpeed(t, tokens)
	if err := os.WriteFile(fastPage, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

// cpuSeconds returns the time that this process has spent on processors. It is nil where that is not known.
var cpuSeconds func() float64

// productSpeeds are rows that compare products on one core by their CPU seconds: medians of 25 alternating rounds.
func productSpeeds(t *testing.T) string {
	if cpuSeconds == nil {
		t.Fatal("the time on processors is not known here")
	}
	const in, out = 2560, 1024
	var b strings.Builder
	data := make([]byte, in*out*4)
	for i := range data {
		data[i] = byte(i * 7 % 61)
	}
	for _, dtype := range []tensor.DType{tensor.BF16, tensor.F16, tensor.F32} {
		for _, n := range []int{128, 512} {
			w := &kernel.Matrix{DType: dtype, Data: data, Rows: out, Cols: in, Stride: in}
			x, y := make([]float32, n*in), make([]float32, n*out)
			var s kernel.Scratch[float32]
			var rows kernel.Rows[float32]
			multiply := func(reset func()) float64 {
				start := cpuSeconds()
				for range 4096 / n {
					reset()
					for block := range rows.Blocks() {
						rows.Pack(x, in, block, &s)
					}
					kernel.MultiplyPacked(y, out, &rows, 0, w, 0, out, &s)
				}
				return cpuSeconds() - start
			}
			var plain, fast []float64
			for range 25 {
				plain = append(plain, multiply(func() { rows.Reset(n, in, nil) }))
				fast = append(fast, multiply(func() { kernel.ResetPairs(&rows, n, in) }))
			}
			fmt.Fprintf(&b, "| %d × %d by %d × %d, %s | %.2f |\n", n, in, in, out, dtype, median(plain)/median(fast))
		}
	}
	return b.String()
}

func median(all []float64) float64 { slices.Sort(all); return all[len(all)/2] }

// commandSpeed is the row that compares whole commands by their CPU seconds: medians of five alternating rounds.
func commandSpeed(t *testing.T, tokens []int32) string {
	binary := filepath.Join(t.TempDir(), "griffin")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/griffin-ckpt/griffin/cmd/griffin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	list := strings.Trim(strings.ReplaceAll(fmt.Sprint(tokens), " ", ","), "[]")
	var plain, fast []float64
	for range 5 {
		for seconds, flags := range map[*[]float64][]string{&plain: nil, &fast: {"--fast"}} {
			c := exec.Command(binary, append([]string{"perplexity", *measureFast, "--tokens", list}, flags...)...)
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			*seconds = append(*seconds, (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds())
		}
	}
	return fmt.Sprintf("| `griffin perplexity` of 512 tokens, 2B, whole command: %.1f and %.1f s | %.2f |\n", median(plain), median(fast), median(plain)/median(fast))
}

const fastText = `# Products of bfloat16

` + "`griffin generate --fast` and `griffin perplexity --fast`" + ` multiply in bfloat16 on processors with AVX512_BF16 (AMD Zen 4 and
later, Intel Cooper Lake and Sapphire Rapids and later). Elsewhere they compute in float32 and say so. Results
name their arithmetic: ` + "`fast`" + `, or ` + "`float32`" + `. ` + "`verify` and `golden`" + ` never use it.

- The products of weight matrices and activations are those of both rounded to bfloat16 (to nearest, ties to even), summed in float32.
  Weights that are stored in float16 or float32 are rounded too. The gates of the RG-LRU, attention, norms, the recurrence, the
  convolution, and the state are as in float32.
- Terms are added in pairs, as VDPBF16PS does: to the sum comes the product of the odd term, then that of the even one, each with one
  rounding (a fused multiply-add). Subnormal numbers are zero before and after. Go code gives the same bits on every machine; it
  takes far longer than float32, and is there for tests.
- A state file that was written with --fast continues with --fast only, and one without it only without.

This page is generated:

    go test ./reference/perplexity -run TestFastPage -timeout 1h -fast 2B-DIRECTORY

## Error against float32

Of random tokens, against griffin's float32. The error of logits is relative to their root mean square: in the mean (RMS) and the largest.
NLL is that of float32, in nats a token, then the change. KL is the divergence from float32, in nats a token. ` + "`bfloat16`" + ` (--arithmetic bfloat16,
which rounds every result as the original does in JAX) stands beside it. The 2B size has random weights.

| model | stored in | arithmetic | logits, RMS | largest | NLL | change | KL | same top-1 |
|---|---|---|---|---|---|---|---|---|
`

const fastSpeed = `
## Speed

How many times faster than float32, by CPU seconds: medians of 25 alternating rounds of products on one core, and of 5 of the whole
command on two cores, on a machine that did other work too. Decoding, one token after another, is bound by reading the weights and gains
nothing.

| what | times |
|---|---|
`
