package diff

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Renames give tensors other names. They are read from a file of lines
//
//	transformer.h.*.attn.* -> model.layers.*.self_attn.*
//
// whose left side is a pattern for a whole name: * stands for any characters, dots included, as few as
// possible. Each * of the right side stands for what the one of the same place stood for. The first line
// that fits a name counts; names that fit none stay. Empty lines and those that begin with # are left out.
type Renames struct {
	file  string
	rules []rename
}

type rename struct {
	line        int
	pattern, to string
}

// ReadRenames reads a file of rules. A line that is no rule is a *convert.SettingsError with its number.
func ReadRenames(path string) (*Renames, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	if !storage.IsFile(source, name) {
		return nil, &convert.SettingsError{Problem: path + " is not a file"}
	}
	f, _, err := storage.Open(source, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseRenames(path, f)
}

// The bounds of a file of rules. Real ones have some dozens.
const (
	maxRules     = 10000
	maxRuleBytes = 4096
)

func parseRenames(path string, r io.Reader) (*Renames, error) {
	m := &Renames{file: path}
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
			return nil, m.bad(number, problem)
		}
		rule.line = number
		m.rules = append(m.rules, rule)
	}
	if err := lines.Err(); err == bufio.ErrTooLong {
		return nil, m.bad(number+1, fmt.Sprintf("longer than %d bytes", maxRuleBytes))
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

func (m *Renames) bad(line int, problem string) error {
	return &convert.SettingsError{Problem: fmt.Sprintf("%s: line %d: %s", m.file, line, problem),
		Hint: "a line is PATTERN -> NAME, where each * of NAME stands for what the * at its place in PATTERN does"}
}

// apply returns the checkpoint with its tensors renamed, and their old names by the new ones. A rule that
// fits no name, and two tensors of one name, are a *convert.SettingsError.
func (m *Renames) apply(c *tensor.Checkpoint) (*tensor.Checkpoint, map[string]string, error) {
	if m == nil {
		return c, nil, nil
	}
	used := make([]bool, len(m.rules))
	by := map[string]string{} // new name: old name
	old := map[string]string{}
	var tensors []*tensor.Tensor
	for _, t := range c.Tensors() {
		name, rule := m.rename(t.Name)
		if rule >= 0 {
			used[rule] = true
		}
		if first, taken := by[name]; taken {
			return nil, nil, &convert.SettingsError{Problem: fmt.Sprintf("%s: %q and %q would both be called %q", m.file, tensor.Clip(first), tensor.Clip(t.Name), tensor.Clip(name))}
		}
		by[name] = t.Name
		if name != t.Name {
			copied := *t
			copied.Name = name
			t = &copied
			old[name] = by[name]
		}
		tensors = append(tensors, t)
	}
	for i, r := range m.rules {
		if !used[i] {
			return nil, nil, m.bad(r.line, fmt.Sprintf("no tensor of %s fits %q first", c.Path, r.pattern))
		}
	}
	renamed, err := tensor.NewCheckpoint(c.Path, c.Format, tensors)
	if err != nil {
		return nil, nil, err
	}
	renamed.Details, renamed.Metadata, renamed.Notes = c.Details, c.Metadata, c.Notes
	renamed.Source, renamed.Root = c.Source, c.Root
	return renamed, old, nil
}

// rename returns the new name of a tensor, and the rule that gave it: -1 for none.
func (m *Renames) rename(name string) (string, int) {
	for i, r := range m.rules {
		parts, ok := globParts(r.pattern, name)
		if !ok {
			continue
		}
		var b strings.Builder
		k := 0
		for _, c := range []byte(r.to) {
			if c == '*' {
				b.WriteString(parts[k])
				k++
			} else {
				b.WriteByte(c)
			}
		}
		return b.String(), i
	}
	return name, -1
}
