package verify

import (
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Beside a source whose config.json has another window, and with no record, only a recording says which one is the original's.
func TestWindowBesideAnother(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	_, source := convertTiny(t, "hf", convert.Options{To: convert.ToHF, MatchRuntime: convert.Transformers5, Settings: settingsOf(8, 30, true)})
	remove(t, source, manifest.Name)
	for _, tt := range []struct {
		golden  string
		source  runtime.Evidence
		summary string
	}{
		{"", runtime.Assumed, "attention_window_size is 8, and that of the source 9: nothing says which of them is the original's window, or one more"},
		{c.Recording("jax"), runtime.FromFixture, "attention_window_size is 8, the original's window"},
	} {
		v, err := verifyFiles(t, source, filepath.Join(c.Dir, "hf"), Options{Golden: tt.golden})
		if err != nil {
			t.Fatal(err)
		}
		if w := v.Window; w.Source != tt.source || w.Summary != tt.summary {
			t.Errorf("golden %q: %+v", tt.golden, w)
		}
	}
}
