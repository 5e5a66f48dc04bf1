package logits

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// The text of a fault says where it is, what is outside, and why.
func TestFaultText(t *testing.T) {
	first, worst := Location{Row: 1, Token: 2, Position: 3}, Location{Row: 4, Token: 5, Position: 9, Channel: 6, Share: 7.5}
	const places = ": first wrong at token 2 of row 1 (position 3), worst at token 5 of row 4, channel 6"
	for _, tt := range []struct {
		f             Fault
		title, detail string
	}{
		{Fault{Block: 2, Kind: AttentionFault, Half: TemporalHalf}, "Block 2, temporal half (attention)", "block 2, temporal half (attention)" + places + ", 7.5 times the envelope"},
		{Fault{Block: 2, Kind: RecurrentFault, Half: MLPHalf, Where: "only here"}, "Block 2, MLP half", "block 2, MLP" + places + ", 7.5 times the envelope; only here"},
		{Fault{Block: 0, Kind: RecurrentFault, Cause: "no norm"}, "Block 0 (recurrent)", "block 0 (recurrent)" + places + ", 7.5 times the envelope; explained by: no norm"},
		{Fault{Block: -1, Kind: EmbeddingFault}, "Embedding", "embedding" + places + ", 7.5 times the envelope"},
		{Fault{Block: 5, Kind: FinalNormFault, Half: MLPHalf}, "Final norm", "final norm" + places + ", 7.5 times the envelope"},
		{Fault{Kind: AccumulatedFault, Site: "hidden.4"}, "Accumulated", "hidden.4" + places + ", 7.5 times the envelope"},
		{Fault{Block: 2, Kind: RecurrentFault, WorstPass: "packed"}, "Block 2 (recurrent)", "block 2 (recurrent)" + strings.Replace(places, "worst at token", "worst at packed token", 1) + ", 7.5 times the envelope"},
		{Fault{Kind: DecodingFault, Pass: "decode", WorstPass: "decode"}, "Decoding", "decoding" + strings.ReplaceAll(places, "at token", "at decode token") + ", 7.5 times the envelope"},
	} {
		tt.f.First, tt.f.Worst = first, worst
		tt.f.Detail = tt.f.describe()
		if tt.f.Title() != tt.title || tt.f.Detail != tt.detail {
			t.Errorf("%+v: %q, %q, want %q", tt.f, tt.f.Title(), tt.f.Detail, tt.detail)
		}
		if want, _, _ := strings.Cut(tt.detail, "; explained"); tt.f.Symptom() != want {
			t.Errorf("%+v: %q", tt.f, tt.f.Symptom())
		}
	}
	for share, want := range map[Number]string{1: "", 1.5: ", 1.5 times the envelope", Number(math.Inf(1)): "", Number(math.NaN()): ""} {
		f := Fault{Kind: LogitsFault, First: first, Worst: worst}
		f.Worst.Share = share
		if got := f.describe(); got != "logits"+places+want {
			t.Errorf("share %v: %q", share, got)
		}
	}
}

// trialRun is what the plain pass computes of trial tokens, by the names of the tensors of a fixture; decoding begins at the fourth token.
type trialRun struct {
	*naive
	tokens, positions, packed []int32
	batch, length             int
	results                   map[string][][]float64
}

func newTrialRun(t *testing.T, m *runtime.Model) *trialRun {
	return brokenTrialRun(t, m, breakage{block: -2})
}

func brokenTrialRun(t *testing.T, m *runtime.Model, b breakage) *trialRun {
	r := &trialRun{naive: newNaive(t, m, reference.Float32, b), results: map[string][][]float64{}}
	r.tokens, r.positions, r.packed, r.batch = trialTokens(m)
	r.length = len(r.tokens) / r.batch
	maps.Copy(r.results, r.run(r.tokens, r.positions, r.batch))
	for name, rows := range r.run(r.tokens, r.packed, r.batch) {
		r.results["packed."+name] = rows
	}
	for row := range r.batch {
		r.results["decode.logits"] = append(r.results["decode.logits"], r.results["logits"][row*r.length+3:(row+1)*r.length]...)
	}
	return r
}

// only returns a fixture with some of the results; of all with "*".
func (r *trialRun) only(names ...string) *golden.Fixture {
	if slices.Equal(names, []string{"*"}) {
		names = slices.Collect(maps.Keys(r.results))
	}
	tensors := map[string]naiveTensor{"tokens": naiveInts(r.tokens, r.batch, r.length), "positions": naiveInts(r.positions, r.batch, r.length), "packed.positions": naiveInts(r.packed, r.batch, r.length)}
	for _, name := range names {
		length := r.length
		if name == "decode.logits" {
			length -= 3
		}
		tensors[name] = naiveFloats(r.results[name], r.batch, length)
	}
	return naiveFixture(r.t, tensors, map[string]string{"implementation": string(golden.JAX), "recurrentgemma": "1.0.1", "jax": "0", "dtype": "float32", "decode_start": "4"})
}

// An element that is wrong is outside at its pass, row, token and channel, and nowhere else.
func TestWrongElementIsPlaced(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	run := newTrialRun(t, m)
	for _, tt := range []struct {
		tensor string // that is wrong
		beside []string
	}{
		{"logits", []string{"packed.logits", "decode.logits"}},
		{"packed.logits", []string{"logits", "decode.logits"}},
		{"decode.logits", []string{"logits", "packed.logits"}},
		{"decode.logits", []string{"hidden.1"}},
		{"packed.logits", []string{"hidden.1"}},
		{"hidden.2", []string{"packed.hidden.2"}},
		{"packed.hidden.2", []string{"hidden.2"}},
		{"packed.hidden.2", []string{"logits"}},
		{"temporal.1", []string{"packed.temporal.1"}},
		{"packed.temporal.1", []string{"temporal.1", "hidden.1"}},
		{"final_norm", []string{"packed.final_norm"}},
		{"packed.final_norm", []string{"final_norm", "logits"}},
	} {
		const row, token, channel = 1, 9, 7
		pass, name, ok := strings.Cut(tt.tensor, ".")
		length, at := run.length, token
		switch {
		case pass == "decode":
			length, at = length-3, token-3
		case !ok || pass != "packed":
			pass, name = "", tt.tensor
		}
		rows := run.results[tt.tensor]
		right := rows[row*length+at]
		rows[row*length+at] = slices.Clone(right)
		rows[row*length+at][channel] += 100
		r := compareWith(t, m, run.only(append(tt.beside, tt.tensor)...))
		rows[row*length+at] = right
		position := run.positions[row*run.length+token]
		if pass == "packed" {
			position = run.packed[row*run.length+token]
		}
		want := Location{Row: row, Token: token, Position: position, Channel: channel}
		if len(r.Sites) != 1+len(tt.beside) {
			t.Errorf("%s beside %q: %d results", tt.tensor, tt.beside, len(r.Sites))
		}
		for _, s := range r.Sites {
			if s.OK != (s.Pass != pass || s.Name != name) {
				t.Errorf("%s beside %q: %s is inside %t", tt.tensor, tt.beside, s.Title(), s.OK)
			}
			if s.OK {
				continue
			}
			got := s.Worst
			got.Share = 0
			if got != want || s.First == nil || s.First.Token != token || s.First.Row != row || math.Abs(float64(s.Largest)-100) > 0.01 {
				t.Errorf("%s beside %q: first %+v, worst %+v, by %v", tt.tensor, tt.beside, s.First, s.Worst, s.Largest)
			}
		}
		if r.OK || len(r.Faults) != 1 || r.Faults[0].Site != name || r.Faults[0].Pass != pass || r.Faults[0].Proved {
			t.Errorf("%s beside %q: %s", tt.tensor, tt.beside, r.Summary)
		}
		for _, p := range r.Metrics {
			for _, x := range p.Tokens {
				if (x.Largest > 90) != (name == "logits" && p.Pass == pass && x.Row == row && x.Token == token) {
					t.Errorf("%s beside %q: %q has %+v", tt.tensor, tt.beside, p.Pass, x)
				}
			}
		}
	}
}

// Only what the fixture has is measured: each result as run from the tokens on, and given the fixture's own input where it has that of every
// block.
func TestMeasured(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	run := newTrialRun(t, m)
	var hidden []string
	for i := range 6 {
		hidden = append(hidden, fmt.Sprint("hidden.", i), fmt.Sprint("packed.hidden.", i))
	}
	for _, tt := range []struct {
		names, measured []string
	}{
		{[]string{"hidden.1", "decode.logits"}, []string{"hidden.1", "logits"}},
		{[]string{"hidden.5", "final_norm"}, []string{"hidden.5", "final_norm"}},
		{append(slices.Clone(hidden), "temporal.3", "decode.logits"), []string{"hidden.0", "hidden.1", "hidden.1 fed", "hidden.2", "hidden.2 fed", "hidden.3", "hidden.3 fed",
			"temporal.3", "hidden.4", "temporal.3 fed", "hidden.4 fed", "hidden.5", "hidden.5 fed", "logits"}},
		{append(slices.Clone(hidden), "logits"), []string{"hidden.0", "hidden.1", "hidden.1 fed", "hidden.2", "hidden.2 fed", "hidden.3", "hidden.3 fed", "hidden.4", "hidden.4 fed",
			"hidden.5", "hidden.5 fed", "logits", "logits fed"}},
		{append(slices.Clone(hidden[:10]), "hidden.5", "logits"), []string{"hidden.0", "hidden.1", "hidden.2", "hidden.3", "hidden.4", "hidden.5", "logits"}},
	} {
		measured, err := measure(t.Context(), newInput(m, run.only(tt.names...), nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range measured.sites {
			got = append(got, s.name+map[bool]string{true: " fed"}[s.fed])
		}
		if !slices.Equal(got, tt.measured) {
			t.Errorf("%q: measured %q, not %q", tt.names, got, tt.measured)
		}
	}
}

// The result has the metrics of each pass by token, and what is right of legal runs at the same tokens for comparison; decoding computes what the
// plain pass does. Each outcome is found by its name.
func TestResultOfPasses(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	run := newTrialRun(t, m)
	for _, names := range [][]string{{"*"}, {"logits", "packed.logits", "decode.logits"}} {
		g := run.only(names...)
		r := compareWith(t, m, g)
		if !r.OK || len(r.Metrics) != 3 {
			t.Fatalf("%q: %d metrics, %s", names, len(r.Metrics), r.Summary)
		}
		for i, from := range []int{0, 3, 0} {
			p := r.Metrics[i]
			if p.Pass != []string{"", "decode", "packed"}[i] {
				t.Errorf("%q: metrics %d are of %q", names, i, p.Pass)
			}
			steps := run.length - from
			if n := run.batch * steps; p.Fixture.Tokens != n || len(p.Tokens) != n || p.Legal.Tokens != n {
				t.Errorf("%q: %q has %d and %d tokens, legal runs %d", names, p.Pass, p.Fixture.Tokens, len(p.Tokens), p.Legal.Tokens)
			}
			for k, x := range p.Tokens {
				if x.Row != k/steps || x.Token != from+k%steps {
					t.Errorf("%q: %q has row %d, token %d at %d", names, p.Pass, x.Row, x.Token, k)
				}
			}
			if n := len(p.Scatter) / len(p.Tokens); n < 20 || n > 30 {
				t.Errorf("%q: %q shows %d points a token", names, p.Pass, n)
			}
			if p.Legal.Largest == 0 || p.Legal.Largest > 1e-3 || p.Fixture.Largest > 10*p.Legal.Largest {
				t.Errorf("%q: %q differs by %v, legal runs by %v", names, p.Pass, p.Fixture.Largest, p.Legal.Largest)
			}
		}
		full, decoding := r.Metrics[0].Legal, r.Metrics[1].Legal
		if decoding.Mean == full.Mean || decoding.Largest > full.Largest || decoding.KLMax > full.KLMax || full == r.Metrics[2].Legal {
			t.Errorf("%q: legal runs of decoding are not part of those of the full pass, or those of packed rows are the same: %+v, %+v", names, full, decoding)
		}
		for _, s := range r.Sites {
			if r.Site(s.Pass, s.Name, s.Fed) != s {
				t.Errorf("%q: %s is not found", names, s.Title())
			}
		}
		if r.Site("", "none", false) != nil || r.Pass("none") != nil || r.Pass("decode") != &r.Passes[0] || r.Pass("packed") != &r.Passes[1] {
			t.Errorf("%q: passes or sites are found by other names", names)
		}
	}
	for title, s := range map[string]Site{"logits": {Name: "logits"}, "packed.hidden.2 (fed)": {Pass: "packed", Name: "hidden.2", Fed: true}, "decode.logits": {Pass: "decode", Name: "logits"}} {
		if s.Title() != title {
			t.Errorf("%q, not %q", s.Title(), title)
		}
	}
	for pass, want := range map[string]string{"": "full pass", "decode": "decoding", "packed": "packed rows"} {
		if PassTitle(pass) != want {
			t.Errorf("%q is called %q", pass, PassTitle(pass))
		}
	}
}

// With little memory, logits are computed for a few tokens at a time and one run goes through a block after the other. Nothing else changes.
func TestResultInLittleMemory(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	run := newTrialRun(t, m)
	for _, wrong := range []bool{false, true} {
		run.results["packed.logits"][run.length+2][5] += map[bool]float64{true: 100}[wrong]
		for _, names := range [][]string{{"*"}, {"logits", "packed.logits", "decode.logits"}, {"hidden.1", "packed.logits"}} {
			g := run.only(names...)
			want := compareWith(t, m, g)
			logits, activations := forward.SetLogitsMemory(7*8*int(m.Config.VocabSize)), runMemory
			runMemory = 1
			got := compareWith(t, m, g)
			forward.SetLogitsMemory(logits)
			runMemory = activations
			if want.OK == wrong || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %s, with little memory %s", names, want.Summary, got.Summary)
			}
		}
	}
}

// BytesRead is about what Compare reads: the blocks once for the runs that go through them together, the embedding once for each run.
func TestBytesRead(t *testing.T) {
	defer func(memory int64) { runMemory = memory }(runMemory)
	for _, name := range []string{"tiny-griffin", "micro-hawk"} {
		f := cases.Open(t, name)
		m := f.Model(t, f.Checkpoints(t)[0])
		var read atomic.Int64
		m.OnRead = func(n int64) { read.Add(n) }
		run := newTrialRun(t, m)
		for _, names := range [][]string{{"*"}, {"logits"}} {
			g := run.only(names...)
			in := newInput(m, g, nil)
			runs := int64(1 + len(in.legalRuns()) + len(rivals(in, &Options{})))
			if in.fed {
				runs *= 2
			}
			distinct := slices.Clone(run.tokens)
			slices.Sort(distinct)
			c := &m.Config
			small := int64(len(slices.Compact(distinct))+1) * c.Width * m.Found.Embedding().DType.Size() // the tokens' embeddings and a norm
			for _, together := range []int64{1000, 4, 1} {
				runMemory = together * 8 * int64(len(in.tokens)) * (3*c.MLPExpandedWidth + 4*c.Width + 2*c.LRUWidth)
				if got := newInput(m, g, nil).together(); int64(got) != together {
					t.Errorf("%s: %d runs go together, not %d", name, got, together)
				}
				read.Store(0)
				if r := compareWith(t, m, g); !r.OK {
					t.Fatal(r.Summary)
				}
				if got := BytesRead(m, g); read.Load() < got || read.Load() > got+runs*small {
					t.Errorf("%s, %q, %d of %d runs together: %d bytes, not %d and up to %d for each run", name, names, together, runs, read.Load(), got, small)
				}
			}
		}
	}
}

// A fixture whose sizes are not those of the model is of another one, which is said before anything is run.
func TestMismatch(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	zeros := func(n, width int) naiveTensor {
		x := make([][]float64, n)
		for i := range x {
			x[i] = make([]float64, width)
		}
		return naiveFloats(x, 2, n/2)
	}
	const other = "the fixture is of another model: "
	for _, tt := range []struct {
		tensors map[string]naiveTensor
		want    string
	}{
		{map[string]naiveTensor{"tokens": naiveInts([]int32{0, 1, 127, 128}, 2, 2), "hidden.0": zeros(4, 32)}, other + "its token 3 is 128, but the vocabulary has 128"},
		{map[string]naiveTensor{"hidden.2": zeros(4, 31)}, other + "hidden.2 is 31 wide, but the model's is 32"},
		{map[string]naiveTensor{"hidden.2": zeros(4, 31), "hidden.9": zeros(4, 31), "logits": zeros(4, 40)}, other + "hidden.2 is 31 wide, but the model's is 32; it has hidden.9, but the model has 5 blocks; logits is 40 wide, but the model's is 128"},
		{map[string]naiveTensor{"temporal.4": zeros(4, 32), "temporal.5": zeros(4, 32)}, other + "it has temporal.5, but the model has 5 blocks"},
		{map[string]naiveTensor{"packed.positions": naiveInts([]int32{0, 0, 0, 1}, 2, 2), "hidden.0": zeros(4, 32), "packed.logits": zeros(4, 32)}, other + "packed.logits is 32 wide, but the model's is 128"},
		{map[string]naiveTensor{"logits": zeros(4, 128), "hidden.6": zeros(4, 32)}, other + "it has hidden.6, but the model has 5 blocks"},
		{map[string]naiveTensor{"hidden.0": zeros(4, 32), "decode.logits": zeros(2, 127)}, other + "decode.logits is 127 wide, but the vocabulary has 128"},
	} {
		all := map[string]naiveTensor{"tokens": naiveInts([]int32{0, 1, 2, 31}, 2, 2)}
		maps.Copy(all, tt.tensors)
		g := naiveFixture(t, all, map[string]string{"implementation": string(golden.JAX), "recurrentgemma": "1.0.1", "jax": "0", "dtype": "float32", "decode_start": "2"})
		r := compareWith(t, m, g)
		if r.OK || r.Summary != tt.want || r.Headline() != tt.want || len(r.Sites) != 0 || r.Worst() != 0 {
			t.Errorf("%q, %d results; want %q", r.Summary, len(r.Sites), tt.want)
		}
	}
}

// The result says what was compared with what, and in a line how it went.
func TestResultSummary(t *testing.T) {
	open := func(name string) (*runtime.Model, *golden.Fixture) {
		f := cases.Open(t, name)
		g, err := golden.Open(f.Recording("jax"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Close() })
		return f.Model(t, f.Checkpoints(t)[0]), g
	}
	m, g := open("tiny-griffin")
	r := compareWith(t, m, g)
	if r.Checkpoint != m.Checkpoint.Path || r.Golden != g.Path || r.DType != "bfloat16" || r.Semantics != "original" || r.Batch != 2 || r.Length != 24 || r.Window != 8 || r.Notes != nil {
		t.Errorf("%+v", r)
	}
	worst := Number(0)
	for _, s := range r.Sites {
		worst = max(worst, s.Worst.Share)
	}
	want := fmt.Sprintf("%d outputs of google-deepmind/recurrentgemma jax match within rounding over 96 tokens (worst: %.0f%% of the limit)", len(r.Sites), 100*float64(worst))
	if r.Worst() != worst || !(worst > 0.05 && worst < 1) || r.Summary != want || r.Headline() != want {
		t.Errorf("%q, want %q", r.Summary, want)
	}
	if long := (&Result{OK: true}).summary(60000); !strings.Contains(long, " over 60,000 tokens ") {
		t.Errorf("%q", long)
	}
	m, g = open("micro-griffin")
	if r, want := compareWith(t, m, g), []string{"there is no reference arithmetic in float16: the envelope is that of bfloat16, which is wider"}; !slices.Equal(r.Notes, want) || !slices.Contains(r.Envelope.Runs, "bfloat16") {
		t.Errorf("%q, %q", r.Notes, r.Envelope.Runs)
	}
	hawk, g := open("micro-hawk")
	if r := compareWith(t, hawk, g); r.Window != 0 || r.Notes != nil || slices.Contains(r.Envelope.Runs, "bfloat16") {
		t.Errorf("without attention: %+v", r)
	}
	for _, tt := range []struct {
		faults            []*Fault
		summary, headline string
	}{
		{nil, "", ""},
		{[]*Fault{{Detail: "a"}}, "a", "2 of 3 outputs of x differ by more than rounding"},
		{[]*Fault{{Detail: "a", Cause: "c"}}, "a", "2 of 3 outputs of x differ by more than rounding"},
		{[]*Fault{{Detail: "a"}, {Detail: "b"}}, "a; b", "2 of 3 outputs of x differ by more than rounding"},
		{[]*Fault{{Detail: "a", Cause: "c"}, {Detail: "b", Cause: "d"}}, "a; b", "2 of 3 outputs of x differ by more than rounding"},
		{[]*Fault{{Block: 1, Kind: RecurrentFault, Cause: "c", Detail: "a"}, {Block: 4, Kind: RecurrentFault, Cause: "c", Detail: "b"}}, "blocks 1 and 4: first wrong at token 0 of row 0 (position 0), worst in block 1 at token 0 of row 0, channel 0; explained by: c", "2 of 3 outputs of x differ by more than rounding"},
	} {
		r := &Result{Implementation: "x", Faults: tt.faults, Sites: []*Site{{OK: true}, {}, {}}}
		if r.Summary = r.summary(1); r.Summary != tt.summary || r.Headline() != tt.headline {
			t.Errorf("%d faults: %q, %q", len(tt.faults), r.Summary, r.Headline())
		}
	}
	if got := (&Result{Implementation: "x", Faults: []*Fault{{Detail: "a"}}, Sites: []*Site{{}}}).Headline(); got != "1 of 1 output of x differs by more than rounding" {
		t.Error(got)
	}
	one := &Result{OK: true, Implementation: "x", Sites: []*Site{{OK: true, Exact: true, Worst: Location{Share: 0.9}}}}
	if got := one.summary(1); got != "1 output of x matches within rounding over 1 token (worst: 0% of the limit)" {
		t.Errorf("%q", got)
	}
}

// Embeddings that are those of the model times one factor are told from others that are wrong.
func TestEmbeddingFaults(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	run := newTrialRun(t, m)
	right := run.results["hidden.0"]
	smallest := 0 // of the first token
	for i, x := range right[0] {
		if math.Abs(x) < math.Abs(right[0][smallest]) && x != 0 {
			smallest = i
		}
	}
	unless := func(wrong float64) func(token, channel int, x float64) float64 {
		return func(token, channel int, x float64) float64 {
			if token == 1 && channel == 3 {
				return wrong
			}
			return x
		}
	}
	for _, tt := range []struct {
		name  string
		edit  func(token, channel int, x float64) float64
		cause string
	}{
		{"twice", func(_, _ int, x float64) float64 { return 2 * x }, "embeddings that are 0.5 times those of the recording"},
		{"negated", func(_, _ int, x float64) float64 { return -x }, "embeddings that are -1 times those of the recording"},
		{"a little more", func(_, _ int, x float64) float64 { return 1.005 * x }, ""},
		{"zero", func(int, int, float64) float64 { return 0 }, ""},
		{"twice, but one", func(token, channel int, x float64) float64 {
			if token == 0 && channel == smallest {
				return 3 * x
			}
			return 2 * x
		}, ""},
		{"without scale", func(_, _ int, x float64) float64 { return x / math.Sqrt(float64(m.Config.Width)) }, "embeddings with the factor root of the width; the recording was made without the factor"},
		{"one and another", func(token, channel int, x float64) float64 {
			return unless(9)(token, channel-1, unless(5)(token, channel, x))
		}, ""},
	} {
		var rows [][]float64
		var first, worst *Location
		apart := func(at Location, rows [][]float64) float64 {
			return math.Abs(float64(float32(rows[at.Token][at.Channel])) - float64(float32(right[at.Token][at.Channel])))
		}
		for token, row := range right {
			rows = append(rows, slices.Clone(row))
			for channel := range row {
				rows[token][channel] = tt.edit(token, channel, row[channel])
				at := Location{Token: token, Channel: channel}
				if d := apart(at, rows); d != 0 && first == nil {
					first, worst = &at, &at
				} else if d != 0 && !(d <= apart(*worst, rows)) {
					worst = &at
				}
			}
		}
		run.results["hidden.0"] = rows
		r := compareWith(t, m, run.only("hidden.0"))
		if r.OK || len(r.Faults) != 1 || r.Faults[0].Kind != EmbeddingFault || r.Faults[0].Block != -1 || (len(r.Faults[0].Tensors) == 1) == (r.Faults[0].Setting != nil) {
			t.Fatalf("%s: %s", tt.name, r.Summary)
		}
		got := r.Faults[0]
		if got.Cause != tt.cause || (got.Setting != nil) != strings.Contains(tt.cause, "root") || got.Where != "" {
			t.Errorf("%s: cause %q, where %q", tt.name, got.Cause, got.Where)
		}
		recorded, computed := float32(rows[worst.Token][worst.Channel]), float32(right[worst.Token][worst.Channel])
		at := func(l Location) [2]int { return [2]int{l.Row*run.length + l.Token, l.Channel} }
		want := fmt.Sprintf("channel %d: the recording has %v, this checkpoint gives %v", worst.Channel, recorded, computed)
		if at(got.First) != at(*first) || at(got.Worst) != at(*worst) || !strings.Contains(got.Detail, want) {
			t.Errorf("%s: first %v, worst %v: %s, want %q", tt.name, *first, *worst, got.Detail, want)
		}
	}
	if wrong := findWrong(&fixtureValues{Activations: reference.Activations{Width: 2, Float32: []float32{1, float32(math.NaN())}}, recorded: []bool{true}},
		&reference.Activations{Width: 2, Float32: []float32{1, float32(math.NaN())}}, 1, 1); wrong != nil {
		t.Errorf("NaN is not the same as NaN: %+v", wrong)
	}
	// Each pass has its own, and of equal ones the first is the worst.
	recorded := &fixtureValues{Activations: reference.Activations{Width: 1, Float32: []float32{0, 1, 2, 2, 9, 9}}, recorded: slices.Repeat([]bool{true}, 6)}
	wrong := findWrong(recorded, &reference.Activations{Width: 1, Float32: make([]float32, 6)}, 6, 4)
	if len(wrong) != 2 || wrong[0].first.token != 1 || wrong[0].worst.token != 2 || wrong[1].first.token != 4 || wrong[1].worst.token != 4 {
		t.Errorf("%+v", wrong)
	}
}

// Errors are finite if none is NaN or infinite; a token that was not recorded has none.
func TestErrorsAreFinite(t *testing.T) {
	of := func(largest float64) *TokenError { return &TokenError{Largest: largest} }
	for _, tt := range []struct {
		errors []*TokenError
		want   bool
	}{
		{nil, true}, {[]*TokenError{nil}, true}, {[]*TokenError{of(0), nil, of(7)}, true}, {[]*TokenError{of(1), of(math.NaN())}, false}, {[]*TokenError{of(math.Inf(1)), of(1)}, false},
	} {
		if got := (&siteErrors{fixture: tt.errors}).finite(); got != tt.want {
			t.Errorf("%v: %t", tt.errors, got)
		}
	}
}

// The worst element of a fault is that of the pass that is farthest outside.
func TestWorstOfPasses(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	for _, by := range [][2]float64{{100, 1000}, {1000, 100}} {
		run := newTrialRun(t, m)
		run.results["logits"][run.length+9][7] += by[0]
		run.results["packed.logits"][3][2] += by[1]
		r := compareWith(t, m, run.only("logits", "packed.logits"))
		if len(r.Faults) != 1 {
			t.Fatalf("%v: %s", by, r.Summary)
		}
		got := r.Faults[0]
		want := Location{Row: 1, Token: 9, Position: 9, Channel: 7, Share: got.Worst.Share}
		if by[1] > by[0] {
			want = Location{Row: 0, Token: 3, Position: run.packed[3], Channel: 2, Share: got.Worst.Share}
		}
		if got.Worst != want || got.First.Row != 1 || got.First.Token != 9 || got.Pass != "" {
			t.Errorf("%v: first %+v, worst %+v", by, got.First, got.Worst)
		}
	}
}

// What the tokens outside have in common is said: that a document begins there, or the window of attention does, or which come before them; but
// not if that may be a coincidence.
func TestPattern(t *testing.T) {
	type at struct {
		packed     bool
		row, token int
		position   int // in the document
	}
	from := func(position int) func(at) bool { return func(x at) bool { return x.position >= position } }
	single := func(packed bool, row int, tokens ...int) func(at) bool {
		return func(x at) bool { return x.packed == packed && x.row == row && slices.Contains(tokens, x.token) }
	}
	for name, all := range map[string][]struct {
		wrong func(at) bool
		want  string
	}{
		"tiny-griffin": { // with a window of 8, rows of 24 and in packed rows second documents from 12 and 13 on
			{func(x at) bool { return !x.packed && x.token == 0 }, "only where a document begins (position 0)"},
			{func(x at) bool { return x.packed && x.position == 0 && (x.row == 1 || x.token > 0) }, "only where a document begins (position 0)"},
			{single(false, 0, 0), ""},
			{single(true, 0, 13, 14, 16, 20), "only behind a document boundary"},
			{func(x at) bool { return x.packed && x.token > 18 && x.position > 0 }, "only behind a document boundary"},
			{single(true, 0, 13, 20), ""},
			{single(true, 0, 11, 14), ""},
			{from(8), "differences begin at the attention window, at position 8 (the window is 8)"},
			{from(9), "differences begin at the attention window, at position 9 (the window is 8)"},
			{func(x at) bool { return x.position >= 8 && (x.packed || x.token != 15) }, "positions before 8 are inside in every document"},
			{from(10), "positions before 10 are inside in every document"},
			{from(7), "positions before 7 are inside in every document"},
			{single(false, 1, 8), ""},
			{single(false, 0, 20, 22), "positions before 20 are inside in every document"},
			{single(false, 0, 3, 2), ""},
			{single(false, 0, 0, 5), ""},
		},
		"micro-hawk": { // without attention
			{from(1), "positions before 1 are inside in every document"},
			{from(6), "positions before 6 are inside in every document"},
			{single(false, 0, 6), ""},
			{func(x at) bool { return x.position == 0 }, "only where a document begins (position 0)"},
		},
	} {
		f := cases.Open(t, name)
		m := f.Model(t, f.Checkpoints(t)[0])
		run := newTrialRun(t, m)
		for i, tt := range all {
			right := maps.Clone(run.results)
			for pass, positions := range map[string][]int32{"": run.positions, "packed.": run.packed} {
				rows := slices.Clone(run.results[pass+"hidden.2"])
				for k := range rows {
					if tt.wrong(at{pass != "", k / run.length, k % run.length, int(positions[k])}) {
						rows[k] = slices.Clone(rows[k])
						rows[k][1] += 100
					}
				}
				run.results[pass+"hidden.2"] = rows
			}
			r := compareWith(t, m, run.only("hidden.2", "packed.hidden.2"))
			run.results = right
			if len(r.Faults) != 1 || r.Faults[0].Where != tt.want {
				t.Errorf("%s, %d: %s, want %q", name, i, r.Summary, tt.want)
			}
		}
	}
}

// What explains a fault says which of the two the checkpoint has, and whether it was given.
func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		s    Setting
		want string
	}{
		{Setting{WindowSetting, "17", "16", false}, "an attention window of 17; the recording was made with 16"},
		{Setting{WindowSetting, "6", "at least 24", true}, "an attention window of 6, as given; the recording was made with at least 24"},
		{Setting{SoftCapSetting, "20", "30", false}, "a soft cap of 20 on the logits; the recording was made with 30"},
		{Setting{SoftCapSetting, "0", "30", true}, "no soft cap on the logits, as given; the recording was made with one of 30"},
		{Setting{SoftCapSetting, "1.048576e+06", "30", false}, "a soft cap of 1048576 on the logits; the recording was made with 30"},
		{Setting{SoftCapSetting, "30", "0", false}, "a soft cap of 30 on the logits; the recording was made without one"},
		{Setting{ScaleSetting, "false", "true", true}, "embeddings without the factor root of the width, as given; the recording was made with the factor"},
		{Setting{ScaleSetting, "true", "false", false}, "embeddings with the factor root of the width; the recording was made without the factor"},
		{Setting{SemanticsSetting, "transformers4", "original", true}, "the semantics of transformers4, as given; the recording was made with those of original"},
	} {
		if got := tt.s.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	window, softCap, scale := int64(8), 30.0, true
	as := reference.Original
	for _, tt := range []struct {
		given model.Settings
		as    *reference.Semantics
		want  []SettingName
	}{
		{model.Settings{}, nil, nil},
		{model.Settings{AttentionWindow: &window}, nil, []SettingName{WindowSetting}},
		{model.Settings{LogitsSoftCap: &softCap, EmbeddingScale: &scale}, nil, []SettingName{SoftCapSetting, ScaleSetting}},
		{model.Settings{Preset: "x"}, &as, []SettingName{WindowSetting, SoftCapSetting, ScaleSetting, SemanticsSetting}},
	} {
		l := &localiser{given: tt.given, as: tt.as}
		for _, name := range []SettingName{WindowSetting, SoftCapSetting, ScaleSetting, SemanticsSetting} {
			if got := l.setting(name, "1", "2"); *got != (Setting{name, "1", "2", slices.Contains(tt.want, name)}) {
				t.Errorf("%+v: %+v", tt.given, got)
			}
		}
	}
}
