package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// findingGroup has the findings of one check.
type findingGroup struct {
	Check    string
	Findings strictjson.List[verify.Finding]
	Shown    []*shownFindings // the first groups of them
	All      *page.Table      // if there are more than the page describes one by one
}

// shownFindings are findings that say the same of several tensors, or a single one.
type shownFindings struct {
	ID, Title           string
	First               verify.Finding
	Count               int
	Differing, Elements int64
	Faults              []faultPart // what it does to the logits
	indexes             []int       // of findingGroup.Findings
	Change              string      // what was done to all of them: "mlp_block renamed to mlp"; "" if Title or First says it
	Described           bool        // the summary of the check says what they do
}

// Names are the names of the first tensor in the source and in the converted checkpoint; nil if the title is both.
func (f *shownFindings) Names() []string {
	if names := []string{f.First.SourceName, f.First.ConvertedName}; names[0] != f.Title || names[1] != f.Title {
		return names
	}
	return nil
}

// More are the faults after the first.
func (f *shownFindings) More() []faultPart { return f.Faults[min(1, len(f.Faults)):] }

// MorePlaces counts the faults that those stand for.
func (f *shownFindings) MorePlaces() int { return places(f.More()) }

// maxDescribed is how many groups of findings of one check are described one by one.
const maxDescribed = 12

// newFindingGroup returns the findings of the k-th check that failed. Of wholly another model only the table is shown.
func newFindingGroup(v *verify.Verdict, k int, s verify.NamedSection) findingGroup {
	group := findingGroup{Check: s.Name, Findings: s.Findings}
	alone := 0
	for i, g := range v.GroupFindings(s.Findings) {
		if v.Another() || i == maxDescribed {
			break
		}
		shown := &shownFindings{ID: fmt.Sprintf("finding%d-%d", k, i), Title: strings.Join(g.Where(s.Findings), " "), First: s.Findings.At(g.Findings[0]), Count: len(g.Findings), indexes: g.Findings, Described: g.Described(), Change: g.Change(s.Findings)}
		shown.Differing, shown.Elements = g.Count(s.Findings)
		if shown.Count == 1 {
			alone++
		}
		group.Shown = append(group.Shown, shown)
	}
	if alone < s.Findings.Len() {
		group.All = findingsTable(s.Findings)
	}
	return group
}

// Title is the name of the check at the beginning of a line.
func (g *findingGroup) Title() string { return strings.ToUpper(g.Check[:1]) + g.Check[1:] }

// ID is the id of the group in the page.
func (g *findingGroup) ID() string { return "findings-" + g.Check }

// attach moves the faults of a part that findings of other checks cause to the first of those, if the page describes it.
func (g *verdictPage) attach(part *logitsPart) {
	var rest []faultPart
	for _, f := range part.Where {
		shown := g.shown(f.Check, f.Findings)
		if shown == nil {
			rest = append(rest, f)
			continue
		}
		of := ""
		if part.Of != "" {
			of = " of the " + part.Of
		}
		f.Title = "In the logits" + of + ": " + strings.ToLower(f.Title[:1]) + f.Title[1:]
		f.Line = "In the logits" + of + ": " + f.Symptom()
		f.Above, f.Others = "these tensors", g.others(f.Check, f.Findings, shown)
		switch {
		case shown.First.Field != "":
			f.Above = "this"
		case shown.Count == 1:
			f.Above = "this tensor"
		}
		consequence := *f.Fault.Fault
		consequence.Cause = "" // the finding is the cause
		f.Fault, f.Look = &verify.Fault{Fault: &consequence}, nil
		shown.Faults = append(shown.Faults, f)
	}
	part.Where = rest
}

// shown returns what the page shows of the first of some findings of a check, nil if it does not.
func (g *verdictPage) shown(check string, findings []int) *shownFindings {
	for _, group := range g.Findings {
		for _, s := range group.Shown {
			if group.Check == check && len(findings) > 0 && slices.Contains(s.indexes, findings[0]) {
				return s
			}
		}
	}
	return nil
}

// others returns what else the page shows of the findings of a check.
func (g *verdictPage) others(check string, findings []int, shown *shownFindings) (all []*shownFindings) {
	for _, group := range g.Findings {
		for _, s := range group.Shown {
			if group.Check == check && s != shown && slices.ContainsFunc(s.indexes, func(i int) bool { return slices.Contains(findings, i) }) {
				all = append(all, s)
			}
		}
	}
	return all
}
