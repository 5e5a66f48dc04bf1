package verify

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// editRecording writes a copy of a fixture with other values of one result, and returns its path.
func editRecording(t *testing.T, fixture, result string, edit func(x []float32)) string {
	t.Helper()
	file, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	header := 8 + binary.LittleEndian.Uint64(file)
	var tensors map[string]struct {
		Offsets [2]uint64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(file[8:header], &tensors); err != nil {
		t.Fatal(err)
	}
	data := file[header:][tensors[result].Offsets[0]:tensors[result].Offsets[1]]
	x := make([]float32, len(data)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	edit(x)
	for i := range x {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(x[i]))
	}
	path := filepath.Join(t.TempDir(), "edited.safetensors")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// textOf is the verdict for people.
func textOf(t *testing.T, v *Verdict) string {
	t.Helper()
	var out strings.Builder
	if err := WriteText(&out, v, ""); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A checkpoint alone whose weights are those that were recorded has a wrong configuration: no tensor is blamed. Published values explain it; for
// others the fields are named that may be wrong.
func TestWrongConfigurationAlone(t *testing.T) {
	b := baseOf(t, "float32, torch")
	right := b.made.clone().write(t)
	set := func(name string, x any) func(*made) { return func(m *made) { field(name, constant(x))(m) } }
	for _, tt := range []struct {
		name     string
		spoil    func(m *made)
		recorded bool // it is the spoiled directory that was recorded
		line     string
	}{
		{"epsilon", set("rms_norm_eps", 1e-3), false, "all 3 blocks, both halves, and the final norm: first wrong at | explained by: rms_norm_eps 0.001; the recording was made with 1e-06\n"},
		{"published epsilon", set("rms_norm_eps", 1e-5), true, "all 3 blocks, both halves, and the final norm: first wrong in block 0, temporal half (attention) at | explained by: rms_norm_eps 1e-06; the recording was made with 1e-05\n"},
		{"rope_theta", set("rope_parameters.rope_theta", 100.0), false, "all 2 attention blocks, temporal half: first wrong at | explained by: rope_theta 100; the recording was made with 10000\n"},
		{"rotary factor", set("rope_parameters.partial_rotary_factor", 1.0), false, "all 2 attention blocks, temporal half: first wrong at | explained by: partial_rotary_factor 1; the recording was made with 0.5\n"},
		{"activation", set("hidden_activation", "relu"), false, "all 3 blocks: first wrong at | explained by: hidden_activation relu; the recording was made with gelu_pytorch_tanh\n"},
		{"published activation", set("hidden_activation", "gelu"), true, "all 3 blocks: first wrong at | explained by: hidden_activation gelu_pytorch_tanh; the recording was made with gelu\n"},
		{"another epsilon", set("rms_norm_eps", 3e-4), true, "all 3 blocks, both halves, and the final norm: first wrong at | its weights are those that were recorded, so that the configuration is wrong: rms_norm_eps\n"},
		{"another rope_theta", set("rope_parameters.rope_theta", 100.0), true, "all 2 attention blocks, temporal half: first wrong at | so that the configuration is wrong: one of rms_norm_eps, num_attention_heads, head_dim, rope_theta, partial_rotary_factor, attention_window_size\n"},
		{"another activation", set("hidden_activation", "relu"), true, "all 3 blocks: first wrong at | so that the configuration is wrong: one of rms_norm_eps, hidden_activation\n"},
	} {
		m := b.made.clone()
		m.config["rope_parameters"] = map[string]any{"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
		tt.spoil(m)
		checkpoint, recorded := m.write(t), right
		if tt.recorded {
			checkpoint, recorded = recorded, checkpoint
		}
		v, err := verifyAlone(t, checkpoint, Options{Golden: recordFixture(t, recorded, model.Settings{}, reference.Transformers5)})
		if err != nil || v.Same || v.Logits[0].Weights != logits.SameWeights {
			t.Fatalf("%s: %+v, %v", tt.name, v, err)
		}
		text := textOf(t, v)
		begin, end, _ := strings.Cut(tt.line, " | ")
		if !strings.Contains(text, "\n  "+begin) || !strings.Contains(text, end) || strings.Contains(text, "look at") || len(v.Faults(v.Logits[0])) != 1 {
			t.Errorf("%s: want %q:\n%s", tt.name, tt.line, text)
		}
	}
}

// A wrong field that explains blocks hides no other one: that of the head, or of the same blocks. The MLP of a block whose temporal half is wrong
// by more than that is judged alone.
func TestTwoWrongFieldsAlone(t *testing.T) {
	b := baseOf(t, "float32, torch")
	right := b.made.clone()
	right.config["rope_parameters"] = map[string]any{"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
	recording := recordFixture(t, right.write(t), model.Settings{}, reference.Transformers5)
	file, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	unnormed := filepath.Join(t.TempDir(), "unnormed.safetensors") // without the final norm
	if err := os.WriteFile(unnormed, bytes.ReplaceAll(file, []byte("final_norm"), []byte("nothing_of")), 0o600); err != nil {
		t.Fatal(err)
	}
	other := right.clone()
	field("rope_parameters.rope_theta", constant(300.0))(other)
	odd := recordFixture(t, other.write(t), model.Settings{}, reference.Transformers5) // with what nothing published has
	const epsilon = "explained by: rms_norm_eps 1e-05; the recording was made with 1e-06\n"
	for _, tt := range []struct {
		field     string
		to        any
		recording string
		want      []string // lines, each what it begins and ends with
	}{
		{"logits_soft_cap", 5.0, recording, []string{"all 3 blocks, both halves, and the final norm: | " + epsilon, "logits: | explained by: a soft cap of 5 on the logits; the recording was made with 20\n"}},
		{"logits_soft_cap", 5.0, unnormed, []string{"all 3 blocks, both halves: | " + epsilon, "logits: | explained by: a soft cap of 5 on the logits; the recording was made with 20\n"}},
		{"attention_window_size", 6, recording, []string{"all 3 blocks and the final norm: | " + epsilon, "all 2 attention blocks, temporal half: | explained by: an attention window of 6; the recording was made with 5\n"}},
		{"rope_parameters.rope_theta", 100.0, recording, []string{"all 3 blocks and the final norm: | " + epsilon, "all 2 attention blocks, temporal half: | explained by: rope_theta 100; the recording was made with 10000\n"}},
		{"rope_parameters.partial_rotary_factor", 0.25, recording, []string{"all 3 blocks and the final norm: | " + epsilon, "all 2 attention blocks, temporal half: | explained by: partial_rotary_factor 0.25; the recording was made with 0.5\n"}},
		{"rope_parameters.rope_theta", 10000.0, odd, []string{"all 3 blocks and the final norm: | " + epsilon, "all 2 attention blocks, temporal half: | the configuration is wrong: one of num_attention_heads, head_dim, rope_theta, partial_rotary_factor, attention_window_size\n"}},
	} {
		m := right.clone()
		field("rms_norm_eps", constant(1e-5))(m)
		field(tt.field, constant(tt.to))(m)
		v, err := verifyAlone(t, m.write(t), Options{Golden: tt.recording})
		if err != nil || v.Same {
			t.Fatalf("%s: %+v, %v", tt.field, v, err)
		}
		text := textOf(t, v)
		for _, line := range tt.want {
			begin, end, _ := strings.Cut(line, " | ")
			_, rest, found := strings.Cut(text, "\n  "+begin)
			if line, _, _ = strings.Cut(rest, "\n"); !found || !strings.HasSuffix(line+"\n", end) {
				t.Errorf("%s: want %q … %q:\n%s", tt.field, begin, end, text)
			}
		}
		if n := len(v.Faults(v.Logits[0])); n != len(tt.want) {
			t.Errorf("%s: %d faults:\n%s", tt.field, n, text)
		}
		for _, f := range v.Logits[0].Faults {
			if s := f.Setting; s != nil && s.Name == logits.EpsilonSetting && f.Worst.Share > 1000 {
				t.Errorf("%s: %s", tt.field, f.Detail)
			}
		}
	}
}

// The logits behind a wrong final norm are at fault only if the head is wrong too, and nothing is said of them behind one that is not finite or zero.
func TestLogitsBehindWrongNorm(t *testing.T) {
	b := baseOf(t, "float32, torch")
	recordings := []string{recordFixture(t, b.made.clone().write(t), model.Settings{}, reference.Transformers5), cases.Open(t, "odd-griffin").Recording("jax")}
	nan := float32(math.NaN())
	for _, tt := range []struct {
		name    string
		norm    func(x float32) float32
		softCap float64
		want    []logits.FaultKind
	}{
		{"NaN", func(float32) float32 { return nan }, 20, []logits.FaultKind{logits.FinalNormFault}},
		{"zero", func(float32) float32 { return -1 }, 20, []logits.FaultKind{logits.FinalNormFault}},
		{"too large, so that all logits are at the cap", func(x float32) float32 { return 1000 + x }, 20, []logits.FaultKind{logits.FinalNormFault}},
		{"too small", func(x float32) float32 { return x/1000 - 0.999 }, 20, []logits.FaultKind{logits.FinalNormFault}},
		{"too large, and another cap", func(x float32) float32 { return 1000 + x }, 2, []logits.FaultKind{logits.FinalNormFault, logits.LogitsFault}},
	} {
		m := b.made.clone()
		each(tt.norm)(m.get(finalNorm))
		m.config["logits_soft_cap"] = tt.softCap
		for _, recording := range recordings {
			v, err := verifyAlone(t, m.write(t), Options{Golden: recording})
			if err != nil {
				t.Fatal(err)
			}
			var kinds []logits.FaultKind
			for _, f := range v.Logits[0].Faults {
				kinds = append(kinds, f.Kind)
			}
			if last := v.Logits[0].Faults[len(kinds)-1]; !slices.Equal(kinds, tt.want) || len(kinds) == 2 && !strings.HasPrefix(last.Cause, "a soft cap of 2 on the logits; the recording was made with ") {
				t.Errorf("%s, %s: %q, want %q\n%s", tt.name, v.Logits[0].Implementation, kinds, tt.want, textOf(t, v))
			}
		}
	}
}

// Where only one of several blocks differs from what was recorded of the same weights, the recording may be wrong.
func TestWrongRecordingAlone(t *testing.T) {
	right := baseOf(t, "float32, torch").made.clone().write(t)
	recording := recordFixture(t, right, model.Settings{}, reference.Transformers5)
	v, err := verifyAlone(t, right, Options{Golden: editRecording(t, recording, "temporal.0", func(x []float32) { x[40] += 1 })})
	if err != nil || v.Same {
		t.Fatalf("%+v, %v", v, err)
	}
	const want = "so that the configuration (one of rms_norm_eps, num_attention_heads, head_dim, rope_theta, partial_rotary_factor, attention_window_size) or the recording is wrong\n"
	if text := textOf(t, v); !strings.Contains(text, want) || strings.Contains(text, "look at") {
		t.Errorf("want %q:\n%s", want, text)
	}
}

// A fixture of other weights, by its digest, says nothing of the layers if all are wrong. If some are right, they are.
func TestOtherWeightsAlone(t *testing.T) {
	b := baseOf(t, "float32, torch")
	right := b.made.clone()
	recording := recordFixture(t, right.write(t), model.Settings{}, reference.Transformers5)
	other := b.made.clone()
	for _, e := range other.tensors {
		each(func(x float32) float32 { return 1.25*x + 0.01 })(e)
	}
	v, err := verifyAlone(t, other.write(t), Options{Golden: recording})
	const say = "the fixture was recorded from other weights: it has the digest huggingface blake3:"
	const unproven = "not proven: the recording is of other weights"
	if err != nil || v.Same || v.Answer() != unproven || v.Logits[0].Weights != logits.OtherWeights || !strings.Contains(textOf(t, v), "\nlogits: 1 failure\n  "+say) || v.Logits[0].Faults[0].Kind != logits.WeightsFault {
		t.Errorf("%+v, %v", v, err)
	}
	v, err = verifyFiles(t, b.source, other.write(t), Options{Settings: b.settings, Golden: recording})
	if err != nil || v.Answer() != "not the same model" {
		t.Errorf("another conversion: %s, %v", v.Answer(), err)
	}
	v, err = verifyFiles(t, b.source, right.write(t), Options{Settings: b.settings, Golden: recordFixture(t, other.write(t), model.Settings{}, reference.Transformers5)})
	if err != nil || v.Same || v.Answer() != unproven {
		t.Errorf("a right conversion: %s, %v", v.Answer(), err)
	}
	damaged := b.made.clone()
	each(func(x float32) float32 { return 1.25 * x })(damaged.get(in(1, downProj)))
	v, err = verifyAlone(t, damaged.write(t), Options{Golden: recording})
	if err != nil || v.Answer() != "not the model that was recorded" || len(v.Logits[0].Faults) != 1 || v.Logits[0].Faults[0].Block != 1 || !strings.Contains(textOf(t, v), "\nnote: logits: "+say) {
		t.Errorf("%+v, %v", v, err)
	}
	for _, tt := range []struct{ tensor, fault string }{{downProj, "block 0, MLP: first wrong"}, {"temporal_pre_norm.weight", "block 0, temporal half"}} {
		half := b.made.clone() // of every block
		for i := range b.blocks {
			each(func(x float32) float32 { return 1.25 * x })(half.get(in(i, tt.tensor)))
		}
		v, err = verifyAlone(t, half.write(t), Options{Golden: recording})
		if err != nil || v.Same || len(v.Logits[0].Faults) != 3 || !strings.Contains(textOf(t, v), "\n  "+tt.fault) || !strings.Contains(textOf(t, v), "\nnote: logits: "+say) {
			t.Errorf("%s: %+v, %v", tt.tensor, v, err)
		}
	}
}

// A fixture of other weights is recognised by the digest of either checkpoint of a pair that is the same bit for bit. An original alone does not have
// the layout of the digest.
func TestOtherWeightsOfPair(t *testing.T) {
	b := baseOf(t, "float32, torch")
	converted, damaged := b.made.clone().write(t), b.made.clone()
	each(func(x float32) float32 { return 1.25 * x })(damaged.get(in(1, downProj)))
	recording := recordFixture(t, damaged.write(t), model.Settings{}, reference.Original)
	for _, tt := range []struct {
		converted string
		weights   logits.Weights
		note      string
	}{
		{converted, logits.OtherWeights, "note: logits: the fixture was recorded from other weights: it has the digest huggingface blake3:"},
		{"", "", "note: the fixture may be of other weights: it records a digest of weights in the huggingface layout, and only those of a checkpoint in that layout can be compared with it\n"},
	} {
		verify := func() (*Verdict, error) {
			return verifyAlone(t, b.source, Options{Golden: recording, Settings: b.settings})
		}
		if tt.converted != "" {
			verify = func() (*Verdict, error) {
				return verifyFiles(t, b.source, tt.converted, Options{Golden: recording, Settings: b.settings})
			}
		}
		v, err := verify()
		if err != nil || v.Same || len(v.Logits) != 1 || v.Logits[0].Weights != tt.weights || v.Logits[0].Checkpoint != b.source {
			t.Fatalf("%q: %+v, %v", tt.converted, v, err)
		}
		if text := textOf(t, v); strings.Count(text, tt.note) != 1 {
			t.Errorf("%q: want %q:\n%s", tt.converted, tt.note, text)
		}
	}
}

// A recording with values that are not finite is said to be unsound, and no layer is blamed for them. What is wrong elsewhere is found.
func TestUnsoundRecording(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	nan := float32(math.NaN())
	all := func(x []float32) {
		for i := range x {
			x[i] = nan
		}
	}
	for _, tt := range []struct {
		result string
		edit   func(x []float32)
		want   string
	}{
		{"logits", func(x []float32) { x[3*128+5] = nan }, "logits holds 1 NaN, the first at token 3 of row 0, channel 5"},
		{"hidden.2", all, "hidden.2 holds 1,536 NaN, the first at token 0 of row 0, channel 0"},
		{"hidden.2", func(x []float32) { x[24*32+2*32+1], x[24*32+2*32+2] = float32(math.Inf(-1)), nan }, "hidden.2 holds 1 NaN and 1 infinity, the first at token 2 of row 1, channel 1"},
		{"hidden.0", func(x []float32) { x[7] = nan }, "hidden.0 holds 1 NaN, the first at token 0 of row 0, channel 7"},
		{"hidden.0", func(x []float32) { x[7] = float32(math.Inf(1)) }, "hidden.0 holds 1 infinity, the first at token 0 of row 0, channel 7"},
		{"packed.hidden.3", func(x []float32) { x[25*32] = nan }, "packed.hidden.3 holds 1 NaN, the first at token 1 of row 1, channel 0"},
		{"decode.logits", func(x []float32) { x[5] = nan }, "decode.logits holds 1 NaN, the first at token "},
		{"hidden.5", all, "hidden.5 holds 1,536 NaN, the first at token 0 of row 0, channel 0"},
	} {
		path := editRecording(t, c.Recording("jax"), tt.result, tt.edit)
		v, err := verifyAlone(t, filepath.Join(c.Dir, "hf"), Options{Golden: path})
		if err != nil || v.Same || v.Answer() != "not proven: the recording is not finite" {
			t.Fatalf("%s: %+v, %v", tt.result, v, err)
		}
		want := "\nlogits: 1 failure\n  the recording itself is not finite, and cannot prove these values: " + tt.want
		if text := textOf(t, v); !strings.Contains(text, want) {
			t.Errorf("%s: want %q:\n%s", tt.result, want, text)
		}
		if tt.result != "hidden.2" {
			continue
		}
		path = editRecording(t, path, "logits", func(x []float32) { x[128+5] += 7 })
		v, err = verifyAlone(t, filepath.Join(c.Dir, "hf"), Options{Golden: path})
		if err != nil || !slices.ContainsFunc(v.Logits[0].Faults, func(f *logits.Fault) bool { return f.Kind == logits.LogitsFault }) || len(v.Logits[0].Faults) != 2 || v.Answer() != "not the model that was recorded" {
			t.Errorf("%s, and a logit: %+v, %v", tt.result, v, err)
		}
	}
}

// Tensors with elements that are not finite are named as the cause, with how many there are.
func TestBrokenTensors(t *testing.T) {
	b := baseOf(t, "float32, torch")
	recording := cases.Open(t, "odd-griffin").Recording("jax")
	const nan, inf = 0x7fc00000, 0x7f800000
	for _, tt := range []struct {
		name  string
		spoil func(m *made)
		want  string
	}{
		{"NaN", func(m *made) { special(nan)(m.get(in(1, downProj))) }, "explained by: " + in(1, downProj) + ", which holds 1 NaN; look at " + in(1, downProj) + "\n"},
		{"an infinity", func(m *made) { special(inf)(m.get(in(1, downProj))) }, in(1, downProj) + ", which holds 1 infinity;"},
		{"two tensors", func(m *made) {
			special(nan)(m.get(in(1, downProj)))
			special(inf)(m.get(in(1, "mlp_block.up_proj.weight")))
		},
			"explained by: " + in(1, "mlp_block.up_proj.weight") + " and 1 more tensor, which hold 1 NaN and 1 infinity;"},
		{"a norm", func(m *made) { special(nan)(m.get(finalNorm)) }, "explained by: " + finalNorm + ", which holds 1 NaN;"},
		{"everything", func(m *made) {
			for _, e := range m.tensors {
				each(func(float32) float32 { return float32(math.NaN()) })(e)
			}
		}, "all 3 blocks and the final norm: first wrong at"},
	} {
		m := b.made.clone()
		tt.spoil(m)
		v, err := verifyAlone(t, m.write(t), Options{Golden: recording})
		if err != nil || v.Same {
			t.Fatalf("%s: %+v, %v", tt.name, v, err)
		}
		if text := textOf(t, v); !strings.Contains(text, tt.want) || len(v.Faults(v.Logits[0])) > 2 {
			t.Errorf("%s: want %q:\n%s", tt.name, tt.want, text)
		}
	}
}
