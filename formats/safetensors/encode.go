package safetensors

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// header encodes the JSON of a header as serde_json does: without spaces, and with the escapes that
// JSON requires. It writes the text in pieces.
type header struct {
	w       io.Writer
	text    []byte // not written yet
	written int64
	err     error
}

func newHeader(w io.Writer, metadata map[string]string) *header {
	h := &header{w: w, text: []byte("{")}
	if metadata == nil {
		return h
	}
	h.text = append(h.text, `"__metadata__":{`...)
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if i > 0 {
			h.text = append(h.text, ',')
		}
		h.text = appendString(h.text, key, false)
		h.text = append(h.text, ':')
		h.text = appendString(h.text, metadata[key], false)
	}
	h.text = append(h.text, '}')
	return h
}

// entry adds a tensor whose data are the bytes from begin to end.
func (h *header) entry(s *tensor.Spec, begin, end int64) {
	if h.written+int64(len(h.text)) > 1 {
		h.text = append(h.text, ',')
	}
	shape, dtype := s.Shape, s.DType
	if dtype == tensor.F4x2 {
		shape = slices.Clone(shape)
		shape[len(shape)-1] *= 2
		dtype = tensor.F4
	}
	h.text = appendString(h.text, s.Name, false)
	h.text = append(h.text, `:{"dtype":"`...)
	h.text = append(h.text, dtype.Safetensors()...)
	h.text = append(h.text, `","shape":[`...)
	for i, n := range shape {
		if i > 0 {
			h.text = append(h.text, ',')
		}
		h.text = strconv.AppendInt(h.text, n, 10)
	}
	h.text = append(h.text, `],"data_offsets":[`...)
	h.text = strconv.AppendInt(h.text, begin, 10)
	h.text = append(h.text, ',')
	h.text = strconv.AppendInt(h.text, end, 10)
	h.text = append(h.text, `]}`...)
	if len(h.text) >= 64<<10 {
		h.flush()
	}
}

func (h *header) flush() {
	if h.err == nil {
		_, h.err = h.w.Write(h.text)
	}
	h.written += int64(len(h.text))
	h.text = h.text[:0]
}

// finish writes the rest of the text, padded so that the data begins at a multiple of 8. It returns the length of the text.
func (h *header) finish() (int64, error) {
	h.text = append(h.text, '}')
	for (h.written+int64(len(h.text)))%8 != 0 {
		h.text = append(h.text, ' ')
	}
	h.flush()
	return h.written, h.err
}

// encodeIndex returns the shard index as Python's json.dumps(indent=2, sort_keys=True) writes it.
func (l *Layout) encodeIndex(specs []tensor.Spec, elements, total int64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n  \"metadata\": {\n    \"total_parameters\": %d,\n    \"total_size\": %d\n  },\n  \"weight_map\": {", elements, total)
	order := make([]int32, len(specs))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return strings.Compare(specs[a].Name, specs[b].Name) })
	for i, k := range order {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    ")
		b.Write(appendString(b.AvailableBuffer(), specs[k].Name, true))
		b.WriteString(": ")
		b.Write(appendString(b.AvailableBuffer(), l.Files[l.Ranges[k].File].Name, true))
	}
	b.WriteString("\n  }\n}\n")
	return b.Bytes()
}

// appendString appends s in quotes. With ascii it escapes everything but printable ASCII, as Python does
// by default; without, only what JSON requires, as serde_json does. Both use the same short escapes.
func appendString(b []byte, s string, ascii bool) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' && shortEscapes[r] != 0:
			b = append(b, '\\', shortEscapes[r])
		case r < ' ' || ascii && r >= 0x7f && r <= 0xffff:
			b = fmt.Appendf(b, `\u%04x`, r)
		case ascii && r > 0xffff:
			r -= 0x10000
			b = fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

var shortEscapes = [' ']byte{'\b': 'b', '\t': 't', '\n': 'n', '\f': 'f', '\r': 'r'}
