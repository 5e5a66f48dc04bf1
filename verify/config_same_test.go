package verify

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats"
)

// A directory is the same model as itself, and as the copy that griffin converts it to, whatever its config.json says, unless transformers does not load it.
func TestSameAsItself(t *testing.T) {
	if testing.Short() {
		t.Skip("many models")
	}
	unloadable := map[string]bool{} // by both versions of transformers, or not from the files that griffin reads
	for _, what := range []string{"a dtype that torch does not have", "a function that transformers does not have", "no model type", "padding token outside the vocabulary",
		"weights in another file", "a configuration for each version", "fields under other names", "a configuration within it", "a field with the name of a method"} {
		unloadable[what] = true
	}
	set := func(name string, value any) fault {
		return fault{configClass, name, field(name, constant(value)), "", false}
	}
	null := func(name string) fault {
		return fault{configClass, name + " null", func(m *made) []string { m.config[name] = nil; return []string{name} }, "", false}
	}
	others := []fault{null("quantization_config"), null("dtype"), null("attention_dropout"), set("eos_token_id", 9999), set("logits_soft_cap", 31.0), set("dtype", "int8"),
		{configClass, "two dtypes", func(m *made) []string {
			m.config["dtype"], m.config["torch_dtype"] = "float16", "float64"
			return []string{"dtype"}
		}, "", false},
		{configClass, "neither dtype", func(m *made) []string {
			delete(m.config, "dtype")
			delete(m.config, "torch_dtype")
			return []string{"dtype"}
		}, "", false},
	}
	others = append(others, mixedTypes...)
	read := 0
	for _, b := range slices.Concat(bases(t, "bfloat16, torch"), bases(t, "float32, torch"), bases(t, "float16, Orbax manager")) {
		for _, f := range slices.Concat(configFaults, departureFaults, others) {
			m := b.made.clone()
			if f.class != configClass || f.do(m) == nil || m.config == nil {
				continue
			}
			m.keeps = false
			dir := m.write(t)
			v, err := verifyFiles(t, dir, dir, Options{})
			if err != nil {
				continue // the tensors do not have what config.json says
			}
			read++
			if v.Same == unloadable[f.what] {
				t.Errorf("%s: %s: %s: %q", b.name, f.what, v.Verdict, named(v))
			}
			copied := filepath.Join(t.TempDir(), "copy")
			c, err := formats.Open(dir, formats.Options{})
			if err != nil {
				t.Fatal(err)
			}
			result, err := convert.Convert(t.Context(), c, copied, convert.Options{})
			c.Close()
			if err != nil || f.what == "padding token outside the vocabulary" { // which is kept
				continue
			}
			says := ", to which transformers rounds them"
			if stated, ok := m.config["dtype"].(string); slices.ContainsFunc(mixedTypes, func(mixed fault) bool { return mixed.what == f.what }) {
				if says = "config.json says " + stated + says; !ok {
					says = "config.json says none: transformers 5 rounds them"
				}
				if !slices.ContainsFunc(result.Notes, func(n string) bool { return strings.Contains(n, says) }) {
					t.Errorf("%s: %s: nothing says %q: %q", b.name, f.what, says, result.Notes)
				}
			}
			if v, err := verifyFiles(t, dir, copied, Options{}); err != nil || !v.Same {
				t.Errorf("%s: %s: its copy: %v, %v", b.name, f.what, err, v)
			}
		}
	}
	if read < 60 {
		t.Errorf("%d directories were read", read)
	}
	made, err := filepath.Glob("../testdata/*/hf")
	if err != nil {
		t.Fatal(err)
	}
	tuned, err := filepath.Glob("../testdata/finetune/[bfms]*[^t]") // without several.pt
	if err != nil || len(made) < 3 || len(tuned) < 6 {
		t.Fatal(made, tuned, err)
	}
	for _, dir := range append(made, tuned...) {
		if v, err := verifyFiles(t, dir, dir, Options{}); err != nil || !v.Same {
			t.Errorf("%s: %v, %v", dir, v, err)
		}
	}
}

// mixedTypes are tensors of two types beside each of the dtypes that config.json can have.
var mixedTypes = []fault{mixedWith("float16"), mixedWith("bfloat16"), mixedWith("float32"), mixedWith("")}

func mixedWith(dtype string) fault {
	return fault{configClass, "norms of another type, and dtype " + dtype, func(m *made) []string {
		for _, e := range m.tensors {
			if strings.Contains(e.name, "norm") {
				e.cast(otherType(e.dtype))
			}
		}
		delete(m.config, "torch_dtype")
		delete(m.config, "dtype")
		if dtype != "" {
			m.config["dtype"] = dtype
		}
		return []string{"dtype"}
	}, "", false}
}

// The dtype is right if transformers loads the conversion in that in which it loads the source. Another that is that of all weights is said by the verdict.
func TestDTypeOfTheSource(t *testing.T) {
	const weights = "the same model"
	type fields = map[string]any
	for _, tt := range []struct {
		source, copied fields
		mixed          bool
		verdict, note  string
	}{
		{fields{"dtype": "float32"}, fields{"dtype": "float32"}, false, weights, `dtype is "float32", as the source's config.json says, and the weights are bfloat16: transformers loads them, and computes, in float32`},
		{fields{"dtype": "float32"}, fields{"torch_dtype": "float"}, false, weights, `torch_dtype is "float32", as the source's`},
		{fields{"dtype": "float32"}, fields{"dtype": "bfloat16"}, false, weights + ", loaded in bfloat16, not in float32", "transformers 5 loads the conversion in bfloat16, and the source in float32, as its config.json says"},
		{fields{"dtype": "float32"}, fields{}, false, weights + ", loaded in bfloat16, not in float32", "transformers 5 loads the conversion in bfloat16, and the source in float32"},
		{fields{"dtype": "float32"}, fields{"dtype": "float16"}, false, "not " + weights, ""},
		{fields{"dtype": "float32", "torch_dtype": "float16"}, fields{"torch_dtype": "float16"}, false, "not " + weights, ""},
		{fields{"dtype": "bfloat16"}, fields{"dtype": fields{"": "float16"}}, false, "not " + weights, ""},
		{fields{"dtype": "float32", "torch_dtype": "float16"}, fields{"dtype": "float32", "torch_dtype": "float16"}, false, weights, `torch_dtype is "float16", as the source's config.json says: transformers 5.23 and 4.57 take dtype instead`},
		{fields{"dtype": "float32"}, fields{"dtype": "float32"}, true, weights, "tensors are of several types (bfloat16, float32) and keep them; config.json says float32, to which"},
		{fields{"dtype": "float32"}, fields{"dtype": "bfloat16", "torch_dtype": "bfloat16"}, true, "not " + weights, "config.json says bfloat16, to which"},
		{fields{"dtype": "bfloat16"}, fields{"dtype": "float32"}, true, "not " + weights, "config.json says float32, to which"},
		{fields{"dtype": "bfloat16"}, fields{}, true, "not " + weights, "config.json says none: transformers 5 rounds them all to that of the first"},
		{fields{}, fields{}, true, weights, "config.json says none: transformers 5 rounds them all to that of the first"},
	} {
		made := func(f fields) *made {
			m := baseOf(t, "bfloat16, torch").made.clone()
			delete(m.config, "dtype")
			delete(m.config, "torch_dtype")
			if tt.mixed {
				m.get(finalNorm).cast(otherType(m.get(finalNorm).dtype))
			}
			maps.Copy(m.config, f)
			return m
		}
		v, err := verifyFiles(t, made(tt.source).write(t), made(tt.copied).write(t), Options{})
		if err != nil {
			t.Fatal(err)
		}
		said := slices.ContainsFunc(slices.Concat(v.Config.Notes, v.Notes), func(n string) bool { return strings.HasPrefix(n, tt.note) || strings.Contains(n, "; "+tt.note) })
		if v.Verdict != tt.verdict || !said && tt.note != "" || slices.ContainsFunc(v.Config.Notes, func(n string) bool { return tt.mixed && strings.Contains(n, "neither dtype") }) {
			t.Errorf("%v, %v: %s %q %q", tt.source, tt.copied, v.Verdict, v.Config.Notes, v.Notes)
		}
	}
}
