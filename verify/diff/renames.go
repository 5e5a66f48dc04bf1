package diff

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Renames are rules that give tensors other names. Each is a line
//
//	transformer.h.*.attn.* -> model.layers.*.self_attn.*
//
// whose left side is a pattern for a whole name (see Glob). The n-th * of the right side stands for what
// the n-th * of the left side matched, as few characters as possible. The first rule that matches a name
// applies; names that no rule matches stay. Empty lines and those that begin with # are ignored.
type Renames struct {
	file  string
	rules []rename
}

type rename struct {
	line        int
	pattern, to string
}

// The bounds of a file of rules. Real ones have some dozens.
const (
	maxRules     = 10000
	maxRuleBytes = 4096
)

// ParseRenames reads rules, one a line. file is what errors call their source. A line that is not a rule is
// an *OptionError with its number.
func ParseRenames(file string, r io.Reader) (*Renames, error) {
	m := &Renames{file: file}
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

func (m *Renames) errorf(format string, args ...any) error {
	return &OptionError{OptionMap, m.file + ": " + fmt.Sprintf(format, args...)}
}

// apply returns the checkpoint with its tensors renamed, and their old names by the new ones. A rule that
// matches no name, and two tensors of one new name, are an *OptionError.
func (m *Renames) apply(c *tensor.Checkpoint) (*tensor.Checkpoint, map[string]string, error) {
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
	renamed, err := tensor.NewCheckpoint(c.Path, c.Format, tensors)
	if err != nil {
		return nil, nil, err
	}
	renamed.Details, renamed.Metadata, renamed.Notes = c.Details, c.Metadata, c.Notes
	renamed.Source, renamed.Root = c.Source, c.Root
	return renamed, oldNames, nil
}

// rename returns the new name of a tensor, and the index of the rule that gave it: -1 for none.
func (m *Renames) rename(name string) (string, int) {
	for i, r := range m.rules {
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
	return name, -1
}
