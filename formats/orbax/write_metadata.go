package orbax

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/griffin-ckpt/griffin/formats/orbax/ocdbt"
	"github.com/griffin-ckpt/griffin/formats/storage"
)

// itemFiles are the files of an item besides the arrays, including conversion.json. The directory of an
// array cannot have one of these names.
var itemFiles = []string{"_METADATA", "_CHECKPOINT_METADATA", "_sharding", "_strings.json", "array_metadatas", "checkpoint", "commit_success.txt", "manifest.ocdbt", "conversion.json"}

// metadataFile is a file that describes the tree. That of many tensors is large: it is made as it is written.
type metadataFile struct {
	name  string
	write func(w *bufio.Writer)
}

// WriteTo implements io.WriterTo.
func (f metadataFile) WriteTo(to io.Writer) (int64, error) {
	counted := &storage.Counter{To: to}
	w := bufio.NewWriter(counted)
	f.write(w)
	err := w.Flush()
	return counted.N, err
}

// placed is an array of the tree. Its path is kept only while the tree is described, since there may be very many.
type placed struct {
	name string
	path []string
}

// metadata returns the files that describe the tree.
func (l *Layout) metadata() []metadataFile {
	arrays := make([]placed, len(l.arrays))
	for i, a := range l.arrays {
		arrays[i] = placed{a.name, splitName(a.name)}
	}
	slices.SortFunc(arrays, func(a, b placed) int { return slices.Compare(a.path, b.path) })
	text := func(s string) func(*bufio.Writer) { return func(w *bufio.Writer) { w.WriteString(s) } }
	return []metadataFile{
		{"checkpoint", func(w *bufio.Writer) { w.Write(encodePlaceholders(arrays)) }},
		{"_CHECKPOINT_METADATA", text(checkpointMetadata)},
		{CommitName, text("Checkpoint commit was successful")},
		{"_METADATA", func(w *bufio.Writer) { l.encodeMetadata(w, arrays) }},
	}
}

// File is a file of a checkpoint that is to be written.
type File struct {
	Name string // relative to the directory
	Size int64  // in bytes; -1 if it depends on the elements, because they are compressed
}

// Files returns the files whose names do not depend on the elements of tensors: all of a format without OCDBT, whose data files are named by their
// content.
func (l *Layout) Files() (all []File) {
	for _, f := range l.metadata() {
		size, _ := f.WriteTo(io.Discard) // which does not fail
		all = append(all, File{f.name, size})
	}
	if l.ocdbt {
		return append(all, File{ocdbt.ManifestName, -1})
	}
	for _, a := range l.arrays {
		key, text := a.Document()
		all = append(all, File{a.name + "/" + key, int64(len(text))})
		for n := range a.Chunks() {
			size := int64(-1)
			if !a.Compress {
				elements, padding := a.Run(n)
				size = elements + padding
			}
			all = append(all, File{a.name + "/" + a.Key(n), size})
		}
	}
	return all
}

// writeMetadata writes the files that describe the tree.
func (w *Writer) writeMetadata() error {
	for _, file := range w.layout.metadata() {
		f, err := w.made.Create(w.path(file.name))
		if err != nil {
			return err
		}
		_, err = file.WriteTo(f)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// checkpointMetadata names the handler of Orbax that reads the item. The times are unknown.
const checkpointMetadata = `{"item_handlers": "orbax.checkpoint._src.handlers.pytree_checkpoint_handler.PyTreeCheckpointHandler", ` +
	`"metrics": {}, "performance_metrics": {}, "init_timestamp_nsecs": null, "commit_timestamp_nsecs": null, "custom_metadata": {}}`

// encodeMetadata writes _METADATA. It declares numpy arrays, which Orbax restores without a sharding. JAX
// arrays would need a file _sharding that names the devices of the writer.
func (l *Layout) encodeMetadata(w *bufio.Writer, arrays []placed) {
	w.WriteString(`{"tree_metadata": {`)
	for i, a := range arrays {
		if i > 0 {
			w.WriteString(", ")
		}
		var reprs, keys []string
		for _, k := range a.path {
			reprs = append(reprs, pythonRepr(k))
			keys = append(keys, fmt.Sprintf(`{"key": %s, "key_type": %d}`, quoteJSON(k), dictKey))
		}
		tuple := "(" + strings.Join(reprs, ", ")
		if len(reprs) == 1 {
			tuple += ","
		}
		fmt.Fprintf(w, `%s: {"key_metadata": [%s], "value_metadata": {"value_type": "np.ndarray", "skip_deserialize": false}}`,
			quoteJSON(tuple+")"), strings.Join(keys, ", "))
	}
	fmt.Fprintf(w, `}, "use_ocdbt": %t, "use_zarr3": %t, "store_array_data_equal_to_fill_value": true, "custom_metadata": null}`,
		l.ocdbt, l.storage.Version == 3)
}

func quoteJSON(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // encoding a string does not fail
	return strings.TrimSuffix(b.String(), "\n")
}

// pythonRepr returns Python's repr of a string, which Orbax writes as the keys of tree_metadata.
func pythonRepr(s string) string {
	quote := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = `"`
	}
	var b strings.Builder
	b.WriteString(quote)
	for _, r := range s {
		switch {
		case string(r) == quote || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		case r < 0x80 && unicode.IsControl(r) || r < 0x100 && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case !unicode.IsPrint(r) && r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + quote
}

// encodePlaceholders returns the file "checkpoint", which Orbax up to 0.5.15 needs: the tree in msgpack,
// with the name of its array at each leaf. The arrays are sorted by path.
func encodePlaceholders(arrays []placed) []byte { return appendTree(nil, arrays, 0) }

// appendTree appends the subtree of arrays that share their first depth keys.
func appendTree(b []byte, arrays []placed, depth int) []byte {
	if len(arrays) == 1 && len(arrays[0].path) == depth {
		return appendText(b, "PLACEHOLDER://"+arrays[0].name)
	}
	var ends []int // of the subtrees
	for i, a := range arrays {
		if i+1 == len(arrays) || arrays[i+1].path[depth] != a.path[depth] {
			ends = append(ends, i+1)
		}
	}
	b = appendCount(b, len(ends), 0x80, 16, 0xde)
	begin := 0
	for _, end := range ends {
		b = appendText(b, arrays[begin].path[depth])
		b = appendTree(b, arrays[begin:end], depth+1)
		begin = end
	}
	return b
}

func appendText(b []byte, s string) []byte {
	if n := len(s); n >= 32 && n < 256 {
		b = append(b, 0xd9, byte(n))
	} else {
		b = appendCount(b, n, 0xa0, 32, 0xda)
	}
	return append(b, s...)
}

// appendCount appends the head of a msgpack value with n parts: in one byte, small+n, if n is less than
// fits; else in 2 bytes after the code wide, or in 4 bytes after the code wide+1.
func appendCount(b []byte, n int, small byte, fits int, wide byte) []byte {
	switch {
	case n < fits:
		return append(b, small|byte(n))
	case n < 1<<16:
		return append(b, wide, byte(n>>8), byte(n))
	}
	return append(b, wide+1, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
