package peft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// describe adds facts about an adapter to its checkpoint.
func describe(c *tensor.Checkpoint, config *Config, changes []Change) {
	c.Details = append([]tensor.Detail{{Key: "adapter", Value: config.summary()}}, c.Details...)
	c.Describe("weights", c.Format)
	c.Format = Format
	if config.Base != "" {
		c.Describe("base", config.Base)
	}
	if t := config.targets(); t != "" {
		c.Describe("targets", t)
	}
	for _, line := range counts(changes) {
		c.Describe("changes", line)
	}
}

// summary returns the kind of an adapter: "LoRA, rank 16, alpha 32".
func (c *Config) summary() string {
	if c.Type != LoRA {
		return tensor.QuoteName(c.Type)
	}
	kind := "LoRA"
	if c.DoRA {
		kind = "DoRA"
	}
	s := fmt.Sprintf("%s, rank %s, alpha %s", kind, spread(float64(c.Rank), c.rankPatterns), spread(c.Alpha, c.alphaPatterns))
	if c.RSLoRA {
		s += ", rank-stabilised"
	}
	return s
}

// spread returns a number or, if patterns have other numbers, their range.
func spread(x float64, patterns []pattern) string {
	low, high := x, x
	for _, p := range patterns {
		low, high = min(low, p.value), max(high, p.value)
	}
	if low == high {
		return fmt.Sprint(x)
	}
	return fmt.Sprintf("%v to %v", low, high)
}

func (c *Config) targets() string {
	const most = 16
	if c.TargetPattern != "" {
		return tensor.QuoteName(c.TargetPattern)
	}
	var names []string
	for _, t := range c.Targets[:min(len(c.Targets), most)] {
		names = append(names, tensor.QuoteName(t))
	}
	s := strings.Join(names, ", ")
	if n := len(c.Targets) - most; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// counts returns how many parameters change in which way.
func counts(changes []Change) []string {
	var added, biases, replaced, rows int
	var ranks []int64
	for i := range changes {
		c := &changes[i]
		switch {
		case c.Left != nil:
			added++
			_, r := c.Left.Shape()
			ranks = append(ranks, r)
		case c.Right != nil:
			biases++
		case c.Value != nil:
			replaced++
		case c.Rows != nil:
			rows += len(c.Indices)
		}
	}
	var out []string
	say := func(n int, one, many string) {
		switch {
		case n == 1:
			out = append(out, one)
		case n > 1:
			out = append(out, fmt.Sprintf(many, n))
		}
	}
	if added > 0 {
		rank := fmt.Sprint(slices.Min(ranks))
		if high := slices.Max(ranks); high != slices.Min(ranks) {
			rank += fmt.Sprintf(" to %d", high)
		}
		say(added, "1 matrix by a product of rank "+rank, "%d matrices by products of rank "+rank)
	}
	say(biases, "1 vector by a bias", "%d vectors by biases")
	say(replaced, "1 tensor trained in full", "%d tensors trained in full")
	say(rows, "1 row of the embedding", "%d rows of the embedding")
	return out
}
