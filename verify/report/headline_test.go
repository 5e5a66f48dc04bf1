package report

import (
	"fmt"
	"math"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// The headline, the colour and the sentence below it say what the verdict is, and what it is based on.
func TestVerdictHeadline(t *testing.T) {
	facts := &verify.CheckpointFacts{Subject: verify.Subject{Path: "x", Layout: "huggingface"}}
	ok, failed := verify.Section{OK: true}, func(n int) verify.Section {
		all := make([]verify.Finding, n)
		for i := range all {
			all[i] = verify.Finding{Kind: verify.MissingTensor, Tensor: fmt.Sprintf("t%d", i), Want: "float32 [2]"}
		}
		return verify.Section{Findings: strictjson.Items(all...)}
	}
	three := failed(3)
	quantised := func(n int) *verify.QuantizedSection {
		s := &verify.QuantizedSection{Section: failed(n)}
		s.Summary = "int8, as its scheme explains"
		return s
	}
	caused := []*logits.Result{{Checkpoint: "x", Implementation: "jax", Faults: []*logits.Fault{{Kind: logits.EmbeddingFault, Block: -1, Site: "hidden.0", Tensors: []string{"t0"}}}}}
	weights := func(s verify.Section, rounded, widened, divided int64) *verify.WeightsSection {
		return &verify.WeightsSection{Section: s, Tensors: 2, Elements: 1000, Rounded: rounded, Widened: widened, Kept: rounded > 0 && rounded == widened, RoundedTo: "float32", Divided: divided}
	}
	recording := []*logits.Result{{Checkpoint: "x", OK: true, Implementation: "jax"}}
	faulty := []*logits.Result{{Checkpoint: "x", Implementation: "jax", Faults: []*logits.Fault{{Kind: logits.EmbeddingFault, Block: -1, Site: "hidden.0"}}}}
	for _, tt := range []struct {
		name   string
		v      verify.Verdict
		alone  bool
		answer string
		tone   page.Tone
		lead   string
	}{
		{"identical", verify.Verdict{Same: true, Structure: &ok, Weights: weights(ok, 0, 0, 0)}, false, "The same model", page.Good,
			"Every one of 1,000 elements of 2 tensors is identical to the source, bit for bit."},
		{"identical, and as recorded", verify.Verdict{Same: true, Weights: weights(ok, 0, 0, 0), Logits: append(recording, recording...)}, false, "The same model", page.Good,
			"Every one of 1,000 elements of 2 tensors is identical to the source, bit for bit, and what jax computed matches within rounding."},
		{"rounded", verify.Verdict{Same: true, Weights: weights(ok, 500, 0, 0)}, false, "The same model, rounded to float32", page.Good,
			"Every one of 1,000 elements of 2 tensors is identical to the source, correctly rounded where the dtype changed."},
		{"rounded and widened", verify.Verdict{Same: true, Weights: weights(ok, 500, 400, 0)}, false, "The same model, rounded to float32", page.Good,
			"Every one of 1,000 elements of 2 tensors is identical to the source, correctly rounded where the dtype changed."},
		{"rounded, and the source as recorded", verify.Verdict{Same: true, Source: &verify.Subject{Path: "x"}, Converted: &verify.Subject{}, Structure: &ok, Config: &ok, Weights: weights(ok, 500, 0, 0), Logits: recording}, false, "The same model, rounded to float32", page.Good,
			"Every one of 1,000 elements of 2 tensors is identical to the source, correctly rounded where the dtype changed, and what jax computed matches the source within rounding."},
		{"widened", verify.Verdict{Same: true, Weights: weights(ok, 500, 500, 0)}, false, "The same model, as float32", page.Good,
			"Every one of 1,000 elements of 2 tensors has the value that the source has, in float32."},
		{"kept in a narrower type", verify.Verdict{Same: true, Weights: &verify.WeightsSection{Section: ok, Tensors: 2, Elements: 1000, Rounded: 500, Kept: true, RoundedTo: "bfloat16"}}, false, "The same model, as bfloat16, every value kept", page.Good,
			"Every one of 1,000 elements of 2 tensors has the value that the source has, in bfloat16."},
		{"kept in several types", verify.Verdict{Same: true, Weights: &verify.WeightsSection{Section: ok, Tensors: 2, Elements: 1000, Rounded: 500, Widened: 100, Kept: true, RoundedTo: "bfloat16", DTypes: "1 tensor as bfloat16"}}, false, "The same model, 1 tensor as bfloat16, every value kept", page.Good,
			"Every one of 1,000 elements of 2 tensors has the value that the source has."},
		{"divided", verify.Verdict{Same: true, Weights: weights(ok, 0, 0, 10)}, false, "The same model", page.Good,
			"Every one of 1,000 elements of 2 tensors is identical to the source, bit for bit, but for the embedding, which is divided by the factor that transformers multiplies it by."},
		{"as recorded", verify.Verdict{Same: true, Logits: recording}, true, "The model that was recorded", page.Good, "What jax computed matches within rounding."},
		{"nothing compared", verify.Verdict{Same: true}, false, "The same model", page.Good, ""},
		{"one failure", verify.Verdict{Structure: &ok, Config: ptr(failed(1))}, false, "Not the same model", page.Wrong, "1 failure in the configuration."},
		{"two checks", verify.Verdict{Structure: &three, Config: &ok, Weights: weights(failed(2), 0, 0, 0)}, false, "Not the same model", page.Wrong, "5 failures in the structure and weights."},
		{"three checks", verify.Verdict{Structure: ptr(failed(1)), Config: ptr(failed(1)), Weights: weights(failed(1), 0, 0, 0)}, false, "Not the same model", page.Wrong,
			"3 failures in the structure, configuration and weights."},
		{"a check that was not made", verify.Verdict{Structure: &three, Config: &verify.Section{Skipped: true}}, false, "Not the same model", page.Wrong, "3 failures in the structure."},
		{"a check that fails without findings", verify.Verdict{Structure: &verify.Section{}}, false, "Not the same model", page.Wrong, "1 failure in the structure."},
		{"logits", verify.Verdict{Logits: faulty}, true, "Not the model that was recorded", page.Wrong, "1 failure in the logits."},
		{"as recorded, in a directory that does not load", verify.Verdict{Logits: recording, Config: ptr(failed(1))}, true,
			"The model that was recorded, but not what transformers loads from this directory", page.Wrong, "1 failure in the configuration."},
		{"logits of both", verify.Verdict{Logits: append(faulty, faulty...)}, false, "Not the same model", page.Wrong, "2 failures in the logits."},
		{"a quantised copy", verify.Verdict{Structure: &ok, Quantized: quantised(0)}, false, "Not the same model", page.Wrong, "A quantised copy: int8, as its scheme explains."},
		{"a quantised copy, and more", verify.Verdict{Structure: &three, Quantized: quantised(0)}, false, "Not the same model", page.Wrong, "A quantised copy, with 3 failures in the structure."},
		{"a badly quantised copy", verify.Verdict{Structure: &ok, Quantized: quantised(1)}, false, "Not the same model", page.Wrong, "A quantised copy, with 1 failure in the quantised matrices."},
		{"a badly quantised copy, and more", verify.Verdict{Structure: &three, Config: ptr(failed(1)), Weights: weights(failed(2), 0, 0, 0), Quantized: quantised(2), Logits: faulty}, false, "Not the same model", page.Wrong,
			"A quantised copy, with 9 failures in the structure, configuration, weights, quantised matrices and logits."},
		{"a quantised copy that lacks tensors", verify.Verdict{Structure: &three, Weights: weights(failed(0), 0, 0, 0), Quantized: quantised(0)}, false, "Not the same model", page.Wrong, "A quantised copy, with 3 failures in the structure."},
		{"a quantised copy, and a check that fails without findings", verify.Verdict{Structure: &verify.Section{}, Quantized: quantised(0)}, false, "Not the same model", page.Wrong, "A quantised copy, with 1 failure in the structure."},
		{"missing tensors", verify.Verdict{Structure: &three, Weights: weights(failed(0), 0, 0, 0)}, false, "Not the same model", page.Wrong, "3 failures in the structure."},
		{"a part", verify.Verdict{Structure: &three, Weights: weights(failed(0), 0, 0, 0), Part: "a part of the source: 2 of 5 tensors"}, false, "Not the same model", page.Wrong,
			"A part of the source: 2 of 5 tensors. 3 failures in the structure."},
		{"logits and weights", verify.Verdict{Weights: weights(failed(2), 0, 0, 0), Logits: faulty}, false, "Not the same model", page.Wrong, "3 failures in the weights and logits."},
		{"logits that weights explain", verify.Verdict{Weights: weights(failed(2), 0, 0, 0), Logits: caused}, false, "Not the same model", page.Wrong, "2 failures in the weights."},
		{"nothing proven", verify.Verdict{Unproven: "the recording is not finite", Logits: faulty}, false, "Not proven: the recording is not finite", page.Open, "No check found that the checkpoints differ."},
		{"nothing proven of one", verify.Verdict{Unproven: "the recording is not finite", Logits: faulty}, true, "Not proven: the recording is not finite", page.Open,
			"This does not show that the checkpoint is another model, but neither that it is the one that was recorded."},
	} {
		tt.v.Source, tt.v.Facts = &facts.Subject, &verify.Facts{Source: facts}
		if !tt.alone {
			tt.v.Converted, tt.v.Facts.Converted = &verify.Subject{Path: "y"}, facts
		}
		d := newVerdictPage(&tt.v).document(Origin{})
		if d.Answer != tt.answer || d.Tone != tt.tone || d.Lead != tt.lead {
			t.Errorf("%s: %q, %s, %q", tt.name, d.Answer, d.Tone, d.Lead)
		}
	}
}

func ptr[T any](x T) *T { return &x }

// Checkpoints are equal or differ, and the values of one are finite or not.
func TestOtherHeadlines(t *testing.T) {
	for _, equal := range []bool{false, true} {
		r := &diff.Result{Equal: equal, Summary: diff.Summary{Tensors: 2, Elements: 1000, Equal: 2}}
		answer, tone, lead := "The checkpoints differ", page.Neutral, ""
		if equal {
			answer, tone, lead = "The checkpoints are equal", page.Good, "All 1,000 elements of 2 tensors are equal."
		}
		if d := newDiffPage(r).document(Origin{}); d.Answer != answer || d.Tone != tone || equal && (d.Lead != lead || len(d.Points) > 0) {
			t.Errorf("equal %t: %q, %s, %q, %v", equal, d.Answer, d.Tone, d.Lead, d.Points)
		}
	}
	of := func(name string, values, nan, inf int64) TensorValues {
		s := &stats.Stats{Values: values, Min: -1, Max: 1}
		s.NaN, s.Inf = nan, inf
		if nan+inf > 0 {
			s.Min, s.Max = stats.Number(math.NaN()), stats.Number(math.NaN())
		}
		return TensorValues{Name: name, Shape: []int64{values}, Stats: s}
	}
	for _, tt := range []struct {
		tensors []TensorValues
		answer  string
		tone    page.Tone
		points  string
	}{
		{[]TensorValues{of("a", 8, 0, 0), of("b", 4, 0, 0)}, "All values are finite", page.Good, "[]"},
		{[]TensorValues{of("a", 8, 1, 0), of("b", 4, 0, 0)}, "1 tensor has NaN or infinities", page.Wrong, "[a: 1 NaN among 8 values]"},
		{[]TensorValues{of("a", 8, 0, 2), of("b", 4, 4, 0)}, "2 tensors have NaN or infinities", page.Wrong, "[a: 2 infinities among 8 values b: every value is NaN]"},
	} {
		d := newStatsPage(&Values{Path: "x", Tensors: tt.tensors}).document(Origin{})
		var points []string
		for _, p := range d.Points {
			points = append(points, p.Text)
		}
		if d.Answer != tt.answer || d.Tone != tt.tone || d.Lead != "12 values in 2 tensors." || fmt.Sprint(points) != tt.points {
			t.Errorf("%q, %s, %q, %q", d.Answer, d.Tone, d.Lead, points)
		}
	}
}
