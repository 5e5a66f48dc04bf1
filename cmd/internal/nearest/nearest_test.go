package nearest

import "testing"

func TestName(t *testing.T) {
	names := []string{"convert", "inspect", "verify", "diff", "generate", "golden", "--verify", "--weights", "--weights-only", "bfloat16", "float16", "2b", "transformers4", "transformers5", "original", "griffin-paper-7b", "hawk-paper-7b", "raw"}
	for _, tt := range []struct{ word, want string }{
		{"convrt", "convert"},
		{"--verfy", "--verify"},
		{"--wieghts", "--weights"},
		{"--weight", "--weights"},
		{"--weights_only", "--weights-only"},
		{"INSPECT", "inspect"},
		{"inspectt", "inspect"},
		{"conv", "convert"}, // the only beginning
		{"g", ""},           // generate or golden
		{"bfloat17", "bfloat16"},
		{"dif", "diff"},
		{"upload", ""},
		{"x", ""},
		{"rw", "raw"}, // one letter left out
		{"rq", ""},    // another one instead
		{"3b", ""},    // half of 2b is wrong
		{"2B", "2b"},
		{"", ""},
		{"2b-it", "2b"},
		{"recurrentgemma-2B", "2b"},
		{"2b-golden-float16", ""}, // three
		{"griffin-7b", "griffin-paper-7b"},
		{"Hawk_7B", "hawk-paper-7b"},
		{"paper-7b", ""}, // two
		{"7b-hawk", ""},  // in another order
		{"mamba-7b", ""},
		{"transformers6", "transformers5"},
		{"transformers", "transformers5"},
		{"transformers4.57", "transformers4"},
	} {
		if got := Name(tt.word, names); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.word, got, tt.want)
		}
	}
}
