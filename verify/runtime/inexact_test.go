package runtime_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// A directory loses what its numbers show, a factor that is no power of two and a soft cap in float16, and what conversion.json records beyond that.
func TestLost(t *testing.T) {
	const softCap = "the soft cap of 2048 that stands for none"
	for _, tt := range []struct {
		name     string
		model    string
		softCap  float64
		dtype    tensor.DType
		recorded string // added to what conversion.json records
		want     []string
	}{
		{"divided by 4", "micro-hawk", 0, tensor.BF16, "", nil},
		{"divided by 4, with a recorded loss", "micro-hawk", 0, tensor.BF16, "5 elements", []string{runtime.LostInDivision}},
		{"in float16", "micro-hawk", 0, tensor.F16, "", []string{softCap}},
		{"in float16, with a recorded loss", "micro-hawk", 0, tensor.F16, "5 elements", []string{runtime.LostInDivision, softCap}},
		{"no power of two", "tiny-griffin", 30, tensor.BF16, "", []string{runtime.LostInDivision}},
	} {
		src, err := formats.Open("../../testdata/"+tt.model+"/original/torch.pt", formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		dst := filepath.Join(t.TempDir(), "hf")
		settings := model.Settings{AttentionWindow: new(int64(8)), LogitsSoftCap: &tt.softCap, EmbeddingScale: new(false)}
		if _, err := convert.Convert(t.Context(), src, dst, convert.Options{To: convert.ToHF, Settings: settings, DType: tt.dtype, AllowInexact: true}); err != nil {
			t.Fatal(err)
		}
		if tt.recorded != "" {
			record := filepath.Join(dst, manifest.Name)
			text, err := os.ReadFile(record)
			if err != nil {
				t.Fatal(err)
			}
			const tie = `"tie_word_embeddings": false`
			with := strings.Replace(string(text), `"inexact": [`, `"inexact": [ "`+tt.recorded+`",`, 1)
			if with == string(text) {
				with = strings.Replace(with, tie, tie+`, "inexact": ["`+tt.recorded+`"]`, 1)
			}
			if err := os.WriteFile(record, []byte(with), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		written, err := formats.Open(dst, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer written.Close()
		m, err := runtime.Open(t.Context(), written, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		d, err := m.Directory()
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Lost(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
