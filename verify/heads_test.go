package verify

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// headed are directories whose output heads differ: none, a copy of the embedding or another matrix, tied to the embedding or not.
func headed(t *testing.T) (names, dirs []string) {
	b := baseOf(t, "float16 to float32, Flax")
	for _, head := range []string{"none", "copied", "multiplied", "other"} {
		for _, tied := range []bool{true, false} {
			m := b.made.clone()
			if head != "none" {
				e := m.get(embeddingName).clone()
				e.name = headName
				switch head {
				case "multiplied":
					each(func(x float32) float32 { return x * 4 })(e) // the root of the width
				case "other":
					flip(9, 0)(e)
				}
				m.tensors = append(m.tensors, e)
			} else if !tied {
				continue
			}
			m.config["tie_word_embeddings"] = tied
			names, dirs = append(names, fmt.Sprintf("%s, tied %t", head, tied)), append(dirs, m.write(t))
		}
	}
	return names, dirs
}

// tryConvert converts a checkpoint and proves it, and reports whether it did: some heads are refused.
func tryConvert(t *testing.T, source, converted string, o convert.Options) bool {
	t.Helper()
	src, err := formats.Open(source, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	o.Verify = true
	_, err = convert.Convert(t.Context(), src, converted, o)
	if err != nil && !errors.As(err, new(*tensor.FormatError)) {
		t.Fatal(err)
	}
	return err == nil
}

// What a conversion has proven is no other model to a verification, whatever its head, and whatever the source was converted from.
func TestProvenHeadsVerify(t *testing.T) {
	if testing.Short() {
		t.Skip("many models")
	}
	names, dirs := headed(t)
	proven := 0
	for i, root := range dirs {
		sources := []string{root}
		for next := 0; next < len(sources); next++ {
			source := sources[next]
			for _, to := range []convert.Target{convert.ToHF, convert.ToTorch, convert.ToOrbax} {
				for _, extra := range []convert.ExtraPolicy{convert.LeaveHeads, convert.KeepExtra} {
					converted := filepath.Join(t.TempDir(), to.String())
					if source != root && extra == convert.LeaveHeads || !tryConvert(t, source, converted, convert.Options{To: to, Extra: extra}) {
						continue
					}
					if proven++; source == root {
						sources = append(sources, converted)
					}
					for _, against := range slices.Compact([]string{source, root}) {
						if v, err := verifyFiles(t, against, converted, Options{}); err != nil || !v.Same {
							t.Errorf("%s: %s, converted by way of %s: %v, %v", names[i], to, filepath.Base(source), err, findings(v))
						}
					}
				}
			}
		}
	}
	if proven < 100 {
		t.Errorf("%d conversions", proven)
	}
}

// A head under the wrapper of the other tensors is renamed as they are, and compared with the embedding.
func TestHeadUnderWrapper(t *testing.T) {
	for _, wrapper := range []string{"module.", "_orig_mod.", "state_dict.model."} {
		for _, tt := range []struct {
			name, summary string
			do            func(m *made)
			weights       string // the wrong tensor
			compared      int
		}{
			{"copy", "of 100 tensors: 100 renamed", func(*made) {}, "", 100},
			{"other", "of 100 tensors: 100 renamed", func(m *made) { flip(9, 0)(m.get(headName)) }, wrapper + headName, 100},
			{"alone", "of 100 tensors: 1 missing, 99 renamed", func(m *made) { m.remove(embeddingName) }, "", 99},
			{"none", "of 99 tensors: 99 renamed", func(m *made) { m.remove(headName) }, "", 99},
		} {
			m := baseOf(t, "bfloat16, torch").made.clone()
			head := m.get(embeddingName).clone()
			head.name = headName
			m.tensors = append(m.tensors, head)
			tt.do(m)
			m.rename(func(name string) string { return wrapper + name })
			v, err := m.judge(t)
			if err != nil || v.Same {
				t.Fatalf("%s%s: %v", wrapper, tt.name, err)
			}
			renamed, extra, wrong := "", 0, ""
			for _, f := range findings(v) {
				switch {
				case f.Kind == RenamedTensor && f.Tensor == headName:
					renamed += f.ConvertedName
				case f.Kind == ExtraTensor:
					extra++
				case f.Kind == UntiedHead && f.Differing > 0:
					wrong += f.ConvertedName
				}
			}
			want := wrapper + headName
			if tt.name == "none" {
				want = ""
			}
			if v.Weights.Tensors != tt.compared || renamed != want || extra != 0 || wrong != tt.weights || !strings.HasPrefix(v.Structure.Summary, tt.summary) {
				t.Errorf("%s%s: %q, %d compared, head renamed to %q, %d extra, wrong %q", wrapper, tt.name, v.Structure.Summary, v.Weights.Tensors, renamed, extra, wrong)
			}
		}
	}
}
