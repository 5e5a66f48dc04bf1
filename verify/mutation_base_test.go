package verify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/transfer"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// base is a faithful conversion that faults are injected into.
type base struct {
	t        testing.TB
	name     string
	source   string // path of the original
	dtype    tensor.DType
	settings model.Settings
	to       convert.Target
	match    convert.Runtimes // that a Hugging Face directory is to match
	inexact  bool
	made     *made
	layers   map[model.BlockType][]int
	blocks   int
	config   model.Config
}

// made is a converted directory in memory.
type made struct {
	*base
	tensors []*entry
	config  map[string]any         // nil of an original
	record  map[string]any         // conversion.json
	keeps   bool                   // the record is written, too
	shard   int64                  // bytes of a shard; 0 for one file
	format  string                 // that the file states; "" for "pt"
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
	tiny := model.Settings{AttentionWindow: pointer(int64(8)), LogitsSoftCap: pointer(30.0), EmbeddingScale: pointer(true)}
	odd := model.Settings{AttentionWindow: pointer(int64(5)), LogitsSoftCap: pointer(20.0), EmbeddingScale: pointer(true)}
	micro := model.Settings{AttentionWindow: pointer(int64(6)), LogitsSoftCap: pointer(30.0), EmbeddingScale: pointer(true)}
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
	found, err := model.Open(t.Context(), src, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := convert.NewPlan(found, convert.PlanOptions{Settings: b.settings, DType: b.dtype, To: b.to, MatchRuntime: b.match, AllowInexact: b.inexact})
	if err != nil {
		t.Fatal(err)
	}
	m := &made{base: b}
	record := m.describe(t, src)
	if wrong != nil {
		wrong(plan)
	}
	b.config, b.blocks, b.layers = plan.Config, len(plan.Config.BlockTypes), map[model.BlockType][]int{}
	for i, kind := range plan.Config.BlockTypes {
		b.layers[kind] = append(b.layers[kind], i)
	}
	m.execute(t, plan)
	record.Tensors = nil
	for i, e := range m.tensors {
		record.Tensors = append(record.Tensors, manifest.Tensor{Name: e.name, DType: e.dtype.String(), Shape: e.shape, Sum: digest.Of([]digest.Algorithms{digest.BLAKE3, digest.SHA256}[i%2], e.data), Rule: plan.Dests[i].Rule})
	}
	text, err := record.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &m.record); err != nil {
		t.Fatal(err)
	}
	return m
}

// describe converts the source by a right plan. It reads the config.json, if there is one, and returns the conversion.json.
func (m *made) describe(t testing.TB, src *tensor.Checkpoint) *manifest.Manifest {
	t.Helper()
	b := m.base
	dst := filepath.Join(t.TempDir(), "converted")
	_, err := convert.Convert(t.Context(), src, dst, convert.Options{Settings: b.settings, DType: b.dtype, To: b.to, MatchRuntime: b.match, AllowInexact: b.inexact})
	if err != nil {
		t.Fatal(err)
	}
	read, _, err := manifest.Read(storage.Local(filepath.Dir(dst)), filepath.Base(dst))
	if err != nil {
		t.Fatal(err)
	}
	record := &manifest.Manifest{Head: read.Head, Files: read.Files}
	if b.to == convert.ToHF {
		text, err := os.ReadFile(filepath.Join(dst, "config.json"))
		if err == nil {
			err = json.Unmarshal(text, &m.config)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return record
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
	var specs []tensor.Spec
	for _, d := range plan.Dests {
		specs = append(specs, tensor.Spec{Name: d.Name, DType: d.DType, Shape: d.Shape})
	}
	layout, err := safetensors.NewLayout(specs, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := layout.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transfer.Execute(context.Background(), plan.List, w, transfer.Options{}); err != nil {
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
	var specs []tensor.Spec
	for _, e := range m.tensors {
		specs = append(specs, tensor.Spec{Name: e.name, DType: e.dtype, Shape: e.shape})
	}
	layout, err := safetensors.NewLayout(specs, m.shard, map[string]string{"format": cmp.Or(m.format, "pt")})
	if err != nil {
		t.Fatal(err)
	}
	w, err := layout.Create(dir, nil)
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
		config := maps.Clone(m.config)
		for _, name := range hfconfig.FloatFields { // as Python writes them
			if x, ok := config[name].(float64); ok {
				config[name] = manifest.Float(x)
			}
		}
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if m.keeps {
		if err := os.WriteFile(filepath.Join(dir, manifest.Name), toJSON(m.record), 0o666); err != nil {
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

// headName is the name of the output head in the Hugging Face layout.
const headName = "lm_head.weight"

// setDigest changes the digest of a tensor in a conversion.json.
func setDigest(entry, to any) {
	for _, name := range digest.Names() {
		if e := entry.(map[string]any); e[name] != nil {
			e[name] = to
		}
	}
}
