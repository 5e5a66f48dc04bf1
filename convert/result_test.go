package convert

import (
	"cmp"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// The tensors of a result are described as conversion.json and the files have them, in JSON too.
func TestResultTensors(t *testing.T) {
	source, err := formats.Open("../testdata/odd-griffin/original/torch.pt", formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	dst := filepath.Join(t.TempDir(), "hf")
	o := Options{To: ToHF, MaxShardSize: 20000, Digest: digest.SHA256, Settings: model.Settings{AttentionWindow: ptr(int64(5)), LogitsSoftCap: ptr(20.0), EmbeddingScale: ptr(true)}}
	r, err := Convert(t.Context(), source, dst, o)
	if err != nil {
		t.Fatal(err)
	}
	made, err := formats.Open(dst, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	check := func(r *Result, dst string, files bool) {
		t.Helper()
		record, _, err := readManifest(dst)
		if err != nil || record == nil {
			t.Fatal(err)
		}
		var all []ResultTensor
		for i := range r.Tensors.Len() {
			all = append(all, r.Tensors.At(i))
		}
		if len(all) != len(record.Tensors) {
			t.Fatalf("%d tensors, %d recorded", len(all), len(record.Tensors))
		}
		inFiles := map[string]bool{}
		for i, want := range record.Tensors {
			got := all[i]
			var from []string
			for _, p := range want.From {
				from = append(from, p.Name)
			}
			bytes := (&tensor.Tensor{DType: tensor.F32, Shape: want.Shape}).Bytes()
			if got.Name != want.Name || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || got.Bytes != bytes || got.Rule != want.Rule || !slices.Equal(got.From, from) || got.Sum != want.Sum || got.Sum.Algorithms() == 0 {
				t.Errorf("%+v, recorded %+v", got, want)
			}
			inFiles[got.File] = true
			if files && !slices.Contains(resultFiles(r), got.File) {
				t.Errorf("%s is in %q, of %q", got.Name, got.File, resultFiles(r))
			}
		}
		if files && len(inFiles) < 3 {
			t.Errorf("all are in %v", inFiles)
		}
		text, err := json.Marshal(r.Tensors)
		var read []ResultTensor
		if err == nil {
			err = json.Unmarshal(text, &read)
		}
		if err != nil || !reflect.DeepEqual(read, all) {
			t.Errorf("JSON has %d tensors, %v", len(read), err)
		}
	}
	check(r, dst, true)
	// A tensor of several has all of their names, and only the digests that are asked for are in a result.
	back := filepath.Join(t.TempDir(), "flax")
	if r, err = Convert(t.Context(), made, back, Options{To: ToOrbax, Digest: digest.BLAKE3}); err != nil {
		t.Fatal(err)
	}
	check(r, back, false)
	several := false
	for i := range r.Tensors.Len() {
		x := r.Tensors.At(i)
		several = several || len(x.From) == 2
		if x.SHA256 != "" || x.BLAKE3 == "" {
			t.Errorf("%s has the digests %+v", x.Name, x.Sum)
		}
	}
	if !several {
		t.Error("no tensor is made of two")
	}
	if text, err := json.Marshal(strictjson.List[ResultTensor]{}); err != nil || string(text) != "[]" {
		t.Errorf("no tensors: %s, %v", text, err)
	}
}

func resultFiles(r *Result) (names []string) {
	for _, f := range r.Files {
		names = append(names, f.Name)
	}
	return names
}

// A proof notes the tensors that hold NaN or infinities, which it has seen.
func TestNotFiniteIsNoted(t *testing.T) {
	c := formConfig(16, model.Recurrent)
	for n, want := range []string{"", "NaN or infinities in 1 tensor of the source, and so in the conversion: embedder.input_embedding", "NaN or infinities in 2 tensors of the source, and so in the conversion: embedder.input_embedding, final_norm.scale"} {
		var tensors []*tensor.Tensor
		for _, x := range modelTensors(c, model.Torch, model.Griffin.Roots[model.Torch]) {
			x.DType = tensor.BF16
			data := make([]byte, x.Bytes())
			if x.Name == "embedder.input_embedding" && n > 0 || x.Name == "final_norm.scale" && n > 1 {
				data[2], data[3] = 0x80, 0x7f // an infinity
			}
			tensors = append(tensors, withData(x, data))
		}
		r, err := Convert(t.Context(), checkpoint(t, tensors...), filepath.Join(t.TempDir(), "hf"), Options{Verify: true, Settings: model.Settings{LogitsSoftCap: ptr(30.0), EmbeddingScale: ptr(true)}})
		if err != nil {
			t.Fatal(err)
		}
		noted := slices.DeleteFunc(slices.Clone(r.Notes), func(note string) bool { return !strings.HasPrefix(note, "NaN or infinities") })
		if strings.Join(noted, "; ") != want {
			t.Errorf("%q, want %q", noted, want)
		}
	}
}

// All dtypes of a destination are named, that of most elements first, if it has several.
func TestResultDTypes(t *testing.T) {
	c := formConfig(16, model.Recurrent)
	for several, want := range map[bool][]string{false: nil, true: {"float32", "bfloat16"}} {
		var tensors []*tensor.Tensor
		for _, x := range modelTensors(c, model.Torch, model.Griffin.Roots[model.Torch]) {
			x.DType = tensor.F32
			if several && strings.HasSuffix(x.Name, "scale") {
				x.DType = tensor.BF16
			}
			tensors = append(tensors, withData(x, make([]byte, x.Bytes())))
		}
		r, err := Convert(t.Context(), checkpoint(t, tensors...), filepath.Join(t.TempDir(), "hf"), Options{DryRun: true, Settings: model.Settings{LogitsSoftCap: ptr(30.0), EmbeddingScale: ptr(true)}})
		if err != nil || r.DType != "float32" || !slices.Equal(r.DTypes, want) {
			t.Errorf("%+v, %v, want %q", r, err, want)
		}
	}
}

// A dry run lists the files that an Orbax directory will have, and their sizes as far as compression does not decide them; of OCDBT, all but the data files.
func TestOrbaxFilesInAdvance(t *testing.T) {
	source, err := formats.Open("../testdata/micro-griffin/hf", formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	for _, format := range orbax.Formats() {
		dst := filepath.Join(t.TempDir(), "flax")
		o := Options{To: ToOrbax, OrbaxFormat: format, DryRun: true}
		planned, err := Convert(t.Context(), source, dst, o)
		if err != nil {
			t.Fatal(err)
		}
		o.DryRun = false
		made, err := Convert(t.Context(), source, dst, o)
		if err != nil {
			t.Fatal(err)
		}
		size, compressed := map[string]int64{}, 0
		for _, f := range made.Files {
			if !strings.HasPrefix(f.Name, "d/") {
				size[f.Name] = *f.Bytes
			}
		}
		for _, f := range planned.Files {
			if n, ok := size[f.Name]; !ok || f.Bytes != nil && *f.Bytes != n {
				t.Errorf("%s: %+v, written: %t, %d bytes", format, f, ok, n)
			}
			if f.Bytes == nil {
				compressed++
			}
		}
		want := map[orbax.Format]int{orbax.ZarrUncompressed: 1, orbax.Zarr: 1 + (len(planned.Files)-5)/2} // conversion.json, and each array's one chunk beside its document
		if n := cmp.Or(want[format], 2); len(planned.Files) != len(size) || compressed != n {             // conversion.json and the manifest
			t.Errorf("%s: %d files planned, %d of them compressed, want %d; %d written", format, len(planned.Files), compressed, n, len(size))
		}
	}
}

// What the new dtype cannot hold is counted, in all and by tensor.
func TestResultCounts(t *testing.T) {
	c := formConfig(16, model.Recurrent)
	var tensors []*tensor.Tensor
	for _, x := range modelTensors(c, model.Torch, model.Griffin.Roots[model.Torch]) {
		x.DType = tensor.BF16
		data := make([]byte, x.Bytes())
		if x.Shape[0] == c.VocabSize {
			data[3], data[7] = 0x7f, 0x7f // 1.7e38 twice
		}
		tensors = append(tensors, withData(x, data))
	}
	r, err := Convert(t.Context(), checkpoint(t, tensors...), filepath.Join(t.TempDir(), "hf"), Options{DType: tensor.F16, AllowInexact: true, Settings: model.Settings{LogitsSoftCap: ptr(30.0), EmbeddingScale: ptr(true)}})
	if err != nil || r.Overflowed != 2 || r.Inexact != 0 || r.Notes[len(r.Notes)-1] != "2 finite elements became infinite, too large for float16" {
		t.Fatalf("%+v, %v", r, err)
	}
	one := &Result{DType: "float16"}
	if one.add([]tensor.Written{{Overflowed: 1}}); one.Notes[0] != "1 finite element became infinite, too large for float16" {
		t.Errorf("%q", one.Notes)
	}
	for i := range r.Tensors.Len() {
		x := r.Tensors.At(i)
		if want := map[bool]int64{true: 2}[x.Name == "model.embed_tokens.weight"]; x.Overflowed != want || x.Inexact != 0 {
			t.Errorf("%s: %d became infinite, %d inexact", x.Name, x.Overflowed, x.Inexact)
		}
	}
	dst := filepath.Join(t.TempDir(), "hf")
	r, err = Convert(t.Context(), withEmbedding(t, model.Torch, codes(3), nil), dst, Options{Settings: model.Settings{LogitsSoftCap: ptr(30.0), EmbeddingScale: ptr(false)}, AllowInexact: true})
	if err != nil || r.Overflowed != 0 || r.Inexact != 192 {
		t.Fatalf("%+v, %v", r, err)
	}
	for i := range r.Tensors.Len() {
		x := r.Tensors.At(i)
		if want := map[bool]int64{true: 192}[x.Name == "model.embed_tokens.weight"]; x.Inexact != want || x.Overflowed != 0 {
			t.Errorf("%s: %d became infinite, %d inexact", x.Name, x.Overflowed, x.Inexact)
		}
	}
	record, _, err := readManifest(dst)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range record.Tensors {
		if want := map[bool]manifest.Float{true: 4}[x.Name == "model.embed_tokens.weight"]; x.DividedBy != want {
			t.Errorf("%s is recorded as divided by %v", x.Name, x.DividedBy)
		}
	}
}
