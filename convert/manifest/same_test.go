package manifest_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// sample returns a manifest of two tensors that has every part. Each call returns a new one.
func sample() *manifest.Manifest {
	sum := digest.Sum{BLAKE3: strings.Repeat("a", 64)}
	return &manifest.Manifest{
		Head: manifest.Head{
			Griffin: "v1", Layout: "huggingface", Format: "safetensors", DType: "keep",
			Source:      manifest.Source{Name: "m.pt", Step: "7", Format: "torch", Layout: "torch", Prefix: "p.", Files: []manifest.FileVersion{{Name: "a", Version: "1"}, {Name: "b", Version: "2"}}},
			Settings:    &manifest.Settings{Preset: "2b", AttentionWindow: 8, LogitsSoftCap: 30, EmbeddingScale: true},
			HuggingFace: &manifest.HuggingFace{MatchRuntime: "transformers5", AttentionWindowSize: 9, LogitsSoftCap: 30, EmbeddingDividedBy: 2, TieWordEmbeddings: true},
			Adapter:     &manifest.Adapter{Name: "lora", Files: []manifest.File{{Name: "config", Sum: sum}, {Name: "weights", Sum: sum}}},
		},
		Tensors: []manifest.Tensor{
			{Name: "x", DType: "float32", Shape: []int64{2, 3}, Rule: "copy", From: []manifest.Part{{Name: "y", DType: "float16", Shape: []int64{6}}, {Name: "z", DType: "float16", Shape: []int64{1}}}},
			{Name: "w", DType: "float32", Shape: []int64{4}, Rule: "scale", DividedBy: 2, From: []manifest.Part{{Name: "v", DType: "float32", Shape: []int64{4}}}},
		},
	}
}

// Another conversion differs in each of what decides its output, and only in that.
func TestDiffers(t *testing.T) {
	const (
		version = "it was made from another version of the source"
		tensorX = `its tensor x is another`
		config  = "its configuration expresses the model differently"
		adapter = "another adapter, or none, was merged into it"
	)
	otherSum := digest.Sum{BLAKE3: strings.Repeat("b", 64)}
	for _, tt := range []struct {
		name string
		edit func(m *manifest.Manifest)
		want string
	}{
		{"nothing", func(m *manifest.Manifest) {}, ""},
		{"what is not compared", func(m *manifest.Manifest) {
			m.Griffin, m.Origin, m.HuggingFace.Inexact, m.Tensors[0].Sum, m.Tensors[0].From[0].Sum = "v2", &m.Source, []string{"x"}, otherSum, otherSum
		}, ""},
		{"a source's name", func(m *manifest.Manifest) { m.Source.Name = "n.pt" }, "it was made from another source, m.pt (step 7, torch)"},
		{"a source's format", func(m *manifest.Manifest) { m.Source.Format = "zip" }, "it was made from another source, m.pt (step 7, torch)"},
		{"a source's layout", func(m *manifest.Manifest) { m.Source.Layout = "flax" }, "it was made from another source, m.pt (step 7, torch)"},
		{"a source's prefix", func(m *manifest.Manifest) { m.Source.Prefix = "" }, "it was made from another source, m.pt (step 7, torch)"},
		{"a source's address", func(m *manifest.Manifest) { m.Source.Address = "https://h/m.pt" }, "it was made from another source, m.pt (step 7, torch)"},
		{"a source's step", func(m *manifest.Manifest) { m.Source.Step = "8" }, "it was made from another source, m.pt (step 7, torch)"},
		{"a step that is not recorded", func(m *manifest.Manifest) { m.Source.Step = "" }, ""},
		{"a commit", func(m *manifest.Manifest) { m.Source.Commit = "c" }, version},
		{"a version of a file", func(m *manifest.Manifest) { m.Source.Files[1].Version = "3" }, version},
		{"files that were not read", func(m *manifest.Manifest) { m.Source.Files = []manifest.FileVersion{{Name: "c", Version: "3"}} }, ""},
		{"a layout", func(m *manifest.Manifest) { m.Layout = "torch" }, "its layout is huggingface, not torch"},
		{"a format", func(m *manifest.Manifest) { m.Format = "orbax" }, "its format is safetensors, not orbax"},
		{"a dtype", func(m *manifest.Manifest) { m.DType = "float32" }, "its dtype is keep, not float32"},
		{"no settings", func(m *manifest.Manifest) { m.Settings = nil }, "its settings are others"},
		{"a setting", func(m *manifest.Manifest) { m.Settings.AttentionWindow++ }, "its settings are others"},
		{"nothing of Hugging Face", func(m *manifest.Manifest) { m.HuggingFace = nil }, config},
		{"a runtime", func(m *manifest.Manifest) { m.HuggingFace.MatchRuntime = "" }, config},
		{"a window", func(m *manifest.Manifest) { m.HuggingFace.AttentionWindowSize++ }, config},
		{"a soft cap", func(m *manifest.Manifest) { m.HuggingFace.LogitsSoftCap++ }, config},
		{"a divisor of the embedding", func(m *manifest.Manifest) { m.HuggingFace.EmbeddingDividedBy++ }, config},
		{"a separate head", func(m *manifest.Manifest) { m.HuggingFace.TieWordEmbeddings = false }, config},
		{"no adapter", func(m *manifest.Manifest) { m.Adapter = nil }, adapter},
		{"fewer files of the adapter", func(m *manifest.Manifest) { m.Adapter.Files = m.Adapter.Files[:1] }, adapter},
		{"a file of the adapter", func(m *manifest.Manifest) { m.Adapter.Files[1].Name = "other" }, adapter},
		{"the content of the adapter", func(m *manifest.Manifest) { m.Adapter.Files[1].Sum = otherSum }, adapter},
		{"an unknown content of the adapter", func(m *manifest.Manifest) { m.Adapter.Files[1].Sum = digest.Sum{SHA256: strings.Repeat("a", 64)} }, adapter},
		{"a tensor's name", func(m *manifest.Manifest) { m.Tensors[0].Name = "other" }, tensorX},
		{"a tensor's dtype", func(m *manifest.Manifest) { m.Tensors[0].DType = "float16" }, tensorX},
		{"a tensor's shape", func(m *manifest.Manifest) { m.Tensors[0].Shape = []int64{3, 2} }, tensorX},
		{"a rule", func(m *manifest.Manifest) { m.Tensors[0].Rule = "transpose" }, tensorX},
		{"a divisor", func(m *manifest.Manifest) { m.Tensors[0].DividedBy = 3 }, tensorX},
		{"the name of a part", func(m *manifest.Manifest) { m.Tensors[0].From[1].Name = "other" }, tensorX},
		{"the dtype of a part", func(m *manifest.Manifest) { m.Tensors[0].From[1].DType = "float32" }, tensorX},
		{"the shape of a part", func(m *manifest.Manifest) { m.Tensors[0].From[1].Shape = []int64{2} }, tensorX},
		{"the second tensor", func(m *manifest.Manifest) { m.Tensors[1].Rule = "copy" }, "its tensor w is another"},
		{"a tensor less", func(m *manifest.Manifest) { m.Tensors = m.Tensors[:1] }, "its tensor w is another"},
		{"a tensor more", func(m *manifest.Manifest) { m.Tensors = append(m.Tensors, manifest.Tensor{Name: "more"}) }, "its tensor more is another"},
	} {
		content, err := sample().JSON()
		if err != nil {
			t.Fatal(err)
		}
		r, err := manifest.Parse(content)
		if err != nil {
			t.Fatal(err)
		}
		other := sample()
		tt.edit(other)
		got, err := r.Differs(&other.Head, len(other.Tensors), func(i int) *manifest.Tensor { return &other.Tensors[i] })
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, want %q; %v", tt.name, got, tt.want, err)
		}
	}
	// What neither has is the same, and what only the recorded conversion lacks is not.
	for _, none := range []bool{true, false} {
		without := sample()
		without.Settings, without.HuggingFace, without.Adapter, without.Source.Address = nil, nil, nil, "https://h/m.pt"
		content, err := without.JSON()
		if err != nil {
			t.Fatal(err)
		}
		r, err := manifest.Parse(content)
		if err != nil {
			t.Fatal(err)
		}
		other := sample()
		if none {
			other = without
		}
		got, err := r.Differs(&other.Head, len(other.Tensors), func(i int) *manifest.Tensor { return &other.Tensors[i] })
		if want := map[bool]string{true: "", false: "it was made from another source, https://h/m.pt"}[none]; err != nil || got != want {
			t.Errorf("without what is optional: %q, want %q; %v", got, want, err)
		}
		other.Source.Address = "https://h/m.pt"
		if got, err := r.Differs(&other.Head, len(other.Tensors), func(i int) *manifest.Tensor { return &other.Tensors[i] }); err != nil || (got == "") != none {
			t.Errorf("without settings: %q, %v", got, err)
		}
	}
}

// A config.json states the settings of a model as they are if none of its numbers is another than the model's.
func TestPlain(t *testing.T) {
	for _, tt := range []struct {
		h    manifest.HuggingFace
		want bool
	}{
		{manifest.HuggingFace{AttentionWindowSize: 8, LogitsSoftCap: 30}, true},
		{manifest.HuggingFace{MatchRuntime: "transformers5", LogitsSoftCap: 30}, false},
		{manifest.HuggingFace{LogitsSoftCap: 1 << 21}, false},
		{manifest.HuggingFace{LogitsSoftCap: 30, EmbeddingDividedBy: 2}, false},
	} {
		if got := tt.h.Plain(30); got != tt.want {
			t.Errorf("%+v: %t", tt.h, got)
		}
	}
}

// The parts at the root are those of the origin if there is one. Without, they are the source's, whose elements were rounded by a division or a cast.
func TestRootParts(t *testing.T) {
	of := func(dtype string, n int) (all []manifest.Part) {
		for i := range n {
			all = append(all, manifest.Part{Name: fmt.Sprint(i), DType: dtype, Shape: []int64{}})
		}
		return all
	}
	origin := &manifest.Source{Name: "origin"}
	for _, tt := range []struct {
		name    string
		origin  *manifest.Source
		tensor  manifest.Tensor
		parts   int
		rounded bool
	}{
		{"copied", nil, manifest.Tensor{DType: "float32", From: of("float32", 2)}, 2, false},
		{"cast", nil, manifest.Tensor{DType: "bfloat16", From: of("float32", 2)}, 2, true},
		{"divided", nil, manifest.Tensor{DType: "float32", DividedBy: 2, From: of("float32", 1)}, 1, true},
		{"of an origin", origin, manifest.Tensor{DType: "float32", DividedBy: 2, From: of("float32", 1), Origin: of("float16", 3)}, 3, false},
		{"of an unknown origin", origin, manifest.Tensor{DType: "float32", From: of("float32", 1)}, 0, false},
		{"of many", nil, manifest.Tensor{DType: "float32", From: of("float32", 16)}, 16, false},
		{"of too many", nil, manifest.Tensor{DType: "float32", From: of("float32", 17)}, 0, false},
		{"of an origin of too many", origin, manifest.Tensor{DType: "float32", From: of("float32", 1), Origin: of("float32", 17)}, 0, false},
	} {
		h := &manifest.Head{Source: manifest.Source{Name: "source"}, Origin: tt.origin}
		if want := map[bool]string{true: "source", false: "origin"}[tt.origin == nil]; h.Root().Name != want {
			t.Errorf("%s: the root is %s", tt.name, h.Root().Name)
		}
		parts := h.RootParts(&tt.tensor)
		if len(parts) != tt.parts {
			t.Errorf("%s: %d parts, want %d", tt.name, len(parts), tt.parts)
		}
		for _, p := range parts {
			if p.Rounded != tt.rounded {
				t.Errorf("%s: %+v", tt.name, p)
			}
		}
		if len(tt.tensor.From) > 0 && tt.tensor.From[0].Rounded {
			t.Errorf("%s: the tensor was changed", tt.name)
		}
	}
}

// A scalar has an empty shape, which is not null in JSON.
func TestPartOf(t *testing.T) {
	for _, tt := range []struct{ shape, want []int64 }{{nil, []int64{}}, {[]int64{}, []int64{}}, {[]int64{2, 3}, []int64{2, 3}}} {
		want := manifest.Part{Name: "a", DType: "bfloat16", Shape: tt.want}
		if got := manifest.PartOf(&tensor.Tensor{Name: "a", DType: tensor.BF16, Shape: tt.shape}); !reflect.DeepEqual(got, want) {
			t.Errorf("%#v, want %#v", got, want)
		}
	}
}
