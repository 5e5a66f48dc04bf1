package verify

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

// judge verifies the directory against its source.
func (m *made) judge(t testing.TB) (*Verdict, error) {
	t.Helper()
	return verifyFiles(t, m.base.source, m.write(t), Options{Settings: m.base.settings})
}

// named lists what a verdict finds wrong, by the names of tensors, both of those that were renamed, and of fields.
func named(v *Verdict) []string {
	names := map[string]bool{}
	for _, f := range findings(v) {
		names[f.Tensor+f.Field] = true
		if f.Kind == RenamedTensor {
			names[f.ConvertedName] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func findings(v *Verdict) []Finding {
	return slices.Concat(v.Structure.Findings.All(), v.Config.Findings.All(), v.Weights.Findings.All())
}

// fault is one way in which a conversion can be wrong.
type fault struct {
	class, what string

	// do injects it, and returns what has to be named: all that is wrong, and nothing else. nil where
	// the model has no place for it.
	do func(*made) []string

	say    string // what the verdict also has to say of one of them; alternatives are separated by |
	refuse bool   // the checkpoint does not even open; the error names what do returned
}

// Faithful conversions pass, in one file and in shards, with and without the copy of the head. That names lack model. is noted.
func TestFaithfulPass(t *testing.T) {
	const rootless = "without model., as RecurrentGemmaModel saves it"
	lacks := func(note string) bool { return strings.HasPrefix(note, "the names of the tensors lack model.") }
	for _, b := range bases(t, "") {
		for _, variant := range []struct {
			name string
			do   func(*made)
		}{
			{"as converted", func(*made) {}},
			{"shards", func(m *made) { m.shard = 9000 }},
			{"a copy of the head", func(m *made) {
				head := m.get(embeddingName).clone()
				head.name = headName
				m.tensors = append(m.tensors, head)
			}},
			{"an untied copy of the head", func(m *made) {
				head := m.get(embeddingName).clone()
				head.name = headName
				m.tensors = append(m.tensors, head)
				m.config["tie_word_embeddings"] = false
			}},
			{rootless, func(m *made) {
				m.rename(func(name string) string { return strings.TrimPrefix(name, "model.") })
			}},
			{"as transformers 5 writes config.json", func(m *made) {
				for _, name := range []string{"rope_theta", "partial_rotary_factor", "torch_dtype"} {
					delete(m.config, name)
				}
			}},
			{"as transformers 4 writes config.json", func(m *made) {
				for _, name := range []string{"rope_parameters", "dtype", "head_dim"} {
					delete(m.config, name)
				}
			}},
			{"what transformers assumes left out", func(m *made) {
				for _, name := range []string{"rope_parameters", "rope_theta", "partial_rotary_factor", "dtype", "torch_dtype", "head_dim", "rms_norm_eps",
					"hidden_activation", "attention_bias", "attention_dropout", "conv1d_width", "tie_word_embeddings", "architectures"} {
					delete(m.config, name)
				}
			}},
		} {
			m := b.made.clone()
			variant.do(m)
			v, err := m.judge(t)
			if err != nil {
				t.Errorf("%s, %s: %v", b.name, variant.name, err)
				continue
			}
			if !v.Same || len(named(v)) > 0 || slices.ContainsFunc(v.Notes, lacks) != (variant.name == rootless) {
				t.Errorf("%s, %s: %q, notes %q", b.name, variant.name, named(v), v.Notes)
			}
			if v.Weights.Elements < model.Griffin.Parameters(&b.config) || v.Weights.Converted.Len() != len(m.tensors) || (b.dtype == tensor.Invalid) != (v.Weights.Rounded == 0) {
				t.Errorf("%s, %s: %d tensors, %d elements, %d rounded", b.name, variant.name, v.Weights.Tensors, v.Weights.Elements, v.Weights.Rounded)
			}
		}
	}
}

// The published conversions by transformers itself are the same models.
func TestTransformersConversionsPass(t *testing.T) {
	for _, b := range bases(t, "") {
		if b.dtype != tensor.Invalid {
			continue
		}
		hf := filepath.Join(b.source, "..", "..", "hf")
		v, err := verifyFiles(t, b.source, hf, Options{Settings: b.settings})
		if err != nil || !v.Same {
			t.Errorf("%s: %+v, %v", b.name, v, err)
		}
	}
}

const minFaults = 60

// Every fault is found in every conversion that has a place for it, and named; what is not at fault
// is not.
func TestFaultsAreFound(t *testing.T) {
	seen := map[string]bool{}
	var rows, names []string
	faults := 0
	for _, suite := range []struct {
		bases  []*base
		faults []fault
	}{
		{bases(t, ""), slices.Concat(weightFaults, layoutFaults, nameFaults, headFaults, configFaults, departureFaults, fileFaults, converterFaults, fieldFaults)},
		{dividedBases(t), dividedFaults},
		{matchedBases(t), matchedFaults},
		{backBases(t), slices.Concat(backFaults, backConverterFaults)},
	} {
		faults += len(suite.faults)
		for _, b := range suite.bases {
			names = append(names, b.name)
		}
		for _, f := range suite.faults {
			if seen[f.class+f.what] {
				t.Errorf("two faults %q", f.what)
			}
			seen[f.class+f.what] = true
			rows = append(rows, fmt.Sprintf("| %d | %s", len(rows)+1, f.injectAll(t, suite.bases)))
		}
	}
	if faults < minFaults {
		t.Errorf("%d faults, want at least %d", faults, minFaults)
	}
	document(t, "FAULTS.md", faultsHead(faults, names)+strings.Join(rows, "\n")+"\n")
}

// injectAll injects a fault into every conversion that has a place for it.
func (f *fault) injectAll(t *testing.T, all []*base) (row string) {
	example, injected := "", 0
	for _, b := range all {
		m := b.made.clone()
		want := f.do(m)
		if want == nil {
			continue
		}
		injected++
		line := f.check(t, b, m, want)
		if example == "" {
			example = line
		}
	}
	if injected == 0 {
		t.Errorf("%s: nowhere injected", f.what)
	}
	return fmt.Sprintf("%s | %s | %d | %s |", f.class, f.what, injected, strings.ReplaceAll(example, "|", "\\|"))
}

// check verifies a faulty conversion and returns what is said of the first thing that is wrong.
func (f *fault) check(t *testing.T, b *base, m *made, want []string) string {
	t.Helper()
	v, err := m.judge(t)
	if f.refuse {
		var bad *tensor.FormatError
		if err == nil || !errors.As(err, &bad) || !strings.Contains(err.Error(), want[0]) || !strings.Contains(err.Error(), f.say) {
			t.Errorf("%s: %s: got %v, which should name %s", b.name, f.what, err, want[0])
			return ""
		}
		text := bad.Error()
		return "refused: " + text[strings.LastIndex(text, string(filepath.Separator))+1:]
	}
	if err != nil {
		t.Errorf("%s: %s: %v", b.name, f.what, err)
		return ""
	}
	slices.Sort(want)
	got := named(v)
	if v.Same || !slices.Equal(got, slices.Compact(want)) {
		t.Errorf("%s: %s: same %t, named %q, want %q", b.name, f.what, v.Same, got, want)
		return ""
	}
	said := false
	for _, finding := range findings(v) {
		for _, say := range strings.Split(f.say, "|") {
			said = said || strings.Contains(finding.String(), say)
		}
	}
	if !said {
		t.Errorf("%s: %s: nothing says %q: %v", b.name, f.what, f.say, findings(v))
	}
	text := findings(v)[0]
	line := text.String()
	if n := len(findings(v)) - 1; n > 0 {
		line += fmt.Sprintf(" (and %d more)", n)
	}
	return line
}

func faultsHead(n int, names []string) string {
	return fmt.Sprintf(`# Faults that griffin verify finds

This page is generated by the tests (go test ./verify -run TestFaultsAreFound -update). Each of these %d faults is injected
into each of %d correct conversions that it applies to. The test requires the verdict "not the same model", and that exactly
the wrong tensors and fields are named. The last column is the message about the first of them, in the first conversion.

The conversions are: %s.

| | check | fault | conversions | message |
|---|---|---|---|---|
`, n, len(names), strings.Join(names, "; "))
}

// document compares a generated document, or with -update writes it.
func document(t *testing.T, name, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != text {
		t.Errorf("%s is not what the tests find; run them with -update and look at the difference", name)
	}
}
