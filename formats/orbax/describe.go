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
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// formatOf names the format after where most of the arrays lie.
func formatOf(items []*contents) string {
	for _, c := range items {
		switch {
		case c.store == plainArray:
			return "zarr"
		case strings.HasPrefix(c.store, "OCDBT"):
			return "orbax-ocdbt"
		case c.store != "":
			return "orbax-zarr"
		}
	}
	return flax.Format
}

// describe enters what people may want to know into the checkpoint.
func (t *tree) describe(ckpt *tensor.Checkpoint, p *place, items []*contents) {
	ckpt.Notes = append(ckpt.Notes, p.notes...)
	if p.step != nil {
		ckpt.Describe("step", strconv.FormatInt(p.step.number, 10))
		if len(p.steps) > 1 {
			ckpt.Describe("steps", names(p.steps, func(s step) string { return s.name }))
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
		if saved := t.saved(c); saved != "" {
			ckpt.Describe("saved", mark+saved)
		}
		if where := c.storage(); where != "" {
			ckpt.Describe("storage", mark+where)
		}
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

// layout tells by the files which versions write an item in this way.
func (c *contents) layout() string {
	ocdbt := strings.HasPrefix(c.store, "OCDBT")
	switch {
	case c.hasMetadata && c.hasAggregate && c.tellsStore:
		return "for Orbax 0.4.2 and later"
	case c.hasMetadata && c.hasAggregate:
		return "as of Orbax 0.4.2 to 0.5.15"
	case c.hasMetadata:
		return "as of Orbax 0.5.16 and later"
	case c.hasAggregate && ocdbt:
		return "as of Orbax up to 0.4.1"
	case c.hasAggregate && c.store != "":
		return "as of Orbax up to 0.3"
	case c.store == plainArray:
		return "zarr"
	case c.store == "":
		return "Flax"
	}
	return "arrays without a tree"
}

// storage tells where the arrays lie and how they are encoded.
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

// counts lists what was counted, most first, with the counts where there are several.
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

// maxStepMetadata bounds _CHECKPOINT_METADATA, which holds users' own values too.
const maxStepMetadata = 1 << 20

// saved returns the time at which Orbax finished writing, or "" where nothing tells it.
func (t *tree) saved(c *contents) string {
	for dir := c.dir; ; dir = path.Dir(dir) {
		text, err := t.read(join(dir, "_CHECKPOINT_METADATA"), maxStepMetadata)
		if err == nil && text != nil {
			return commitTime(text)
		}
		if dir == "." {
			return ""
		}
	}
}

// commitTime reads commit_timestamp_nsecs. The rest is not worth an error.
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
