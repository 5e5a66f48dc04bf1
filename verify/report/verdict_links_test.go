package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// The head of the page names all of a few findings, and the first of many.
func TestWrong(t *testing.T) {
	for n, want := range map[int]string{
		2: "w: 0; w: 1",
		5: "w: 0; w: 1; w: 2; w: 3; w: 4",
		6: "w: 0; w: 1; w: 2; w: and 3 more",
	} {
		group := findingGroup{Check: "w"}
		for i := range n {
			group.Shown = append(group.Shown, &shownFindings{Title: fmt.Sprint(i), Count: 1})
			group.Findings = group.Findings.Append(group.Shown[i].First)
		}
		var got []string
		for _, link := range (&verdictPage{Findings: []findingGroup{group}}).wrong() {
			got = append(got, link.Text)
		}
		if got := strings.Join(got, "; "); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int]string{
		3: "logits: 0; logits: 1; logits: 2",
		4: "logits: 0; logits: 1; logits: 2; logits: 3",
		5: "logits: 0; logits: 1; logits: 2; logits: and 9 more", // one of which stands for eight
	} {
		part := &logitsPart{}
		for i := range n {
			part.Where = append(part.Where, faultPart{Title: fmt.Sprint(i), Fault: &verify.Fault{Fault: &logits.Fault{Places: 8 * (i / 4)}}})
		}
		var got []string
		for _, link := range (&verdictPage{Logits: []*logitsPart{part}}).wrong() {
			got = append(got, link.Text)
		}
		if got := strings.Join(got, "; "); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
