package diff

import (
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// commonNames returns the prefixes, such as "params." or "module.", without which the most names of two
// checkpoints are the same.
func commonNames(a, b *tensor.Checkpoint) (prefixA, prefixB string) {
	most := 0
	for _, pa := range wrappers(a) {
		known := map[string]bool{}
		for _, t := range a.Tensors() {
			known[unwrap(t.Name, pa)] = true
		}
		for _, pb := range wrappers(b) {
			same := 0
			for _, t := range b.Tensors() {
				if known[unwrap(t.Name, pb)] {
					same++
				}
			}
			if same > most {
				most, prefixA, prefixB = same, pa, pb
			}
		}
	}
	return prefixA, prefixB
}

// wrappers returns "" and the prefixes of up to four segments that more than half of the names have.
func wrappers(c *tensor.Checkpoint) []string {
	const maxSegments = 4
	out := []string{""}
	for range maxSegments {
		last := out[len(out)-1]
		count := map[string]int{}
		for _, t := range c.Tensors() {
			rest, under := strings.CutPrefix(t.Name, last)
			if first, _, ok := strings.Cut(rest, "."); under && ok {
				count[first]++
			}
		}
		next := ""
		for segment, n := range count {
			if 2*n > len(c.Tensors()) {
				next = segment
			}
		}
		if next == "" {
			break
		}
		out = append(out, last+next+".")
	}
	return out
}

// splitList splits the name of a list of layers off a prefix: "model." and "layers" of "model.layers.". list is "" if no number follows
// the prefix in the most names.
func splitList(c *tensor.Checkpoint, prefix string) (outer, list string) {
	n := 0
	for _, t := range c.Tensors() {
		if name, layer, _ := SplitLayer(t.Name); layer >= 0 && name+"." == prefix {
			n++
		}
	}
	if 2*n <= len(c.Tensors()) {
		return prefix, ""
	}
	prefix = strings.TrimSuffix(prefix, ".")
	at := strings.LastIndexByte(prefix, '.') + 1
	return prefix[:at], prefix[at:]
}

// wrapperSegments are put into the middle of names by torch.compile, FSDP and activation checkpointing.
var wrapperSegments = strings.NewReplacer("_orig_mod.", "", "_fsdp_wrapped_module.", "", "_checkpoint_wrapped_module.", "")

// leafWrappers end the names of arrays that Flax keeps in an object of their own.
var leafWrappers = []string{".value", ".raw_value"}

// unwrap returns a name without a prefix and without the segments of wrappers.
func unwrap(name, prefix string) string {
	name = strings.TrimPrefix(name, prefix)
	for _, suffix := range leafWrappers {
		name = strings.TrimSuffix(name, suffix)
	}
	return wrapperSegments.Replace(name)
}
