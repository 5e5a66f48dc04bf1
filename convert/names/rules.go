// Package names selects tensors by patterns of their names, and renames them by rules.
package names

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Rules give tensors other names. Each is a line
//
//	transformer.h.*.attn.* -> model.layers.*.self_attn.*
//
// whose left side is a pattern for a whole name (see Glob). The n-th * of the right side stands for what
// the n-th * of the left side matched, as few characters as possible. The first rule that matches a name
// applies; names that no rule matches stay. Empty lines and those that begin with # are ignored.
type Rules struct {
	file     string
	rules    []rename
	whole    map[string]int // index of the first rule for a name that it states whole
	patterns []int          // indices of the other rules
}

// Error says that rules cannot be read or applied.
type Error struct {
	File    string // that of the rules
	Problem string
}

func (e *Error) Error() string { return e.File + ": " + e.Problem }

type rename struct {
	line        int
	pattern, to string
}

// The bounds of a file of rules. Real ones have some dozens.
const (
	maxRules     = 10000
	maxRuleBytes = 4096
)

// ParseRules reads rules, one a line. file is what errors call their source. A line that is not a rule is
// an *Error with its number.
func ParseRules(file string, r io.Reader) (*Rules, error) {
	m := &Rules{file: file, whole: map[string]int{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxRuleBytes), maxRuleBytes)
	number := 0
	for lines.Scan() {
		number++
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rule, problem := parseRename(line)
		if problem == "" && len(m.rules) == maxRules {
			problem = fmt.Sprintf("more than %d rules", maxRules)
		}
		if problem != "" {
			return nil, m.errorf("line %d: %s", number, problem)
		}
		rule.line = number
		if strings.ContainsAny(rule.pattern, "*?") {
			m.patterns = append(m.patterns, len(m.rules))
		} else if _, before := m.whole[rule.pattern]; !before {
			m.whole[rule.pattern] = len(m.rules)
		}
		m.rules = append(m.rules, rule)
	}
	if err := lines.Err(); err == bufio.ErrTooLong {
		return nil, m.errorf("line %d: longer than %d bytes", number+1, maxRuleBytes)
	} else if err != nil {
		return nil, err
	}
	return m, nil
}

func parseRename(line string) (r rename, problem string) {
	from, to, ok := strings.Cut(line, "->")
	r = rename{pattern: strings.TrimSpace(from), to: strings.TrimSpace(to)}
	switch {
	case !ok || strings.Contains(r.to, "->"):
		return r, fmt.Sprintf("%q is not of the form PATTERN -> NAME", tensor.Clip(line))
	case r.pattern == "" || r.to == "":
		return r, "a side of -> is empty"
	case strings.Count(r.to, "*") > strings.Count(r.pattern, "*"):
		return r, "the right side has more * than the left side"
	}
	return r, ""
}

// File returns the name of the file that the rules were read from, "" of nil.
func (m *Rules) File() string {
	if m == nil {
		return ""
	}
	return m.file
}

func (m *Rules) errorf(format string, args ...any) error {
	return &Error{m.file, fmt.Sprintf(format, args...)}
}

// Apply returns the checkpoint with its tensors renamed, and their old names by the new ones. A rule that
// matches no name, and two tensors of one new name, are an *Error. Nil renames nothing.
func (m *Rules) Apply(c *tensor.Checkpoint) (*tensor.Checkpoint, map[string]string, error) {
	if m == nil {
		return c, nil, nil
	}
	used := make([]bool, len(m.rules))
	all := map[string]string{} // old names by the new ones, including those that stay
	oldNames := map[string]string{}
	var tensors []*tensor.Tensor
	for _, t := range c.Tensors() {
		name, rule := m.rename(t.Name)
		if rule >= 0 {
			used[rule] = true
		}
		if len(name) > tensor.MaxName {
			return nil, nil, m.errorf("line %d: %q would have a name of %d bytes, and griffin reads names of at most %d", m.rules[rule].line, tensor.Clip(t.Name), len(name), tensor.MaxName)
		}
		if first, taken := all[name]; taken {
			return nil, nil, m.errorf("%q and %q would both be called %q", tensor.Clip(first), tensor.Clip(t.Name), tensor.Clip(name))
		}
		all[name] = t.Name
		if name != t.Name {
			oldNames[name] = t.Name
			renamed := *t
			renamed.Name = name
			t = &renamed
		}
		tensors = append(tensors, t)
	}
	for i, r := range m.rules {
		if !used[i] {
			return nil, nil, m.errorf("line %d: %q applies to no tensor of %s", r.line, r.pattern, c.Path)
		}
	}
	renamed, err := c.With(tensors)
	return renamed, oldNames, err
}

// rename returns the new name of a tensor, and the index of the rule that gave it: -1 for none.
func (m *Rules) rename(name string) (string, int) {
	whole, isWhole := m.whole[name]
	for _, i := range m.patterns {
		if isWhole && i > whole {
			break
		}
		r := m.rules[i]
		parts, ok := globParts(r.pattern, name)
		if !ok {
			continue
		}
		pieces := strings.Split(r.to, "*")
		var b strings.Builder
		for k, piece := range pieces {
			if k > 0 {
				b.WriteString(parts[k-1])
			}
			b.WriteString(piece)
		}
		return b.String(), i
	}
	if isWhole {
		return m.rules[whole].to, whole
	}
	return name, -1
}
