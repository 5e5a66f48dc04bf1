package verify

import (
	"errors"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/verify/logits"
)

func TestTextSaysAll(t *testing.T) {
	const hostile = "\x1b[31m\u202e"
	v := &Verdict{Converted: &Subject{Path: hostile}, Structure: &Section{Summary: hostile, Notes: []string{hostile}}, Config: &Section{Summary: hostile, Skipped: true}, Weights: &WeightsSection{Section: Section{Summary: hostile}},
		Logits: []*logits.Result{{Summary: hostile, Faults: []*logits.Fault{{Kind: logits.RecurrentFault, Tensors: []string{hostile}, Detail: hostile}}}},
		Notes:  []string{hostile}}
	for range 30 {
		v.Structure.Findings = append(v.Structure.Findings, Finding{Kind: WrongWeights, Tensor: hostile, SourceName: hostile, Got: hostile, Detail: hostile})
	}
	var b strings.Builder
	if err := WriteText(&b, v); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if strings.ContainsAny(text, "\x1b\u202e") {
		t.Error("the text steers a terminal")
	}
	for _, want := range []string{"structure      FAIL", "configuration  --", "weights        FAIL", "logits         FAIL", "structure: 30 failures", "look at", "\nnot the same model\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%.1000s", want, text)
		}
	}
	if err := WriteText(&failing{}, v); err == nil {
		t.Error("a failed write was not reported")
	}
}

// failing is a full disk.
type failing struct{}

func (*failing) Write([]byte) (int, error) { return 0, errors.New("full") }
