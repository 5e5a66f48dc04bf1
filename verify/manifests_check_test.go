package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/internal/recordcheck"
)

// textsOf returns findings as lines.
func textsOf(all strictjson.List[Finding]) string {
	var lines []string
	for _, f := range all.All() {
		lines = append(lines, f.Field+": "+f.Got+", not "+f.Want)
	}
	return strings.Join(lines, "\n")
}

// Digests that differ are one finding of the record, unless the weights have findings about their tensors.
func TestRecordedDigestsAreCompared(t *testing.T) {
	sum := func(c string) digest.Sum { return digest.Sum{BLAKE3: strings.Repeat(c, 64)} }
	recorded := []manifest.Tensor{{Name: "a", Sum: sum("1")}, {Name: "b", Sum: sum("2")}, {Name: "c", Sum: sum("3")}, {Name: "d"}}
	for _, tt := range []struct {
		name     string
		found    string // tensors and their digests
		source   bool
		findings string // names in findings of the weights, of both sides
		compared string
		other    string
		details  string
	}{
		{"equal", "a1 b2 c3", false, "", "agrees with the digests of 3 tensors", "", ""},
		{"what is not recorded", "a1 d4 e5", false, "", "agrees with the digests of 1 tensor", "", ""},
		{"one other", "a1 b9 c3", false, "", "agrees with the digests of 3 tensors", "other digests of 1 tensor of b", ""},
		{"two others", "c9 a1 b9", false, "", "agrees with the digests of 3 tensors", "other digests of 2 tensors of c", ""},
		{"a finding", "a1 b9 c3", false, "b=x", "agrees with the digests of 2 of 3 tensors (see weights)", "", "changed or damaged after it was written: c records another digest"},
		{"a finding of the other side", "a1 b9 c3", false, "x=b", "agrees with the digests of 3 tensors", "other digests of 1 tensor of b", ""},
		{"a finding of the source", "a1 b9 c3", true, "x=b", "agrees with the digests of 2 of 3 tensors (see weights)", "", "changed or damaged after it was written: c records another digest"},
		{"a finding of one of two sources", "a1 b9 c3", true, "x=e+b", "agrees with the digests of 2 of 3 tensors (see weights)", "", "changed or damaged after it was written: c records another digest"},
		{"a finding of the converted side", "a1 b9 c3", true, "b=x", "agrees with the digests of 3 tensors", "other digests of 1 tensor of b", ""},
		{"a finding of what is right", "a1 b2 c3", false, "b=x", "agrees with the digests of 3 tensors", "", ""},
		{"findings in another order", "a9 b9 c9", false, "c=x a=x b=x", "agrees with the digests of 0 of 3 tensors (see weights)", "", "changed or damaged after it was written: c records another digest"},
	} {
		w := &WeightsSection{details: map[int]string{}}
		var found strictjson.List[TensorDigest]
		for _, x := range strings.Fields(tt.found) {
			found = found.Append(TensorDigest{Name: x[:1], Sum: sum(x[1:])})
		}
		for _, finding := range strings.Fields(tt.findings) {
			made, source, _ := strings.Cut(finding, "=")
			w.Findings = w.Findings.Append(Finding{Kind: WrongWeights, Tensor: made, ConvertedName: made, SourceName: strings.ReplaceAll(source, "+", " + ")})
		}
		if w.Converted = found; tt.source {
			w.Converted, w.Source = w.Source, found
		}
		c, summary := &recordcheck.Check{Record: cases.Record(t, recorded...)}, configSummary{section: &Section{OK: true}}
		if err := compareDigests(c, "c", w, tt.source); err != nil {
			t.Fatal(err)
		}
		summary.addDifferences(c, "c", tt.source)
		other := ""
		if summary.section.Findings.Len() > 0 {
			f := summary.section.Findings.At(0)
			_, rest, _ := strings.Cut(f.Detail, "conversion; ")
			_, rest, _ = strings.Cut(rest, " of ")
			name, _, _ := strings.Cut(rest, " ")
			other = f.Got + " of " + name
		}
		said := map[bool][]string{true: {"c disagrees: tensors"}}[tt.other != ""]
		if c.Agreement() != tt.compared || other != tt.other || w.details[0] != tt.details || !slices.Equal(summary.parts, said) || summary.section.OK != (tt.other == "") {
			t.Errorf("%s: %s; %q; %q; %q", tt.name, c.Agreement(), other, w.details[0], summary.parts)
		}
	}
}

// A corrupt record is a finding, one that is too large is not, and one that cannot be read is an error.
func TestRecordsThatCannotBeRead(t *testing.T) {
	for _, tt := range []struct {
		err         error
		part        string
		wrong       bool
		failed, add bool
	}{
		{nil, "", false, false, false},
		{fs.ErrPermission, "", false, true, false},
		{&tensor.FormatError{Reason: tensor.TooLarge, Problem: "has many bytes"}, "conversion.json was not compared: it has many bytes", false, false, false},
		{fmt.Errorf("x: %w", &tensor.FormatError{Problem: "is no JSON"}), "conversion.json is corrupt", true, false, true},
	} {
		c := &configSummary{section: &Section{OK: true, Summary: "before"}}
		if err := c.check(record{err: tt.err}, false); tt.failed != (err != nil) || tt.failed && !errors.Is(err, tt.err) {
			t.Errorf("%v: %v", tt.err, err)
		}
		c.finish()
		want := strings.TrimSuffix("before; "+tt.part, "; ")
		if c.section.Summary != want || c.section.OK == tt.wrong || (c.section.Findings.Len() == 1) != tt.add || tt.add && c.section.Findings.At(0).Detail != "is no JSON" {
			t.Errorf("%v: %+v", tt.err, c.section)
		}
	}
	// What was skipped, and failed before.
	for _, tt := range []struct {
		before  Section
		parts   []bool // wrong
		ok      bool
		skipped bool
		summary string
	}{
		{Section{OK: true, Skipped: true, Summary: "skipped"}, nil, true, true, "skipped"}, {Section{OK: true, Skipped: true, Summary: "skipped"}, []bool{false}, true, false, "p0"},
		{Section{OK: true, Skipped: true, Summary: "skipped"}, []bool{true, false}, false, false, "p0; p1"}, {Section{Summary: "wrong"}, []bool{false}, false, false, "wrong; p0"},
		{Section{OK: true, Skipped: true, noConfig: true, Summary: "none"}, []bool{false}, true, true, "none; p0"}, {Section{OK: true, Skipped: true, noConfig: true, Summary: "none"}, []bool{true}, false, false, "none; p0"},
	} {
		c := &configSummary{section: &tt.before}
		for i, wrong := range tt.parts {
			c.add(fmt.Sprint("p", i), wrong)
		}
		if c.finish(); tt.before.OK != tt.ok || tt.before.Skipped != tt.skipped || tt.before.Summary != tt.summary {
			t.Errorf("%v: %+v", tt.parts, tt.before)
		}
	}
}

// modelAt returns the model at a path.
func modelAt(t *testing.T, path string) *model.Model {
	t.Helper()
	c, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m, err := model.Recognize(c, model.Options{KeepExtra: true})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A record is compared under the names of the checkpoint, where those of all tensors lack model.
func TestRemovedPrefix(t *testing.T) {
	if got := removedPrefix(nil); got != "" {
		t.Errorf("no model was found, and %s is removed", got)
	}
	for want, change := range map[string]func(name string) string{
		"":       func(name string) string { return name },
		"model.": func(name string) string { return strings.TrimPrefix(name, "model.") },
	} {
		m := baseOf(t, "float32, torch").made.clone()
		m.rename(change)
		if got := removedPrefix(modelAt(t, m.write(t))); got != want {
			t.Errorf("%q is removed, not %q", got, want)
		}
	}
	if got := removedPrefix(modelAt(t, cases.Testdata(t)+"/odd-griffin/original/torch.pt")); got != "" {
		t.Errorf("%q is removed from names of an original", got)
	}
}
