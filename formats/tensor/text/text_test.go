package text_test

import (
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 99_999: "99,999", 100_000: "100,000", 1<<63 - 1: "9,223,372,036,854,775,807"} {
		if got := text.Grouped(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for _, tt := range []struct {
		n                int64
		count, are, have string
	}{
		{0, "0 tensors", "0 tensors are", "0 tensors have"},
		{1, "1 tensor", "1 tensor is", "1 tensor has"},
		{2, "2 tensors", "2 tensors are", "2 tensors have"},
		{1001, "1,001 tensors", "1,001 tensors are", "1,001 tensors have"},
	} {
		count, are, have := text.Count(tt.n, "tensor"), text.CountAre(tt.n, "tensor"), text.Agree(tt.n, "tensor", "has", "have")
		if count != tt.count || are != tt.are || have != tt.have {
			t.Errorf("%d: %q, %q, %q", tt.n, count, are, have)
		}
	}
}

// Nothing in a name from a file changes what a terminal shows.
func TestPrintable(t *testing.T) {
	for given, want := range map[string]string{"model.é.weight": "model.é.weight", "a\nb": `a\nb`, "\x1b[2J": `\x1b[2J`, "a\u202eb": `a\u202eb`, "\xff": `\xff`, `"a" \`: `"a" \`} {
		if got := text.Printable(given); got != want {
			t.Errorf("%q: %s, want %s", given, got, want)
		}
	}
}
