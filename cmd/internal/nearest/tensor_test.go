package nearest

import (
	"fmt"
	"testing"
)

func TestPattern(t *testing.T) {
	names := []string{"model.embed_tokens.weight", "model.final_norm.weight"}
	for i := range 12 {
		names = append(names, fmt.Sprintf("model.layers.%d.mlp.up.weight", i), fmt.Sprintf("model.layers.%d.norm.weight", i))
	}
	for _, tt := range []struct{ pattern, want string }{
		{"final_norm", "model.final_norm.weight"},
		{"model.final_nrm.weight", "model.final_norm.weight"},
		{"*.final_nrm.*", "*.final_norm.*"},
		{"model.layers.3", "model.layers.3.*"},
		{"layers.3", "*.layers.3.*"},
		{"layers.11.", "*.layers.11.*"},
		{"mlp", "*.mlp.*"},
		{"norm.weight", "*.norm.weight"},
		{"norm.wei", "*norm.wei*"},
		{"model.*.gate", ""},
		{"model.layers.*.mlp.up.wieght", "model.layers.*.mlp.up.weight"},
		{"*mpl*", "*mlp*"},
		{"*.embedtokens.*", "*.embed_tokens.*"},
		{"*wei_ht", "*weight"},
		{"model.layer.*", "model.layers.*"},
		{"Model.layers.0.*", "model.layers.0.*"},
		{"model.layer.3.norm*", "model.layers.3.norm*"},
		{"blocks.11.*", "*.layers.11.*"},
		{"blocks.12.*", ""}, // there is no such layer
		{"layers.*.mlp.dwn.*", ""},
		{"layers.*.mlp.upp", "*.layers.*.mlp.up.*"},
		{"*", ""},
		{"absent", ""},
	} {
		if got := Pattern(tt.pattern, names); got != tt.want {
			t.Errorf("%q: %q, not %q", tt.pattern, got, tt.want)
		}
	}
}
