package logits

import (
	"math"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
)

// The errors of a token are relative to the root mean square of what is right, or absolute where that is zero.
func TestTokenError(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, tt := range []struct {
		got  []float32
		want []float64
		TokenError
	}{
		{[]float32{3, 4}, []float64{3, 4}, TokenError{0, 0, 0, 0}},
		{[]float32{6, 0}, []float64{2, 2}, TokenError{math.Sqrt(10) / 2, 2, 0, 4}},
		{[]float32{3, -1}, []float64{1, 1}, TokenError{2, 2, 0, 2}}, // of equal ones the first
		{[]float32{0, 2}, []float64{0, 0}, TokenError{math.Sqrt2, 2, 1, 2}},
		{[]float32{float32(inf), 5}, []float64{inf, 4}, TokenError{math.Sqrt(0.5) / math.Sqrt(8), 1 / math.Sqrt(8), 1, 1}},
		{[]float32{float32(nan), 5}, []float64{nan, 4}, TokenError{math.Sqrt(0.5) / math.Sqrt(8), 1 / math.Sqrt(8), 1, 1}},
		{[]float32{1, float32(inf)}, []float64{1, -inf}, TokenError{inf, inf, 1, inf}},
		{[]float32{9, float32(nan), 9}, []float64{1, 1, 1}, TokenError{nan, nan, 1, nan}},
	} {
		got := tokenError(tt.got, tt.want)
		same := func(x, y float64) bool { return x == y || math.Abs(x-y) < 1e-15 || math.IsNaN(x) && math.IsNaN(y) }
		if !same(got.RMS, tt.RMS) || !same(got.Max, tt.Max) || got.Channel != tt.Channel || !same(got.Largest, tt.Largest) {
			t.Errorf("%v for %v: %+v, want %+v", tt.got, tt.want, got, tt.TokenError)
		}
	}
}

// The share is that of the worse statistic. NaN, and any error where none is allowed, is outside.
func TestShare(t *testing.T) {
	for _, tt := range []struct {
		error   TokenError
		allowed [2]float64
		want    float64
	}{
		{TokenError{RMS: 1, Max: 3}, [2]float64{2, 4}, 0.75},
		{TokenError{RMS: 3, Max: 1}, [2]float64{2, 4}, 1.5},
		{TokenError{}, [2]float64{0, 0}, 0},
		{TokenError{RMS: 1e-300, Max: 0}, [2]float64{0, 1}, math.Inf(1)},
		{TokenError{RMS: 0, Max: math.NaN()}, [2]float64{1, 1}, math.Inf(1)},
	} {
		if got := tt.error.share(tt.allowed); got != tt.want {
			t.Errorf("%+v of %v: %g, want %g", tt.error, tt.allowed, got, tt.want)
		}
	}
}

// The scales are over the runs that are not left out.
func TestScales(t *testing.T) {
	s := &siteErrors{runs: [][]TokenError{
		{{RMS: 1, Max: 10}, {RMS: 3, Max: 30}},
		{{RMS: 3, Max: 30}, {RMS: 3, Max: 30}},
		{{RMS: 5, Max: 70}, {RMS: 0, Max: 0}},
	}}
	for _, tt := range []struct {
		without  int
		rms, max []float64
	}{
		// Squares by token and run: 1 9 25, 9 9 0. Their means are 35/3 and 6; that of all is 53/6.
		{-1, []float64{math.Sqrt(35. / 3), math.Sqrt((6 + 53./6) / 2)}, []float64{math.Sqrt(5900. / 3), math.Sqrt((600 + 7700./6) / 2)}},
		{2, []float64{math.Sqrt((5 + 7) / 2.), 3}, []float64{math.Sqrt((500 + 700) / 2.), 30}},
		{0, []float64{math.Sqrt(17), math.Sqrt((4.5 + 10.75) / 2)}, []float64{math.Sqrt(2900), math.Sqrt((450 + 1675) / 2.)}},
	} {
		rms, max := s.scales(tt.without)
		for i := range rms {
			if math.Abs(rms[i]-tt.rms[i]) > 1e-12 || math.Abs(max[i]-tt.max[i]) > 1e-12 {
				t.Errorf("without %d: %v and %v, want %v and %v", tt.without, rms, max, tt.rms, tt.max)
			}
		}
	}
}

// The number of runs follows from the size of the work; they differ in the order of sums, and every other one in bfloat16
// rounds chains once.
func TestLegalRuns(t *testing.T) {
	for _, tt := range []struct {
		precision  reference.Precision
		tokens     int
		parameters int64
		last       reference.Arithmetic
		described  string
	}{
		{reference.Float32, 96, 20000, reference.Arithmetic{Precision: reference.Float32, Order: 11}, "float32, order 11"},
		{reference.BFloat16, 1, 0, reference.Arithmetic{Precision: reference.BFloat16, Order: 47, Fused: true}, "bfloat16, chains rounded once, order 47"},
		{reference.Float32, 3, 0, reference.Arithmetic{Precision: reference.Float32, Order: 15}, "float32, order 15"},
		{reference.Float32, 5, 0, reference.Arithmetic{Precision: reference.Float32, Order: 11}, "float32, order 11"},
		{reference.Float32, 1, 1 << 37, reference.Arithmetic{Precision: reference.Float32, Order: 7}, "float32, order 7"},
		{reference.Float32, 1 << 10, 1 << 28, reference.Arithmetic{Precision: reference.Float32, Order: 3}, "float32, order 3"},
		{reference.BFloat16, 1 << 20, 1 << 32, reference.Arithmetic{Precision: reference.BFloat16, Order: 2}, "bfloat16, order 2"},
	} {
		runs := legalRuns(tt.precision, tt.tokens, tt.parameters)
		last := runs[len(runs)-1]
		if last != tt.last || len(runs) != int(tt.last.Order)+1 || describeRun(last) != tt.described || describeRun(runs[0]) != tt.precision.String() {
			t.Errorf("%d runs, the last %+v: %q", len(runs), last, describeRun(last))
		}
	}
}

// Quotients of zero and of infinity tell nothing about the tail.
func TestAppendQuotient(t *testing.T) {
	var got []float64
	for _, x := range [][2]float64{{0, 1}, {1, 2}, {1, 0}, {0, 0}, {3, 1}, {math.Inf(1), 1}} {
		got = appendQuotient(got, x[0], x[1])
	}
	if !slices.Equal(got, []float64{0.5, 3}) {
		t.Errorf("%v", got)
	}
}

// The factors from the tokens on and those of blocks that were given the fixture's input are measured apart, without
// sites that are compared bit for bit. Comparisons are the tokens that the fixture has, decoding included.
func TestNewEnvelope(t *testing.T) {
	site := func(fed, exact bool, scale float64) *siteErrors {
		s := newSiteErrors("", fed, 200, 0)
		s.exact = exact
		for run := range 3 {
			var errors []TokenError
			for i := range s.fixture {
				x := scale * (1 + float64((i+run)%7))
				errors = append(errors, TokenError{RMS: x, Max: x * x})
			}
			s.runs = append(s.runs, errors)
		}
		s.rmsScale, s.maxScale = s.scales(-1)
		s.fixture[0], s.fixture[199] = &TokenError{}, &TokenError{}
		return s
	}
	chain, fed, exact := site(false, false, 1), site(true, false, 1), site(false, true, 1)
	for run := range fed.runs { // one run has a token with a far larger error
		fed.runs[run][5].RMS *= []float64{1, 1, 50}[run]
	}
	chain.decode = []*TokenError{nil, {}, {}}
	m := &measurements{arithmetics: legalRuns(reference.Float32, 1, 1), sites: []*siteErrors{exact, chain, fed}}
	e := newEnvelope(m)
	if e.Comparisons != 8 || len(e.Runs) != 48 || e.Runs[1] != "float32, order 1" || e.FalseAlarms != FalseAlarms {
		t.Errorf("%+v", e)
	}
	if !(e.Fed.RMS > e.Chain.RMS) || e.Fed.Max != e.Chain.Max || !(e.Chain.RMS > 1) || !(e.Chain.Max > e.Chain.RMS) {
		t.Errorf("factors from the tokens on %v, fed %v", e.Chain, e.Fed)
	}
	other := newEnvelope(&measurements{sites: []*siteErrors{chain, fed}})
	if other.Comparisons != 6 || other.Chain.RMS >= e.Chain.RMS {
		t.Errorf("fewer comparisons: %+v", other)
	}
	e = &Envelope{Chain: Factors{2, 3}, Fed: Factors{5, 7}}
	chain.rmsScale[1], chain.maxScale[1], fed.rmsScale[1], fed.maxScale[1] = 10, 100, 10, 100
	if a, b := e.allowed(chain, 1), e.allowed(fed, 1); a != [2]float64{20, 300} || b != [2]float64{50, 700} {
		t.Errorf("allowed %v and %v", a, b)
	}
	chain.least[1], fed.least[1] = [2]float64{20.5, 299}, [2]float64{49, 701}
	if a, b := e.allowed(chain, 1), e.allowed(fed, 1); a != [2]float64{20.5, 300} || b != [2]float64{50, 701} {
		t.Errorf("allowed %v and %v", a, b)
	}
}

// A result is outside if one token's error is above what is allowed. The first such token and the worst one are named, by
// row and position. A result that is compared bit for bit is outside only by a wrong bit.
func TestJudgement(t *testing.T) {
	in := &input{length: 3, positions: []int32{0, 1, 2, 0, 1, 0, 0, 1, 2, 3, 4, 5}}
	j := &judgement{envelope: &Envelope{Chain: Factors{1, 1}, Fed: Factors{2, 2}}, ok: true}
	s := newSiteErrors("hidden.1", false, 12, 0)
	s.rmsScale, s.maxScale = slices.Repeat([]float64{1}, 12), slices.Repeat([]float64{1}, 12)
	s.rmsScale[9], s.maxScale[9] = 10, 10
	error := func(rms float64, channel int) *TokenError {
		return &TokenError{RMS: rms, Max: rms / 2, Channel: channel, Largest: 10 * rms}
	}
	m := &measurements{}

	j.add(in, m, s, "", []*TokenError{nil, nil}, 0)
	if len(j.results) != 0 || !j.ok {
		t.Fatal("a pass without values has a result")
	}
	j.add(in, m, s, "", []*TokenError{error(0, 9), error(1, 1), nil, error(0.5, 2)}, 0) // exactly what is allowed
	inside := j.results[0]
	if !j.ok || !inside.OK || inside.First != nil || inside.Worst != (Location{0, 1, 1, 1, 1}) || inside.Largest != 10 || len(inside.Errors) != 3 ||
		inside.RMS != 1 || inside.RMSAllowed != 1 || inside.Max != 0.5 || inside.MaxAllowed != 1 {
		t.Errorf("%+v", inside)
	}
	j.add(in, m, s, "", []*TokenError{error(0, 9), error(0, 1)}, 0) // nothing differs
	if got := j.results[1]; !got.OK || got.Worst != (Location{0, 0, 0, 9, 0}) {
		t.Errorf("%+v", got)
	}
	j.add(in, m, s, "packed", []*TokenError{error(0.5, 0), error(1.25, 1), error(0.25, 2), error(9, 3), error(4, 4)}, 6)
	outside := j.results[2]
	if j.ok || outside.OK || *outside.First != (Location{0, 1, 1, 1, 1.25}) || outside.Worst != (Location{1, 1, 4, 4, 4}) || outside.Largest != 90 {
		t.Errorf("%+v, first %+v", outside, outside.First)
	}
	if got := j.outside("hidden.1", false); !slices.Equal(got, []*Site{outside}) || j.outside("hidden.1", true) != nil || j.outside("hidden.2", false) != nil {
		t.Errorf("outside are %v", got)
	}

	// Bit for bit.
	s.exact = true
	for _, tt := range []struct {
		wrong   int // token, or -1
		first   int // of the pass
		outside bool
	}{{-1, 6, false}, {5, 6, false}, {6, 6, true}, {7, 6, true}, {8, 6, false}, {0, 0, true}} {
		j := &judgement{envelope: j.envelope, ok: true}
		m := &measurements{}
		if tt.wrong >= 0 {
			m.wrongEmbeddings = []wrongElements{{wrongElement{token: tt.wrong, channel: 4}, wrongElement{token: tt.wrong, channel: 5}}}
		}
		j.add(in, m, s, "", []*TokenError{error(3, 0), error(3, 0)}, tt.first)
		got := j.results[0]
		if got.OK == tt.outside || j.ok == tt.outside || (got.First != nil) != tt.outside {
			t.Errorf("token %d of a pass from %d on: %+v", tt.wrong, tt.first, got)
		}
		if tt.outside && (got.First.Token != (tt.wrong-tt.first)%3 || got.First.Channel != 4 || got.First.Share != 3 || got.Worst.Channel != 5) {
			t.Errorf("token %d is told as %+v", tt.wrong, got.First)
		}
	}
}

// All passes of a fixture are judged, each by its own tokens.
func TestJudge(t *testing.T) {
	in := &input{length: 2, positions: []int32{0, 1, 0, 1}, fixture: &golden.Fixture{Passes: []golden.Pass{{Batch: 1, Length: 2}, {Name: "packed", Batch: 1, Length: 2}}}}
	s := newSiteErrors("logits", false, 4, 0)
	s.runs, s.rmsScale, s.maxScale = [][]TokenError{{{}, {}, {}, {}}}, []float64{1, 1, 1, 1}, []float64{1, 1, 1, 1}
	s.fixture = []*TokenError{{RMS: 0.25}, {RMS: 0.5}, {RMS: 0.125}, {RMS: 2}}
	s.decode = []*TokenError{nil, {RMS: 3}, nil, nil}
	j := judge(in, &measurements{sites: []*siteErrors{s}})
	if len(j.results) != 3 || j.ok {
		t.Fatalf("%d results", len(j.results))
	}
	for i, want := range []struct {
		pass  string
		ok    bool
		worst float64
	}{{"", true, 0.5}, {"packed", false, 2}, {"decode", false, 3}} {
		if got := j.results[i]; got.Pass != want.pass || got.OK != want.ok || float64(got.Worst.Share) != want.worst {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if j := judge(in, &measurements{wrongEmbeddings: []wrongElements{{}}}); j.ok {
		t.Error("a wrong embedding is inside")
	}
}
