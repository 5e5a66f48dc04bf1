package tensor_test

import (
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestQuoteName(t *testing.T) {
	long := strings.Repeat("a", 150) + strings.Repeat("b", 150)
	for name, want := range map[string]string{
		"blocks.0.w":  "blocks.0.w",
		"größe":       "größe",
		"two\nlines":  `"two\nlines"`,
		"bad \xff":    `"bad \xff"`,
		"esc \x1b[0m": `"esc \x1b[0m"`,
		long:          strings.Repeat("a", 100) + "…" + strings.Repeat("b", 60),
	} {
		if got := tensor.QuoteName(name); got != want {
			t.Errorf("QuoteName(%q) = %s, want %s", name, got, want)
		}
	}
}

func TestJoinNames(t *testing.T) {
	names := strings.Fields("a b c d e f g h i j")
	if got, want := tensor.JoinNames(names[:8]), "a, b, c, d, e, f, g, h"; got != want {
		t.Errorf("8 names: %s, want %s", got, want)
	}
	if got, want := tensor.JoinNames(names), "a, b, c, d, e, f, g, h and 2 more"; got != want {
		t.Errorf("10 names: %s, want %s", got, want)
	}
}

func TestUnravel(t *testing.T) {
	shape := []int64{2, 3, 4}
	for i, want := range map[int64]string{0: "[0, 0, 0]", 4: "[0, 1, 0]", 23: "[1, 2, 3]"} {
		if got := tensor.ShapeString(tensor.Unravel(i, shape)); got != want {
			t.Errorf("Unravel(%d) = %s, want %s", i, got, want)
		}
	}
	if got := tensor.Unravel(0, nil); len(got) != 0 {
		t.Errorf("index of a scalar: %v", got)
	}
}
