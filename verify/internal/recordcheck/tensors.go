package recordcheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// CompareTensors demands a digest of every tensor of the plan that the converted checkpoint has, under its name or the one there, and no other tensors.
// named returns the name there, nil if all have their own. Nothing is demanded if conversion.json
// records another scale: other tensors may follow from it.
func (c *Check) CompareTensors(p *convert.Plan, named func(planned string) string, converted *tensor.Checkpoint) error {
	if slices.Contains(c.Wrong(), ScaleField) {
		return nil
	}
	names := []tensor.NameIndex{tensor.IndexNames(len(p.Dests), func(i int) string { return p.Dests[i].Name })}
	there := func(i int) string { return p.Dests[i].Name }
	if named != nil {
		there = func(i int) string { return named(p.Dests[i].Name) }
		names = append(names, tensor.IndexNames(len(p.Dests), there))
	}
	recorded := make([]bool, len(p.Dests))
	more, such := 0, ""
	err := c.Each(func(_ manifest.Span, t *manifest.Tensor) error {
		name, known := strings.TrimPrefix(t.Name, c.Removed), false
		for _, index := range names {
			for _, i := range index.Of(name) {
				known, recorded[i] = true, recorded[i] || t.Algorithms() != 0
			}
		}
		if !known {
			if more++; more == 1 || name < such {
				such = name
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	const effect = "the file was changed after it was written, or is of another conversion"
	first, with, demanded := -1, 0, 0
	for i, is := range recorded {
		if converted.Tensor(there(i)) == nil { // a finding of the structure, as where a part was converted
			continue
		}
		demanded++
		if is {
			with++
		} else if first < 0 {
			first = i
		}
	}
	if first >= 0 {
		c.add(tensorsField, text.Count(demanded, "tensor")+" with digests", text.Count(with, "tensor"), "there is none of "+p.Dests[first].Name+"; "+effect)
	}
	if more > 0 {
		c.add(tensorsField, "only those of the model", text.Count(more, "more tensor")+", such as "+such, effect)
	}
	return nil
}

// What a record says of the digest of a tensor that was found. The zero value is that it says nothing.
const (
	sameDigest = iota + 1
	otherDigest
)

// CompareDigests compares the digests of tensors of one side, which have these names. isExplained is asked, in their order, of those that have another
// digest than is recorded: what a finding of the weights says is no other difference.
func (c *Check) CompareDigests(names []string, found func(i int) digest.Sum, isExplained func(i int) bool) error {
	index := tensor.IndexNames(len(names), func(i int) string { return names[i] })
	says, at := make([]uint8, len(names)), make([]manifest.Span, len(names))
	err := c.Each(func(span manifest.Span, t *manifest.Tensor) error {
		for _, i := range index.Of(strings.TrimPrefix(t.Name, c.Removed)) {
			at[i] = span
			switch equal, comparable := found(int(i)).Compare(t.Sum); {
			case !comparable: // a tensor more or less is for the structure to say
				says[i] = 0
			case equal:
				says[i] = sameDigest
			default:
				says[i] = otherDigest
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var other []int
	for i := range says {
		switch {
		case says[i] == 0:
		case says[i] == sameDigest:
			c.digests++
		case isExplained(i):
			c.explained++
		default:
			c.digests++
			other = append(other, i)
		}
	}
	if len(other) == 0 {
		return nil
	}
	first := other[0]
	return c.addOther(len(other), names[first], found(first), at[first])
}

// addOther adds that n tensors have other digests than are recorded. name and sum are of the first of them, and at is its place in the record.
func (c *Check) addOther(n int, name string, sum digest.Sum, at manifest.Span) error {
	tensors, err := c.Open()
	if err != nil {
		return err
	}
	defer tensors.Close()
	recorded, err := tensors.At(at)
	if err != nil {
		return err
	}
	both := sum.Algorithms() & recorded.Algorithms()
	c.add(tensorsField, "the checkpoint's", "other digests of "+text.Count(n, "tensor"),
		fmt.Sprintf("the checkpoint was changed or damaged after it was written, or conversion.json is of another conversion; %s of %s is recorded, and %s is found",
			recorded.Only(both).Named(), name, sum.Only(both).Named()))
	return nil
}
