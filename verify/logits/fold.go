package logits

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
)

// minUnexplained is how many faults without a cause are one. Fewer are told one by one, because each may have its own cause.
const minUnexplained = 4

// Fold returns some faults of the result, with one in place of those of several blocks that have the same cause. Faults that have none
// are one as well if they are many and alike, or if they are explained, by something else that is wrong with the checkpoint.
func (r *Result) Fold(faults []*Fault, explained bool) []*Fault {
	groups := map[string][]*Fault{}
	for _, f := range faults {
		groups[f.sameness()] = append(groups[f.sameness()], f)
	}
	var out []*Fault
	for _, f := range faults {
		same := groups[f.sameness()]
		switch most := len(same); {
		case f.sameness() == "" || most == 1 || f.Cause == "" && !explained && most < minUnexplained:
			out = append(out, f)
		case f == same[0]:
			out = append(out, r.folded(same))
		}
	}
	return out
}

// sameness is equal for faults that may be one, "" for one that is always alone.
func (f *Fault) sameness() string {
	switch {
	case f.Setting.IsNumeric() && f.Pass != "decode":
		return "numeric\x00" + f.Cause
	case f.broken != nil && (f.inBlock() || f.Kind == FinalNormFault):
		return "broken"
	case f.inBlock() && f.Cause != "":
		return strings.Join([]string{string(f.Half), f.Cause}, "\x00")
	case f.Pass == "decode" || !f.inBlock() && f.Kind != FinalNormFault || f.Cause != "":
		return ""
	}
	return "unexplained\x00" + f.Where
}

// folded returns a fault that stands for several.
func (r *Result) folded(all []*Fault) *Fault {
	one := *all[0]
	worst := all[0]
	one.Places, one.Tensors, one.members = len(all), nil, all
	for _, f := range all {
		if f.Worst.Share > worst.Worst.Share {
			worst = f
		}
		if f.Where != one.Where {
			one.Where = ""
		}
		if f != all[0] {
			one.broken = append(slices.Clip(one.broken), f.broken...)
		}
		for _, name := range f.Tensors {
			if !slices.Contains(one.Tensors, name) {
				one.Tensors = append(one.Tensors, name)
			}
		}
	}
	one.blameBroken()
	one.Worst = worst.Worst
	one.where = &places{title: r.titleOf(all), worst: worst.place()}
	if worst.inBlock() && !slices.ContainsFunc(all, func(f *Fault) bool { return f.Half != worst.Half }) {
		one.where.worst = fmt.Sprintf("block %d", worst.Block)
	}
	one.Detail = one.describe()
	return &one
}

// places name the places of a folded fault, and the one that is worst.
type places struct{ title, worst string }

// WorstIn names the place where a folded fault is worst; "" for a single one.
func (f *Fault) WorstIn() string {
	if f.where == nil {
		return ""
	}
	return f.where.worst
}

// titleOf names the places of faults: "all 8 attention blocks, temporal half", "blocks 3, 5 and 6, MLP".
func (r *Result) titleOf(all []*Fault) string {
	var blocks []int
	halves, norm := map[Half]int{}, ""
	for _, f := range all {
		if !f.inBlock() {
			norm = " and the " + string(f.Kind)
			continue
		}
		halves[f.Half]++
		if !slices.Contains(blocks, f.Block) {
			blocks = append(blocks, f.Block)
		}
	}
	title := r.titleOfBlocks(blocks)
	switch n := len(blocks); {
	case halves[TemporalHalf] == n && halves[MLPHalf] == n:
		title += ", both halves"
		if norm != "" {
			title += ","
		}
	case halves[TemporalHalf] == n && len(halves) == 1:
		title += ", temporal half"
	case halves[MLPHalf] == n && len(halves) == 1:
		title += ", MLP"
	}
	return title + norm
}

// titleOfBlocks names blocks, by their kind if they are all of it.
func (r *Result) titleOfBlocks(blocks []int) string {
	for _, kind := range []model.BlockType{"", model.Attention, model.Recurrent} {
		var of []int
		for i, b := range r.Blocks {
			if kind == "" || b == kind {
				of = append(of, i)
			}
		}
		if slices.Equal(of, blocks) && len(of) > 1 {
			return strings.Join(strings.Fields(fmt.Sprintf("all %d %s blocks", len(of), kind)), " ")
		}
	}
	if len(blocks) == 1 {
		return fmt.Sprintf("block %d", blocks[0])
	}
	return "blocks " + numbersOf(blocks)
}

// numbersOf lists numbers, three and more that follow each other as "0 to 4". Of many parts it has the first.
func numbersOf(numbers []int) string {
	const most = 6
	var parts []string
	for i := 0; i < len(numbers); {
		n := 1
		for i+n < len(numbers) && numbers[i+n] == numbers[i]+n {
			n++
		}
		if n < 3 {
			n = 1
			parts = append(parts, fmt.Sprint(numbers[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d to %d", numbers[i], numbers[i]+n-1))
		}
		i += n
		if left := len(numbers) - i; len(parts) == most && left > 1 {
			return fmt.Sprintf("%s and %d more", strings.Join(parts, ", "), left)
		}
	}
	last := len(parts) - 1
	if last == 0 {
		return parts[0]
	}
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}
