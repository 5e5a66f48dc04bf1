package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// What a wrong config.json does to the logits is part of its finding, in one line, and no sound tensor is blamed. Wrong weights are told from it.
func TestFaultsOfConfiguration(t *testing.T) {
	b := baseOf(t, "float32, torch")
	const of = "\n  in the logits of the converted checkpoint: "
	down := func(m *made) { each(func(x float32) float32 { return 1.5 * x })(m.get(in(1, downProj))) }
	for _, tt := range []struct {
		name  string
		spoil func(m *made)
		lines []string // parts of those below the findings
		lack  string
	}{
		{"a norm", func(m *made) { m.config["rms_norm_eps"] = 1e-3 }, []string{"\n  rms_norm_eps: 1e-03, not 1e-06; every norm would differ slightly" + of + "all 3 blocks and the final norm: first wrong",
			"; explained by: rms_norm_eps 0.001; the recording was made with 1e-06\n"}, "\nlogits:"},
		{"a soft cap", func(m *made) { m.config["logits_soft_cap"] = 50.0 }, []string{of + "logits: first wrong", "a soft cap of 50 on the logits; the recording was made with 20\n"}, "\nlogits:"},
		{"a window", func(m *made) { m.config["attention_window_size"] = 3 }, []string{of + "all 2 attention blocks", "an attention window of 3; the recording was made with 5\n"}, "\nlogits:"},
		{"weights too", func(m *made) { m.config["rms_norm_eps"] = 1e-3; down(m) }, []string{of + "all 2 attention blocks and the final norm: first wrong", "; explained by: rms_norm_eps 0.001; the recording was made with 1e-06\n",
			of + "block 1, MLP: first wrong", "; because of the weights of " + in(1, downProj) + "\n"}, "look at"},
	} {
		m := b.made.clone()
		tt.spoil(m)
		v, err := verifyFiles(t, b.source, m.write(t), Options{Settings: b.settings, Golden: cases.Open(t, "odd-griffin").Recording("jax")})
		if err != nil || v.Same {
			t.Fatalf("%s: %+v, %v", tt.name, v, err)
		}
		var out strings.Builder
		if err := WriteText(&out, v, ""); err != nil {
			t.Fatal(err)
		}
		for _, line := range tt.lines {
			if !strings.Contains(out.String(), line) {
				t.Errorf("%s: the text lacks %q:\n%s", tt.name, line, out.String())
			}
		}
		if strings.Contains(out.String(), tt.lack) {
			t.Errorf("%s: the text has %q:\n%s", tt.name, tt.lack, out.String())
		}
	}
}

// A field is the cause of a fault only where it is computed with.
func TestCauses(t *testing.T) {
	temporal := func(kind logits.FaultKind) *logits.Fault {
		return &logits.Fault{Kind: kind, Half: logits.TemporalHalf}
	}
	faults := map[string]*logits.Fault{"attention": temporal(logits.AttentionFault), "recurrent": temporal(logits.RecurrentFault), "MLP": {Kind: logits.AttentionFault, Half: logits.MLPHalf},
		"block": {Kind: logits.AttentionFault}, "norm": {Kind: logits.FinalNormFault}, "logits": {Kind: logits.LogitsFault}, "embedding": {Kind: logits.EmbeddingFault},
		"window": {Kind: logits.AttentionFault, Setting: &logits.Setting{Name: logits.WindowSetting}}, "cap": {Kind: logits.LogitsFault, Setting: &logits.Setting{Name: logits.SoftCapSetting}},
		"semantics": {Kind: logits.AttentionFault, Setting: &logits.Setting{Name: logits.SemanticsSetting}}, "theta": {Kind: logits.AttentionFault, Setting: &logits.Setting{Name: logits.ThetaSetting}}}
	for field, want := range map[string]string{
		"rms_norm_eps": "MLP attention block norm recurrent", "hidden_activation": "MLP block recurrent", "num_attention_heads": "attention block recurrent",
		"attention_window_size": "attention block window", "head_dim": "attention block", "rope_theta": "attention block theta", "rope_parameters.rope_theta": "attention block theta",
		"rope_parameters.partial_rotary_factor": "attention block", "logits_soft_cap": "cap logits", "tie_word_embeddings": "logits",
		"architectures": "", "dtype": "", "conversion.json: settings.attention_window": "",
	} {
		var got []string
		for name, f := range faults {
			if causes(field, f) {
				got = append(got, name)
			}
		}
		if slices.Sort(got); strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %s", field, got, want)
		}
	}
}

// Tensors are proven only if they are identical to those with which the source computes what was recorded.
func TestProvenTensors(t *testing.T) {
	for _, tt := range []struct {
		tensors    string
		sourceOK   bool
		checkpoint string
		field      string
		want       string
	}{
		{"m.1.a", true, "b", "", "block 1; its weights are identical to the source's"},
		{"m.1.a m.1.b", true, "b", "", "block 1; look at m.1.b (s.1.b)"},
		{"m.1.a m.1.x", true, "b", "rms_norm_eps", "block 1; look at m.1.x"},
		{"m.1.a", true, "b", "rms_norm_eps", "block 1; because of rms_norm_eps: its weights are identical to the source's"},
		{"m.1.a", true, "b", "dtype", "block 1; its weights are identical to the source's"},
		{"m.1.a", false, "b", "rms_norm_eps", "block 1; look at m.1.a (s.1.a)"},
		{"m.1.a", true, "a", "rms_norm_eps", "block 1; look at m.1.a (s.1.a)"},
		{"", true, "b", "", "block 1"},
		{"", false, "b", "rms_norm_eps", "block 1"},
		{"m.1.c m.2.c m.3.c m.4.c m.5.c m.6.c m.7.c", true, "b", "", "block 1; look at m.{1-7}.c"},
		{"m.1.c m.2.c m.3.c m.4.c m.5.c m.6.c m.7.c m.8.c", true, "b", "", "block 1; look at m.{1-8}.c"},
	} {
		f := &logits.Fault{Detail: "block 1", Kind: logits.RecurrentFault, Tensors: strings.Fields(tt.tensors)}
		failing := &logits.Result{Checkpoint: tt.checkpoint, Faults: []*logits.Fault{f}}
		v := &Verdict{Source: &Subject{Path: "a"}, Converted: &Subject{Path: "b"}, Logits: []*logits.Result{{Checkpoint: "a", OK: tt.sourceOK}, failing},
			Weights: &WeightsSection{Converted: strictjson.Items(TensorDigest{Name: "m.1.a", From: []string{"s.1.a"}, OK: true}, TensorDigest{Name: "m.1.b", From: []string{"s.1.b"}})}}
		if tt.field != "" {
			v.Config = &Section{}
			v.Config.add(Finding{Kind: WrongField, Field: tt.field})
		}
		got := v.Faults(failing)
		if len(got) != 1 || v.faultLine(got[0]) != tt.want || (got[0].Check != "") != strings.Contains(tt.want, "because") {
			t.Errorf("%+v: %q, want %q", tt, v.faultLine(got[0]), tt.want)
		}
	}
}

// Faults are in the order of the forward pass, whatever causes them. Of the same block, or of the final norm and the logits, the order is that of the result.
func TestOrderOfFaults(t *testing.T) {
	l := &logits.Result{Checkpoint: "b"}
	for _, f := range []logits.Fault{
		{Block: -1, Kind: logits.EmbeddingFault, Detail: "the embedding"},
		{Block: 0, Half: logits.TemporalHalf, Kind: logits.RecurrentFault, Detail: "block 0"},
		{Block: 0, Half: logits.MLPHalf, Kind: logits.RecurrentFault, Tensors: []string{"wrong"}, Detail: "the MLP of block 0"},
		{Block: 2, Half: logits.MLPHalf, Kind: logits.AttentionFault, Detail: "the MLP of block 2"},
		{Block: 3, Kind: logits.FinalNormFault, Detail: "the final norm"},
		{Block: 3, Kind: logits.LogitsFault, Tensors: []string{"wrong"}, Detail: "the logits"},
	} {
		l.Faults = append(l.Faults, &f)
	}
	v := &Verdict{Source: &Subject{Path: "a"}, Converted: &Subject{Path: "b"}, Logits: []*logits.Result{l}, Weights: &WeightsSection{}}
	v.Weights.add(Finding{Kind: WrongWeights, Tensor: "wrong"})
	var got, want []string
	for _, f := range v.Faults(l) {
		got = append(got, f.Detail)
	}
	for _, f := range l.Faults {
		want = append(want, f.Detail)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The faults of the logits are counted, and those that say the same are one line.
func TestTextOfFoldedFaults(t *testing.T) {
	l := &logits.Result{Checkpoint: "a"}
	for i := range 5 {
		l.Faults = append(l.Faults, &logits.Fault{Block: i, Kind: logits.RecurrentFault, Half: logits.MLPHalf, Cause: "c"}, &logits.Fault{Block: i, Kind: logits.AttentionFault, Cause: "d"})
	}
	l.Faults = append(l.Faults, &logits.Fault{Block: 5, Kind: logits.LogitsFault, Detail: "logits"})
	v := &Verdict{Source: &Subject{Path: "a"}, Logits: []*logits.Result{l}}
	var out strings.Builder
	if err := WriteText(&out, v, "--all"); err != nil {
		t.Fatal(err)
	}
	const first = ": first wrong at token 0 of row 0 (position 0), worst in block 0 at token 0 of row 0, channel 0; explained by: "
	if want := "\nlogits: 11 failures\n  blocks 0 to 4, MLP" + first + "c\n  blocks 0 to 4" + first + "d\n  logits\n\n"; !strings.Contains(out.String(), want) {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
	if n := v.Checks()[0].Failures.Len(); n != 11 {
		t.Errorf("%d failures", n)
	}
}

// What the same wrong weights of several layers do to the logits is one line below their finding, which names a few of them. Faults with another cause, of other
// weights and of none are apart. Every place is counted.
func TestFoldedFaultsOfWeights(t *testing.T) {
	l := &logits.Result{Checkpoint: "b", Blocks: slices.Repeat([]model.BlockType{model.Recurrent}, 9)}
	v := &Verdict{Source: &Subject{Path: "a"}, Converted: &Subject{Path: "b"}, Logits: []*logits.Result{l}, Weights: &WeightsSection{}}
	wrong := func(kind FindingKind, block int, parameter string) {
		name := fmt.Sprintf("m.%d.%s", block, parameter)
		v.Weights.add(Finding{Kind: kind, Tensor: name, Differing: 1, Elements: 2})
	}
	fault := func(block int, half logits.Half, cause string, parameters ...string) {
		f := &logits.Fault{Block: block, Kind: logits.RecurrentFault, Half: half, Cause: cause, Detail: fmt.Sprint(half, block)}
		for _, p := range parameters {
			f.Tensors = append(f.Tensors, fmt.Sprintf("m.%d.%s", block, p))
		}
		l.Faults = append(l.Faults, f)
	}
	for i := range 9 {
		wrong(WrongWeights, i, "gate")
		wrong(WrongWeights, i, "up")
		fault(i, logits.MLPHalf, "exchanged", "gate", "up")
	}
	wrong(WrongWeights, 0, "q")
	wrong(WrongWeights, 1, "q")
	wrong(WrongWeights, 2, "k")
	fault(0, logits.TemporalHalf, "", "q")
	fault(1, logits.TemporalHalf, "", "q")
	fault(2, logits.TemporalHalf, "", "k")
	fault(3, logits.TemporalHalf, "", "o")
	fault(4, logits.TemporalHalf, "other", "o")
	const first, of = ": first wrong at token 0 of row 0 (position 0), worst in block 0 at token 0 of row 0, channel 0; because of the weights of ", "  in the logits: "
	lines := of + "all 9 blocks, MLP" + first + "m.{0-8}.*\n" + of + "blocks 0 and 1, temporal half" + first + "m.0.q, m.1.q\n" +
		of + "temporal2; because of the weights of m.2.k\n\nlogits: 2 failures\n  temporal3; look at m.3.o\n  temporal4; look at m.4.o\n"
	if text := textOf(t, v); !strings.Contains(text, lines) {
		t.Errorf("%s\nwant %s", text, lines)
	}
	l.Notes, v.Structure = []string{"noted"}, &Section{} // what is said of one of two is said to be of that
	for _, of := range []string{"source", "converted checkpoint"} {
		if of == "source" {
			l.Checkpoint = "a"
		} else {
			l.Checkpoint = "b"
		}
		if text := textOf(t, v); !strings.Contains(text, "\nlogits of the "+of+": 2 failures\n") || !strings.Contains(text, "\nnote: logits of the "+of+": noted\n") {
			t.Errorf("%s: %s", of, text)
		}
	}
	l.Notes, v.Structure = nil, nil
	wrong(WrongWeights, 3, "o")
	wrong(WrongWeights, 4, "p")
	wrong(WrongWeights, 5, "p")
	fault(4, logits.TemporalHalf, "", "p")
	fault(5, logits.TemporalHalf, "", "p")
	// Many that nothing explains are one, whichever weights cause them.
	const six = of + "blocks 0 to 5, temporal half" + first + "m.0.q, m.1.q, m.2.k, m.3.o, m.4.p, m.5.p\n"
	var out strings.Builder
	if err := WriteText(&out, v, "--all"); err != nil || !strings.Contains(out.String(), of+"all 9 blocks, MLP"+first+"m.{0-8}.*\n"+six) {
		t.Errorf("%v\n%s", err, out.String())
	}
	for i := range 5 {
		wrong(WrongWeights, i, fmt.Sprint("x", i))
		fault(i, logits.TemporalHalf, fmt.Sprint("cause ", i), fmt.Sprint("x", i))
	}
	out.Reset()
	if err := WriteText(&out, v, "--all"); err != nil || !strings.Contains(out.String(), "  ... and in 4 more places of the logits (--all)\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// Layers that are all of a kind are named by it if a list of their numbers would be long.
func TestFoldedByKind(t *testing.T) {
	blocks := slices.Repeat([]model.BlockType{model.Recurrent, model.Recurrent, model.Attention}, 5)
	of := func(kind model.BlockType, without int, parameters ...string) (names []string) {
		for i, b := range blocks {
			for _, p := range parameters {
				if b == kind && i != without {
					names = append(names, fmt.Sprintf("m.%d.%s", i, p))
				}
			}
		}
		return names
	}
	for _, tt := range []struct {
		names  []string
		blocks []model.BlockType
		want   string
	}{
		{of(model.Recurrent, -1, "t.w"), blocks, "t.w of the recurrent layers"},
		{append(of(model.Recurrent, -1, "t.w", "m.w"), "embed"), blocks, "the recurrent layers, embed"},
		{of(model.Attention, -1, "t.w", "t.b"), blocks, "t.* of the attention layers"},
		{of(model.Attention, 2, "t.w"), blocks, "m.{5,8,11,14}.t.w"},
		{of(model.Recurrent, -1, "t.w"), nil, "m.{0-1,3-4,6-7,9-10,12-13}.t.w"},
		{of(model.Attention, -1, "t.w"), blocks[:2], "m.{2,5,8,11,14}.t.w"},
		{of(model.Recurrent, -1, "t.w")[:6], blocks[:9], "m.{0-1,3-4,6-7}.t.w"},
	} {
		if got := strings.Join(fold(tt.names, tt.blocks, nil), ", "); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
