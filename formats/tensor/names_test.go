package tensor_test

import (
	"slices"
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

func TestClip(t *testing.T) {
	for name, want := range map[string]string{
		"":                             "",
		strings.Repeat("a", 200):       strings.Repeat("a", 200),
		strings.Repeat("a", 201):       strings.Repeat("a", 200) + "…",
		strings.Repeat("ab", 1<<20):    strings.Repeat("ab", 100) + "…",
		"a" + strings.Repeat("ä", 100): "a" + strings.Repeat("ä", 99) + "…", // half of a letter is left out
	} {
		if got := tensor.Clip(name); got != want {
			t.Errorf("%d bytes: %s, want %s", len(name), got, want)
		}
	}
	if name := strings.Repeat("a", 200); tensor.QuoteName(name) != name {
		t.Error("QuoteName shortens 200 bytes")
	}
}

func TestCompareNames(t *testing.T) {
	// In order.
	names := []string{"", "1", "2", "10", "a", "layers", "layers.0", "layers.00", "layers.00w", "layers.0x", "layers.1", "layers.01.w", "layers.1.w", "layers.02", "layers.2", "layers.9",
		"layers.10", "layers.12", "layers.13", "layers.100.w", "layers.w", "x", "x0", "xa"}
	for i, a := range names {
		for k, b := range names {
			if got := tensor.CompareNames(a, b); (got < 0) != (i < k) || (got > 0) != (i > k) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
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

func TestNameIndex(t *testing.T) {
	names := []string{"b", "", "a", "b", "c", "b"}
	index := tensor.IndexNames(len(names), func(i int) string { return names[i] })
	for name, want := range map[string][]int32{"a": {2}, "b": {0, 3, 5}, "c": {4}, "": {1}, "bb": nil, "d": nil} {
		if got := index.Of(name); !slices.Equal(got, want) {
			t.Errorf("%q: %v, not %v", name, got, want)
		}
	}
}
