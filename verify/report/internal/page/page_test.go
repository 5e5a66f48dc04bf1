package page

import (
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	got := strings.Join(words([]string{"griffin", "verify", "--logits-soft-cap=30", "my model.pt", "it's", "", "$HOME"}), " ")
	if want := `griffin verify --logits-soft-cap=30 'my model.pt' 'it'\''s' '' '$HOME'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
