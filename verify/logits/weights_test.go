package logits

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
)

// Other weights are the fault if both halves of every block fail and nothing explains it. Otherwise they are a note, and the faults stay.
func TestSetWeights(t *testing.T) {
	half := func(block int, half Half, cause string) *Fault {
		return &Fault{Block: block, Half: half, Kind: RecurrentFault, Cause: cause, Detail: "d"}
	}
	both := func() []*Fault {
		return []*Fault{half(0, TemporalHalf, ""), half(0, MLPHalf, ""), half(1, TemporalHalf, ""), half(1, MLPHalf, "")}
	}
	for _, tt := range []struct {
		name    string
		ok      bool
		faults  []*Fault
		found   string
		weights Weights
		folded  bool
	}{
		{"a result that is right", true, nil, "b", "", false},
		{"nothing that fails", false, nil, "b", "", false},
		{"the same", false, both(), "a", SameWeights, false},
		{"others", false, both(), "b", OtherWeights, true},
		{"others, and one half is right", false, both()[:3], "b", OtherWeights, false},
		{"others, and a block is right", false, both()[:2], "b", OtherWeights, false},
		{"others, and one half is explained", false, append(both()[:3], half(1, MLPHalf, "c")), "b", OtherWeights, false},
		{"others, and a fault of another kind", false, append(both()[:3], &Fault{Block: 1, Half: MLPHalf, Kind: LogitsFault, Detail: "d"}), "b", OtherWeights, false},
	} {
		r := &Result{OK: tt.ok, Faults: tt.faults, Blocks: make([]model.BlockType, 2)}
		r.SetWeights("a", tt.found)
		folded := len(r.Faults) == 1 && r.Faults[0].Kind == WeightsFault && r.Faults[0].Block == -1 && strings.Contains(r.Summary, "it has the digest a, and this model b")
		if noted := len(r.Notes) == 1; r.Weights != tt.weights || folded != tt.folded || !folded && len(r.Faults) != len(tt.faults) || noted != (tt.weights == OtherWeights && !tt.folded) {
			t.Errorf("%s: %q, %d faults, notes %q", tt.name, r.Weights, len(r.Faults), r.Notes)
		}
	}
}

// Outputs that are all outside by far, with logits that have nothing to do with those of the model, are those of other weights, whatever the digests say.
func TestUnrelated(t *testing.T) {
	fault := func(cause string) []*Fault {
		return []*Fault{{Kind: LogitsFault, Detail: "d"}, {Kind: RecurrentFault, Cause: cause}}
	}
	site := func(share float64) *Site { return &Site{Worst: Location{Share: Number(share)}} }
	logits := func(nmse, top10 float64) PassMetrics {
		return PassMetrics{Fixture: Metrics{NMSE: Number(nmse), Top10: Number(top10)}}
	}
	far, apart := []*Site{site(10), site(math.Inf(1))}, []PassMetrics{logits(0, 0.4), logits(2, 0)}
	for _, tt := range []struct {
		name string
		r    Result
		want bool
	}{
		{"all", Result{Faults: fault(""), Sites: far, Metrics: apart}, true},
		{"explained", Result{Faults: fault("c"), Sites: far, Metrics: apart}, false},
		{"the recording", Result{Faults: []*Fault{{Kind: RecordingFault}}, Sites: far, Metrics: apart}, false},
		{"an output that is right", Result{Faults: fault(""), Sites: append(slices.Clone(far), &Site{OK: true, Worst: Location{Share: 20}}), Metrics: apart}, false},
		{"an output that is near", Result{Faults: fault(""), Sites: append(slices.Clone(far), site(9)), Metrics: apart}, false},
		{"logits that are near", Result{Faults: fault(""), Sites: far, Metrics: append(slices.Clone(apart), logits(-0.1, 0))}, false},
		{"logits that are scaled", Result{Faults: fault(""), Sites: far, Metrics: append(slices.Clone(apart), logits(6, 0.5))}, false},
		{"logits that are not finite", Result{Faults: fault(""), Sites: far, Metrics: append(slices.Clone(apart), logits(math.NaN(), math.NaN()))}, false},
		{"no logits", Result{Faults: fault(""), Sites: far}, false},
		{"no faults", Result{Sites: far, Metrics: apart}, false},
	} {
		r := tt.r
		r.Suspect()
		blamed := func() bool { return len(r.Faults) == 1 && r.Faults[0].Kind == WeightsFault }
		if r.Weights == UnlikeWeights != tt.want || blamed() != tt.want || tt.want && r.Summary != "the recording is likely of other weights or of another model: none of its 2 outputs is near what this model computes" {
			t.Errorf("%s: %q, %+v", tt.name, r.Weights, r.Faults)
		}
		r = tt.r
		r.Blocks = make([]model.BlockType, 1)
		if r.SetWeights("a", "b"); r.Weights == OtherWeights != (len(r.Faults) > 0) || blamed() != tt.want {
			t.Errorf("%s, by the digest: %q, %+v", tt.name, r.Weights, r.Faults)
		}
		r = tt.r
		if r.SetWeights("a", "a"); len(r.Faults) > 0 {
			if r.Suspect(); r.Weights != SameWeights || blamed() {
				t.Errorf("%s, with the same digest: %q, %+v", tt.name, r.Weights, r.Faults)
			}
		}
		r = tt.r
		r.OK = true
		if r.Suspect(); r.Weights != "" || blamed() {
			t.Errorf("%s, and right: %q", tt.name, r.Weights)
		}
	}
}

// A fault whose half is not known says nothing of either half, and each block is to fail by itself.
func TestWeightsOfOneBlock(t *testing.T) {
	fault := func(block int, half Half) *Fault { return &Fault{Block: block, Half: half, Kind: AttentionFault} }
	for _, tt := range []struct {
		blocks int
		faults []*Fault
		want   bool
	}{
		{1, []*Fault{fault(0, TemporalHalf), fault(0, MLPHalf)}, true},
		{1, []*Fault{fault(0, "")}, false},
		{1, []*Fault{fault(0, ""), fault(0, MLPHalf)}, false},
		{2, []*Fault{fault(1, TemporalHalf), fault(1, MLPHalf)}, false},
		{2, []*Fault{fault(0, TemporalHalf), fault(1, MLPHalf)}, false},
	} {
		r := &Result{Faults: tt.faults, Blocks: make([]model.BlockType, tt.blocks)}
		if got := r.allBlocksFail(); got != tt.want {
			t.Errorf("%d blocks, %d faults: %t", tt.blocks, len(tt.faults), got)
		}
	}
}

// Elements of a recording that are not finite are counted if the model gives numbers, and the first is known.
func TestRecordedNotFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	var r recordedNotFinite
	r.add(0, []float32{1, nan, inf}, []float64{1, math.NaN(), math.Inf(-1)}, false) // the model's own
	if r != (recordedNotFinite{}) {
		t.Errorf("%+v", r)
	}
	r.add(3, []float32{1, 2, -inf}, []float64{1, 2, 3}, true)
	r.add(4, []float32{nan, inf, nan}, []float64{1, 2, 3}, false)
	if r.NaN != 2 || r.Inf != 2 || r.token != 3 || r.channel != 2 || !r.decoded {
		t.Errorf("%+v", r)
	}
}

// Tensors that are not finite are the cause of a fault, with what all of them hold.
func TestBlameBroken(t *testing.T) {
	for _, tt := range []struct {
		nan, inf []int64
		want     string // before what they hold
		names    []string
	}{
		{nil, nil, "", []string{"sound"}},
		{[]int64{2}, []int64{0}, "a, which holds ", []string{"a"}},
		{[]int64{2, 0}, []int64{0, 1}, "a and 1 more tensor, which hold ", []string{"a", "b"}},
		{[]int64{2, 0, 1}, []int64{1, 1, 0}, "a and 2 more tensors, which hold ", []string{"a", "b", "c"}},
	} {
		f := &Fault{Tensors: []string{"sound"}}
		var all brokenTensor
		for i, n := range tt.nan {
			one := brokenTensor{name: string(rune('a' + i))}
			one.NaN, one.Inf = n, tt.inf[i]
			f.broken = append(f.broken, one)
			all.NaN, all.Inf = all.NaN+n, all.Inf+tt.inf[i]
		}
		f.blameBroken()
		want := ""
		if tt.want != "" {
			want = tt.want + all.NotFinite.String()
		}
		if f.Cause != want || !slices.Equal(f.Tensors, tt.names) {
			t.Errorf("%q, want %q; %q", f.Cause, want, f.Tensors)
		}
	}
}

// Faults of which tensors that are not finite are the cause, and those of one number of config.json, are one for all blocks. It knows which.
func TestFoldedCauses(t *testing.T) {
	r := &Result{Blocks: make([]model.BlockType, 3)}
	broken := func(kind FaultKind, block int, names ...string) *Fault {
		f := &Fault{Block: block, Kind: kind}
		for _, name := range names {
			one := brokenTensor{name: name}
			one.NaN = 2
			f.broken = append(f.broken, one)
		}
		f.blameBroken()
		return f
	}
	theta := func(block int, half Half, pass string) *Fault {
		return &Fault{Block: block, Half: half, Kind: AttentionFault, Pass: pass, Cause: "c", Setting: &Setting{Name: ThetaSetting}}
	}
	for _, tt := range []struct {
		name   string
		faults []*Fault
		want   []int // members
		first  string
	}{
		{"broken tensors", []*Fault{broken(RecurrentFault, 0, "a", "b"), broken(AttentionFault, 1, "c"), broken(FinalNormFault, 3, "d")}, []int{3}, "a and 3 more tensors, which hold 8 NaN"},
		{"broken tensors outside the blocks", []*Fault{broken(RecurrentFault, 0, "a"), broken(LogitsFault, 3, "b"), broken(LogitsFault, 3, "c")}, []int{1, 1, 1}, "a, which holds 2 NaN"},
		{"a number", []*Fault{theta(0, TemporalHalf, ""), theta(1, MLPHalf, ""), theta(2, TemporalHalf, "")}, []int{3}, "c"},
		{"a number that some show in packed rows only", []*Fault{theta(0, TemporalHalf, ""), theta(1, MLPHalf, "packed"), theta(2, TemporalHalf, "")}, []int{2, 1}, "c"},
		{"a number that only decoding shows", []*Fault{theta(0, TemporalHalf, ""), theta(1, MLPHalf, "decode")}, []int{1, 1}, "c"},
	} {
		var got []int
		out := r.Fold(tt.faults, false)
		for _, f := range out {
			got = append(got, len(f.Members()))
		}
		if !slices.Equal(got, tt.want) || out[0].Cause != tt.first || out[0].Members()[0].Block != 0 {
			t.Errorf("%s: %d, %s", tt.name, got, out[0].Cause)
		}
	}
	for kind, want := range map[FaultKind]bool{EmbeddingFault: true, RecurrentFault: true, LogitsFault: true, RecordingFault: false, WeightsFault: false} {
		if got := (&Fault{Kind: kind}).InCheckpoint(); got != want {
			t.Errorf("%s: %t", kind, got)
		}
	}
}
