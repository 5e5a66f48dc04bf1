package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// lead says in a sentence what the verdict is based on.
func lead(v *verify.Verdict, checks []verify.Check) string {
	if v.Another() {
		what := text.Printable(v.Structure.Summary)
		return strings.ToUpper(what[:1]) + what[1:] + "."
	}
	if v.Unproven != "" {
		return unprovenLead(v)
	}
	if !v.Same && v.Part != "" {
		return strings.ToUpper(v.Part[:1]) + text.Printable(v.Part[1:]) + ". " + failuresLead(v, checks)
	}
	if !v.Same {
		return failuresLead(v, checks)
	}
	var parts []string
	if w := v.Weights; w != nil {
		of := text.Printable(verify.SourceName(v))
		how := "is identical to " + of + ", bit for bit"
		switch {
		case w.Kept && w.DTypes != "":
			how = "has the value that " + of + " has"
		case w.Kept:
			how = "has the value that " + of + " has, in " + w.RoundedTo
		case w.Rounded > 0:
			how = "is identical to " + of + ", correctly rounded where the dtype changed"
		}
		if w.Divided > 0 {
			how += ", but for the embedding, which is divided by the factor that transformers multiplies it by"
		}
		parts = append(parts, fmt.Sprintf("every one of %s elements of %s %s", text.Grouped(w.Elements), text.Count(w.Tensors, "tensor"), how))
	}
	if len(v.Logits) > 0 {
		l, matches := v.Logits[0], "matches"
		if len(v.Logits) == 1 && verify.LogitsOfSide(v) {
			matches = "matches the " + verify.OfSide(v, l)
		}
		parts = append(parts, fmt.Sprintf("what %s computed %s within rounding", l.Implementation, matches))
	}
	s := strings.Join(parts, ", and ")
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// failuresLead counts the failures, says in which checks they are, and whether the checkpoint is a quantised copy. A check that fails only because of
// another, as the weights do where tensors are missing, is not among them.
func failuresLead(v *verify.Verdict, checks []verify.Check) string {
	own := map[string]int{} // by the name of the check
	for _, s := range v.Sections() {
		own[s.Name] = s.Findings.Len()
	}
	for _, l := range v.Logits {
		for _, f := range v.Faults(l) {
			if f.Check == "" { // others are counted with the findings that cause them
				own["logits"] += max(1, f.Places)
			}
		}
	}
	var failed, where []string
	failures := 0
	for _, c := range checks {
		if c.OK || c.Skipped || slices.Contains(failed, c.Name) {
			continue
		}
		failed = append(failed, c.Name)
		if own[c.Name] > 0 {
			where = append(where, c.Name)
			failures += own[c.Name]
		}
	}
	isCopy := v.Quantized != nil && !v.Quantized.OK
	switch {
	case where == nil && isCopy && len(failed) == 1:
		return "A quantised copy: " + text.Printable(v.Quantized.Summary) + "."
	case where == nil:
		where = slices.DeleteFunc(failed, func(name string) bool { return name == quantisedCheck })
	}
	if k := slices.Index(where, quantisedCheck); k >= 0 {
		where[k] = "quantised matrices"
	}
	in := where[len(where)-1]
	if n := len(where) - 1; n > 0 {
		in = strings.Join(where[:n], ", ") + " and " + in
	}
	s := fmt.Sprintf("%s in the %s.", text.Count(max(1, failures), "failure"), in)
	if isCopy {
		s = "A quantised copy, with " + s
	}
	return s
}

const quantisedCheck = "quantised"

// unprovenLead says what nothing that is proven means.
func unprovenLead(v *verify.Verdict) string {
	if v.Converted == nil {
		return "This does not show that the checkpoint is another model, but neither that it is the one that was recorded."
	}
	return "No check found that the checkpoints differ."
}

// wrong names what is wrong: a few things of each check.
func (g *verdictPage) wrong() []page.Link {
	const most = 3
	var all []page.Link
	for _, group := range g.Findings {
		left := group.Findings.Len()
		for i, f := range group.Shown {
			if i == most && len(group.Shown) > most+2 {
				all = append(all, page.Link{Text: fmt.Sprintf("%s: and %s more", group.Check, text.Grouped(int64(left))), To: group.ID()})
				break
			}
			what := group.Check + ": " + f.Title
			if f.Change != "" {
				what += ", " + f.Change
			}
			all = append(all, page.Link{Text: what, To: f.ID})
			left -= f.Count
		}
	}
	for _, l := range g.Logits {
		what := "logits"
		if l.Of != "" {
			what += " of the " + l.Of
		}
		shown := l.Where
		if len(shown) > most+1 {
			shown = shown[:most]
		}
		for _, f := range shown {
			what := what + ": " + strings.ToLower(f.Title[:1]) + f.Title[1:]
			if f.Cause != "" {
				what += ", explained by " + f.Cause
			}
			all = append(all, page.Link{Text: what, To: f.ID})
		}
		if more := l.Places() - places(shown); more > 0 {
			all = append(all, page.Link{Text: fmt.Sprintf("%s: and %s more", what, text.Grouped(int64(more))), To: l.Where[len(shown)].ID})
		}
	}
	return all
}
