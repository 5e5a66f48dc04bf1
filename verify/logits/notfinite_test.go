package logits

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// spoiledSite is a site whose recording has elements that are not finite.
func spoiledSite(name string, fed bool, nan, inf int64) *siteErrors {
	s := &siteErrors{name: name, fed: fed, notFinite: recordedNotFinite{token: 11, channel: 3}}
	s.notFinite.NotFinite = stats.NotFinite{NaN: nan, Inf: inf}
	return s
}

// A recording that is not finite itself is one fault, whose first place is named, and how many more are so.
func TestRecordingFault(t *testing.T) {
	sound := &siteErrors{name: "hidden.0"}
	decoded := spoiledSite("logits", false, 2, 0)
	decoded.notFinite.decoded, decoded.notFinite.token = true, 4
	infinite := spoiledSite("hidden.1", false, 0, 1)
	infinite.notFinite.token = 2
	outside := func(names ...string) (all []*Site) {
		for _, name := range names {
			fed := name[0] == '>'
			if fed {
				name = name[1:]
			}
			all = append(all, &Site{Name: name, Fed: fed, First: &Location{Token: 2}, Worst: Location{Token: 3}})
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		sites  []*siteErrors
		judged []*Site
		cause  string
	}{
		{"all are sound", []*siteErrors{sound}, outside("hidden.0"), ""},
		{"of the second pass", []*siteErrors{sound, spoiledSite("hidden.1", false, 1, 0)}, outside("hidden.0", "hidden.1"), "packed.hidden.1, which holds 1 NaN, the first at token 2 of row 1, channel 3"},
		{"of the first pass", []*siteErrors{infinite}, outside("hidden.1"), "hidden.1, which holds 1 infinity, the first at token 2 of row 0, channel 3"},
		{"decoded", []*siteErrors{decoded}, outside("logits"), "decode.logits, which holds 2 NaN, the first at token 1 of row 1, channel 3"},
		{"two", []*siteErrors{spoiledSite("hidden.1", false, 1, 0), sound, spoiledSite("hidden.2", false, 1, 2)}, outside("hidden.1", "hidden.2"),
			"packed.hidden.1, which holds 1 NaN, the first at token 2 of row 1, channel 3, and so does 1 more of its results"},
		{"three", []*siteErrors{spoiledSite("hidden.1", false, 1, 0), spoiledSite("hidden.2", false, 1, 2), spoiledSite("logits", false, 1, 0)}, outside("hidden.1"),
			"packed.hidden.1, which holds 1 NaN, the first at token 2 of row 1, channel 3, and so do 2 more of its results"},
		{"that of a block that was fed is the same recording", []*siteErrors{spoiledSite("hidden.1", false, 1, 0), spoiledSite("hidden.1", true, 1, 0)}, outside(">hidden.1"),
			"packed.hidden.1, which holds 1 NaN, the first at token 2 of row 1, channel 3"},
		{"nothing of it is outside", []*siteErrors{spoiledSite("hidden.1", false, 1, 0)}, outside("hidden.2"), ""},
	} {
		in := &input{model: &runtime.Model{}, fixture: &golden.Fixture{Passes: []golden.Pass{{Batch: 2, Length: 3}, {Name: "packed", Batch: 2, Length: 3}}}, length: 3,
			tokens: make([]int32, 12), positions: make([]int32, 12)}
		l := &localiser{in: in, measured: &measurements{sites: tt.sites}, judged: &judgement{results: tt.judged}}
		recordingFault(l)
		if len(l.faults) == 0 || tt.cause == "" {
			if len(l.faults) > 0 || tt.cause != "" {
				t.Errorf("%s: %d faults, want %q", tt.name, len(l.faults), tt.cause)
			}
			continue
		}
		f := l.faults[0]
		if len(l.faults) != 1 || f.Cause != tt.cause || f.Kind != RecordingFault || f.Block != -1 || f.Proved || f.Where != "" || f.First.Token != 2 {
			t.Errorf("%s: %+v, want %q", tt.name, f, tt.cause)
		}
	}
}

// Recordings are unsound by what was recorded, which is counted where the model runs from the tokens on.
func TestUnsound(t *testing.T) {
	l := &localiser{measured: &measurements{sites: []*siteErrors{{name: "hidden.0"}, spoiledSite("hidden.1", false, 0, 1), spoiledSite("hidden.2", true, 1, 0)}}}
	for name, want := range map[string]bool{"hidden.0": false, "hidden.1": true, "hidden.2": false, "hidden.3": false} {
		if got := l.unsound(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if l.unsound() || !l.unsound("hidden.3", "hidden.0", "hidden.1") {
		t.Error("any of several results makes a block unsound")
	}
}

// floats is a tensor of some values.
func floats(t *testing.T, name string, values ...float32) *tensor.Tensor {
	raw, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		t.Fatal(err)
	}
	x := &tensor.Tensor{Name: name, DType: tensor.F32, Shape: []int64{int64(len(values))}}
	x.Data = &tensor.Strided{Store: bytes.NewReader(raw), Length: int64(len(values)), DType: x.DType, View: tensor.RowMajor(x.Shape...)}
	return x
}

// The tensors of a fault that gives results that are not finite are its cause if they are not finite themselves, unless something else is.
func TestFindBroken(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	c, err := tensor.NewCheckpoint("c", "safetensors", []*tensor.Tensor{floats(t, "sound", 1, 2), floats(t, "a", nan, 1, nan), floats(t, "b", 1, inf)})
	if err != nil {
		t.Fatal(err)
	}
	bad, good := []*TokenError{nil, {Largest: math.NaN()}}, []*TokenError{{Largest: 1}}
	sites := []*siteErrors{{name: "logits", fed: true, fixture: bad}, {name: "final_norm", fed: true, fixture: good}, {name: "hidden.0", fixture: bad}, {name: "hidden.0", fed: true, fixture: good},
		{name: "hidden.1", fixture: bad}}
	for _, tt := range []struct {
		name  string
		fault Fault
		cause string
		want  []string
	}{
		{"one", Fault{Kind: LogitsFault, Site: "logits", Proved: true, Tensors: []string{"sound", "a"}}, "a, which holds 2 NaN", []string{"a"}},
		{"two", Fault{Kind: LogitsFault, Site: "logits", Proved: true, Tensors: []string{"b", "sound", "a"}}, "b and 1 more tensor, which hold 2 NaN and 1 infinity", []string{"b", "a"}},
		{"none", Fault{Kind: LogitsFault, Site: "logits", Proved: true, Tensors: []string{"sound"}}, "", []string{"sound"}},
		{"a tensor that is not there", Fault{Kind: LogitsFault, Site: "logits", Proved: true, Tensors: []string{"gone", "a"}}, "a, which holds 2 NaN", []string{"a"}},
		{"explained", Fault{Kind: LogitsFault, Site: "logits", Proved: true, Cause: "c", Tensors: []string{"a"}}, "c", []string{"a"}},
		{"a finite result", Fault{Kind: FinalNormFault, Site: "final_norm", Proved: true, Tensors: []string{"a"}}, "", []string{"a"}},
		{"a result that nothing measured", Fault{Kind: LogitsFault, Site: "hidden.7", Tensors: []string{"a"}}, "", []string{"a"}},
		{"embeddings", Fault{Kind: EmbeddingFault, Site: "hidden.0", Proved: true, Tensors: []string{"a"}}, "a, which holds 2 NaN", []string{"a"}},
		{"not proved", Fault{Kind: LogitsFault, Site: "hidden.1", Tensors: []string{"a"}}, "a, which holds 2 NaN", []string{"a"}},
		{"proved, which only a block that is fed is", Fault{Kind: LogitsFault, Site: "hidden.1", Proved: true, Tensors: []string{"a"}}, "", []string{"a"}},
		{"no tensors outside the blocks", Fault{Kind: LogitsFault, Site: "logits", Proved: true}, "", nil},
	} {
		l := &localiser{in: &input{model: &runtime.Model{Found: &model.Model{Checkpoint: c}}}, measured: &measurements{sites: sites}}
		f := tt.fault
		if err := findBroken(t.Context(), l, &f); err != nil || f.Cause != tt.cause || !slices.Equal(f.Tensors, tt.want) {
			t.Errorf("%s: %v, %q, %q, want %q", tt.name, err, f.Cause, f.Tensors, tt.cause)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := &localiser{in: &input{model: &runtime.Model{Found: &model.Model{Checkpoint: c}}}, measured: &measurements{sites: sites}}
	if err := findBroken(ctx, l, &Fault{Kind: LogitsFault, Site: "logits", Proved: true, Tensors: []string{"a"}}); err == nil {
		t.Error("a run that was cancelled has no error")
	}
}

// A fault of a whole block may be in any of its tensors, and one that names tensors in no others.
func TestBrokenBlock(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	l := &localiser{in: &input{model: m}}
	temporal, mlp, outer := l.tensors(2, reference.ProjQ+reference.Kernel)[0], l.tensors(2, reference.MLPDown+reference.Bias)[0], l.tensors(-1, reference.FinalNorm)[0]
	nan := float32(math.NaN())
	c, err := tensor.NewCheckpoint("c", "safetensors", []*tensor.Tensor{floats(t, temporal, nan), floats(t, mlp, nan, nan), floats(t, outer, nan)})
	if err != nil {
		t.Fatal(err)
	}
	found := *m.Found
	found.Checkpoint = c
	l.in.model = &runtime.Model{Found: &found}
	l.measured = &measurements{sites: []*siteErrors{{name: "hidden.3", fed: true, fixture: []*TokenError{{Largest: math.NaN()}}}}}
	for _, tt := range []struct {
		fault Fault
		want  []string
	}{
		{Fault{Block: 2, Kind: AttentionFault}, []string{temporal, mlp}},
		{Fault{Block: 2, Kind: AttentionFault, Tensors: []string{mlp}}, []string{mlp}},
		{Fault{Block: 1, Kind: RecurrentFault}, nil},
		{Fault{Block: 2, Kind: LogitsFault}, nil},
	} {
		f := tt.fault
		f.Site, f.Proved = "hidden.3", true
		if err := findBroken(t.Context(), l, &f); err != nil || !slices.Equal(f.Tensors, tt.want) || (f.Cause == "") != (tt.want == nil) {
			t.Errorf("block %d, %s: %v, %q, %q, want %q", f.Block, f.Kind, err, f.Cause, f.Tensors, tt.want)
		}
	}
}
