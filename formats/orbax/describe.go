package orbax

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/griffin-ckpt/griffin/formats/flax"
	"github.com/griffin-ckpt/griffin/formats/orbax/zarr"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// formatOf names the format after the store of the arrays.
func formatOf(items []*contents) string {
	for _, c := range items {
		switch {
		case c.store == singleArray:
			return "zarr"
		case strings.HasPrefix(c.store, "OCDBT"):
			return "orbax-ocdbt"
		case c.store != "":
			return "orbax-zarr"
		}
	}
	return flax.Format
}

// describe adds the facts that users may want to know to the checkpoint.
func (d *directory) describe(ckpt *tensor.Checkpoint, sel *selection, items []*contents) {
	ckpt.Notes = append(ckpt.Notes, sel.notes...)
	if sel.step != nil {
		ckpt.Describe(tensor.StepKey, strconv.FormatInt(sel.step.number, 10))
		if len(sel.steps) > 1 {
			ckpt.Describe("steps", names(sel.steps, func(s step) string { return s.name }))
		}
	}
	several := len(withArrays(items)) > 1
	for _, c := range items {
		mark := ""
		if several {
			mark = c.name + ": "
		}
		if c.name != "" {
			ckpt.Describe("item", c.name)
		}
		ckpt.Describe("layout", mark+c.layout())
		if saved := d.saved(c); saved != "" {
			ckpt.Describe("saved", mark+saved)
		}
		if where := c.storage(); where != "" {
			ckpt.Describe("storage", mark+where)
		}
		ckpt.Describe(tensor.Checksums, mark+c.checksums())
		if rest := skipped(c.leaves); rest.Any() {
			ckpt.Describe("not arrays", mark+rest.String())
		}
		for _, n := range c.notes {
			ckpt.Notes = append(ckpt.Notes, mark+n)
		}
		for name, text := range c.texts {
			if several {
				name = c.name + "." + name
			}
			if ckpt.Metadata == nil {
				ckpt.Metadata = map[string]string{}
			}
			ckpt.Metadata[name] = text
		}
	}
}

// layout says which versions of Orbax write an item with such files.
func (c *contents) layout() string {
	ocdbt := strings.HasPrefix(c.store, "OCDBT")
	switch {
	case c.hasMetadata && c.hasAggregate && c.declaresOCDBT:
		return "for Orbax 0.4.2 and later"
	case c.hasMetadata && c.hasAggregate:
		return "as of Orbax 0.4.2 to 0.5.15"
	case c.hasMetadata:
		return "as of Orbax 0.5.16 and later"
	case c.hasAggregate && ocdbt:
		return "as of Orbax up to 0.4.1"
	case c.hasAggregate && c.store != "":
		return "as of Orbax up to 0.3"
	case c.store == singleArray:
		return "zarr"
	case c.store == "":
		return "Flax"
	}
	return "arrays without a tree"
}

// storage says where the arrays are and how they are encoded.
func (c *contents) storage() string {
	inFile := 0
	for _, l := range c.leaves {
		if l.aggregated {
			inFile++
		}
	}
	var parts []string
	if c.store != "" {
		parts = append(parts, c.store, counts(c.versions), counts(c.codecs))
	}
	if inFile > 0 {
		parts = append(parts, fmt.Sprintf("in one msgpack file: %d", inFile))
	}
	return strings.Join(parts, "; ")
}

// checksums says of what the files keep checksums.
func (c *contents) checksums() string {
	var kept []string
	if strings.HasPrefix(c.store, "OCDBT") {
		kept = append(kept, "CRC-32C of the index")
	}
	for _, codec := range slices.Sorted(maps.Keys(c.codecs)) {
		if sum := zarr.ChecksumOf(codec); sum != "" {
			kept = append(kept, fmt.Sprintf("%s of the chunks (%s)", sum, codec))
		}
	}
	if len(kept) == 0 {
		return tensor.NoChecksums
	}
	return strings.Join(kept, "; ")
}

// counts lists the keys, most frequent first, with their counts if there are several.
func counts(of map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(cmp.Compare(of[b], of[a]), cmp.Compare(a, b))
	})
	if len(keys) == 1 {
		return keys[0]
	}
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s (%d)", k, of[k])
	}
	return strings.Join(keys, ", ")
}

// maxStepMetadata bounds _CHECKPOINT_METADATA, in bytes. It may hold custom values.
const maxStepMetadata = 1 << 20

// saved returns the time at which Orbax finished writing, or "" if it is not recorded.
func (d *directory) saved(c *contents) string {
	for dir := c.dir; ; dir = path.Dir(dir) {
		text, err := d.read(path.Join(dir, "_CHECKPOINT_METADATA"), maxStepMetadata)
		if err == nil && text != nil {
			return commitTime(text)
		}
		if dir == "." {
			return ""
		}
	}
}

// commitTime reads commit_timestamp_nsecs. It returns "" if the text has none or is not valid.
func commitTime(text []byte) string {
	d := strictjson.NewDecoder(text, maxJSONDepth)
	var nanoseconds int64
	err := d.Object(func(member string) (err error) {
		if member == "commit_timestamp_nsecs" && d.Peek() == strictjson.KindNumber {
			nanoseconds, err = d.Uint()
			return err
		}
		return d.Skip()
	})
	if err != nil || nanoseconds == 0 {
		return ""
	}
	return time.Unix(0, nanoseconds).UTC().Format(time.RFC3339)
}
