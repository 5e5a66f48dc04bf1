package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

// base is a faithful conversion that faults are injected into.
type base struct {
	t        testing.TB
	name     string
	source   string // path of the original
	dtype    tensor.DType
	settings convert.Settings
	to       convert.Target
	match    string // the runtime that a Hugging Face directory is to match, or ""
	inexact  bool
	made     *made
	layers   map[convert.BlockType][]int
	blocks   int
	config   convert.Config
}

// made is a converted directory in memory.
type made struct {
	*base
	tensors []*entry
	config  map[string]any         // nil of an original
	record  map[string]any         // conversion.json
	keeps   bool                   // the record is written, too
	shard   int64                  // bytes of a shard; 0 for one file
	disturb func(dir string) error // done to the files when they are written
}

// entry is one tensor.
type entry struct {
	name  string
	dtype tensor.DType
	shape []int64
	data  []byte
}

func (e *entry) size() int64 { return e.dtype.Size() }

// row returns the bytes of a part of the leading axis.
func (e *entry) row(i int64) []byte {
	n := int64(len(e.data)) / e.shape[0]
	return e.data[i*n:][:n]
}

func (e *entry) clone() *entry {
	return &entry{e.name, e.dtype, slices.Clone(e.shape), bytes.Clone(e.data)}
}

func (m *made) get(name string) *entry {
	for _, e := range m.tensors {
		if e.name == name {
			return e
		}
	}
	panic("no tensor " + name)
}

func (m *made) remove(name string) {
	m.tensors = slices.DeleteFunc(m.tensors, func(e *entry) bool { return e.name == name })
}

func (m *made) clone() *made {
	c := &made{base: m.base, config: maps.Clone(m.config), record: reread(m.record)}
	for _, e := range m.tensors {
		c.tensors = append(c.tensors, e.clone())
	}
	for key, value := range c.config {
		if inner, ok := value.(map[string]any); ok {
			c.config[key] = maps.Clone(inner)
		}
	}
	return c
}

// in names a tensor of a block.
func in(layer int, tail string) string { return fmt.Sprintf("model.layers.%d.%s", layer, tail) }

func pointer[T any](x T) *T { return &x }

// bases are conversions of the fixtures, from several formats, in all dtypes, kept and changed: all,
// or the one of that name.
func bases(t testing.TB, only string) []*base {
	tiny := convert.Settings{AttentionWindow: pointer(int64(8)), LogitsSoftCap: pointer(30.0), EmbeddingScale: pointer(true)}
	odd := convert.Settings{AttentionWindow: pointer(int64(5)), LogitsSoftCap: pointer(20.0), EmbeddingScale: pointer(true)}
	micro := convert.Settings{AttentionWindow: pointer(int64(6)), LogitsSoftCap: pointer(30.0), EmbeddingScale: pointer(true)}
	all := []*base{
		{name: "bfloat16, torch", source: "tiny-griffin/original/torch.pt", settings: tiny},
		{name: "bfloat16, Orbax", source: "tiny-griffin/original/orbax-ocdbt", settings: tiny},
		{name: "bfloat16 to float32", source: "tiny-griffin/original/torch.pt", settings: tiny, dtype: tensor.F32},
		{name: "float32, torch", source: "odd-griffin/original/torch.pt", settings: odd},
		{name: "float32 to bfloat16, Orbax", source: "odd-griffin/original/orbax-zarr3", settings: odd, dtype: tensor.BF16},
		{name: "float32 to float16", source: "odd-griffin/original/torch.pt", settings: odd, dtype: tensor.F16},
		{name: "float16, Orbax manager", source: "micro-griffin/original/orbax-manager", settings: micro},
		{name: "float16 to float32, Flax", source: "micro-griffin/original/flax-msgpack", settings: micro, dtype: tensor.F32},
		{name: "float16 to bfloat16, legacy torch", source: "micro-griffin/original/torch-legacy.pt", settings: micro, dtype: tensor.BF16},
	}
	if only != "" {
		all = slices.DeleteFunc(all, func(b *base) bool { return b.name != only })
	}
	return prepare(t, all)
}

// prepare converts bases whose sources are fixtures.
func prepare(t testing.TB, all []*base) []*base {
	for _, b := range all {
		b.t = t
		if !filepath.IsAbs(b.source) {
			b.source = filepath.Join("..", "testdata", filepath.FromSlash(b.source))
		}
		b.made = b.convert(t, nil)
	}
	return all
}

// convert converts the source, by a plan that wrong may have changed.
func (b *base) convert(t testing.TB, wrong func(*convert.Plan)) *made {
	t.Helper()
	src, err := formats.Open(b.source, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	model, err := convert.Recognize(src)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(model.SettleHead(t.Context()), model.SettleScale(t.Context())); err != nil {
		t.Fatal(err)
	}
	plan, err := convert.NewPlan(model, convert.PlanOptions{Settings: b.settings, DType: b.dtype, To: b.to, MatchRuntime: b.match, AllowInexact: b.inexact})
	if err != nil {
		t.Fatal(err)
	}
	if wrong != nil {
		wrong(plan)
	}
	m := &made{base: b}
	if plan.HF != nil {
		files, err := convert.HFFiles(plan, convert.FilesOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(files[0].Content, &m.config); err != nil {
			t.Fatal(err)
		}
	}
	b.config, b.blocks, b.layers = plan.Config, len(plan.Config.BlockTypes), map[convert.BlockType][]int{}
	for i, kind := range plan.Config.BlockTypes {
		b.layers[kind] = append(b.layers[kind], i)
	}
	m.execute(t, plan)
	digests := &convert.Digests{}
	for _, e := range m.tensors {
		digests.Outputs = append(digests.Outputs, sha256.Sum256(e.data))
	}
	text, err := convert.NewManifest(plan, "test", "safetensors", digests, nil).JSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &m.record); err != nil {
		t.Fatal(err)
	}
	return m
}

// reread copies what JSON holds.
func reread(x map[string]any) (out map[string]any) {
	if err := json.Unmarshal(toJSON(x), &out); err != nil {
		panic(err)
	}
	return out
}

// execute carries a plan out and reads the result.
func (m *made) execute(t testing.TB, plan *convert.Plan) {
	t.Helper()
	dir := t.TempDir()
	var specs []safetensors.Spec
	for _, d := range plan.Dests {
		specs = append(specs, safetensors.Spec{Name: d.Name, DType: d.DType, Shape: d.Shape})
	}
	layout, err := safetensors.NewLayout(specs, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := layout.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := convert.Execute(context.Background(), plan, w, nil); err != nil {
		t.Fatal(err)
	}
	for i, d := range plan.Dests {
		f, offset, length := w.At(i)
		e := &entry{name: d.Name, dtype: d.DType, shape: d.Shape, data: make([]byte, length)}
		if _, err := f.ReadAt(e.data, offset); err != nil {
			t.Fatal(err)
		}
		m.tensors = append(m.tensors, e)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// write writes the directory.
func (m *made) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	var specs []safetensors.Spec
	for _, e := range m.tensors {
		specs = append(specs, safetensors.Spec{Name: e.name, DType: e.dtype, Shape: e.shape})
	}
	layout, err := safetensors.NewLayout(specs, m.shard, map[string]string{"format": "pt"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := layout.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range m.tensors {
		f, offset, length := w.At(i)
		if length != int64(len(e.data)) {
			t.Fatalf("%s has %d bytes, want %d", e.name, len(e.data), length)
		}
		if _, err := f.WriteAt(e.data, offset); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if layout.Index != nil {
		if err := os.WriteFile(filepath.Join(dir, safetensors.IndexName), layout.Index, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if m.config != nil {
		text, err := json.Marshal(m.config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if m.keeps {
		if err := os.WriteFile(filepath.Join(dir, convert.ManifestName), toJSON(m.record), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if m.disturb != nil {
		if err := m.disturb(dir); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// judge verifies the directory against its source.
func (m *made) judge(t testing.TB) (*Verdict, error) {
	t.Helper()
	return Verify(t.Context(), Options{Source: m.base.source, Converted: m.write(t), Settings: m.base.settings, WeightsOnly: true})
}

// named lists what a verdict finds wrong, by the names of tensors and fields.
func named(v *Verdict) []string {
	names := map[string]bool{}
	for _, f := range findings(v) {
		names[f.Tensor+f.Field] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func findings(v *Verdict) []Finding {
	return slices.Concat(v.Structure.Findings, v.Config.Findings, v.Weights.Findings)
}

// fault is one way in which a conversion can be wrong.
type fault struct {
	class, what string

	// do injects it, and returns what has to be named: all that is wrong, and nothing else. nil where
	// the model has no place for it.
	do func(*made) []string

	say    string // what the verdict has to say of one of them, too
	refuse bool   // the checkpoint does not even open; the error names what do returned
}

// Faithful conversions pass, in one file and in shards, with and without the copy of the head.
func TestFaithfulPass(t *testing.T) {
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
			if !v.Same || len(named(v)) > 0 {
				t.Errorf("%s, %s: %q", b.name, variant.name, named(v))
			}
			if v.Weights.Elements < b.config.Parameters() || len(v.Weights.Converted) != len(m.tensors) || (b.dtype == tensor.Invalid) != (v.Weights.Rounded == 0) {
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
		v, err := Verify(t.Context(), Options{Source: b.source, Converted: hf, Settings: b.settings, WeightsOnly: true})
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
		{bases(t, ""), slices.Concat(weightFaults, layoutFaults, nameFaults, headFaults, configFaults, fileFaults, converterFaults)},
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
		said = said || strings.Contains(finding.String(), f.say)
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
	return fmt.Sprintf(`# Faults that griffin verify is held against

Generated by the tests (go test ./verify -run TestFaultsAreFound -update). Each of these %d faults is injected into
every one of %d faithful conversions that is of its kind and has a place for it, and the verdict has to be that it is not the
same model, naming exactly the tensors and fields that are at fault. The last column is what is said of the first of them, in
the first of the conversions, which are: %s.

| | | fault | conversions | said |
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
