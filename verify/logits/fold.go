package logits

import (
	"cmp"
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

// sameness is equal for faults that may be one, "" for one that is always alone. Those that are first outside in different passes are not one:
// one that only packed rows show is of another kind than one that a single document shows.
func (f *Fault) sameness() string {
	if key := f.kindred(); key != "" {
		return f.Pass + "\x00" + key
	}
	return ""
}

// kindred is sameness without the pass.
func (f *Fault) kindred() string {
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

// folded returns a fault that stands for several of one pass.
func (r *Result) folded(all []*Fault) *Fault {
	one := *all[0]
	first, worst := all[0], all[0]
	one.Places, one.Tensors, one.members = len(all), nil, all
	for _, f := range all {
		if f.First.before(&first.First) {
			first = f
		}
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
	one.First, one.Site = first.First, first.Site
	one.Worst, one.WorstPass = worst.Worst, worst.WorstPass
	oneHalf := !slices.ContainsFunc(all, func(f *Fault) bool { return f.Half != worst.Half })
	placeOf := func(f *Fault) string {
		if f.inBlock() && oneHalf {
			return fmt.Sprintf("block %d", f.Block)
		}
		return f.place()
	}
	one.where = &places{title: r.titleOf(all), worst: placeOf(worst)}
	if slices.ContainsFunc(all, func(f *Fault) bool { return first.First.before(&f.First) }) {
		one.where.first = placeOf(first)
	}
	one.Detail = one.describe()
	return &one
}

// before reports whether a token comes before another of the same pass.
func (l *Location) before(o *Location) bool {
	return cmp.Or(cmp.Compare(l.Row, o.Row), cmp.Compare(l.Token, o.Token)) < 0
}

// places name the places of a folded fault, the one that is wrong at an earlier token than others ("" if all are at the same one), and the one
// that is worst.
type places struct{ title, first, worst string }

// FirstIn names the place where a folded fault is first wrong; "" for a single one, and if all are wrong from the same token on.
func (f *Fault) FirstIn() string {
	if f.where == nil {
		return ""
	}
	return f.where.first
}

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
