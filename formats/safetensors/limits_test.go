package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// fileOf returns a file whose header has n members.
func fileOf(n int, member func(i int) string) []byte {
	var header bytes.Buffer
	for i := range n {
		header.WriteString([]string{"{", ","}[min(i, 1)] + member(i))
	}
	header.WriteString("}")
	return append(binary.LittleEndian.AppendUint64(nil, uint64(header.Len())), header.Bytes()...)
}

func empty(name, shape string) string {
	return fmt.Sprintf(`%q:{"dtype":"F32","shape":[%s],"data_offsets":[0,0]}`, name, shape)
}

// Files that list more than the documented limits are refused by name, and those just below are read.
func TestLimits(t *testing.T) {
	ones := strings.Repeat("1,", 63) + "0"
	for name, tt := range map[string]struct {
		file   []byte
		reason tensor.Reason
	}{
		"most tensors": {fileOf(tensor.MaxTensors, func(i int) string { return empty(fmt.Sprint(i), "0") }), ""},
		"more tensors": {fileOf(tensor.MaxTensors+1, func(i int) string { return empty(fmt.Sprint(i), "0") }), tensor.TooLarge},
		"most axes":    {fileOf(tensor.MaxAxes/64, func(i int) string { return empty(fmt.Sprint(i), ones) }), ""},
		"more axes":    {fileOf(tensor.MaxAxes/64+1, func(i int) string { return empty(fmt.Sprint(i), ones) }), tensor.TooLarge},
		"long name":    {fileOf(1, func(int) string { return empty(strings.Repeat("x", tensor.MaxName+1), "0") }), tensor.TooLarge},
		"long names": {fileOf(tensor.MaxNames/tensor.MaxName+1, func(i int) string {
			return empty(fmt.Sprintf("%0*d", tensor.MaxName, i), "0")
		}), tensor.TooLarge},
		"metadata": {fileOf(1, func(int) string {
			var members []string
			for i := range tensor.MaxMetadata + 1 {
				members = append(members, fmt.Sprintf(`"%d":""`, i))
			}
			return `"__metadata__":{` + strings.Join(members, ",") + "}"
		}), tensor.TooLarge},
		"metadata text": {fileOf(1, func(int) string {
			return `"__metadata__":{"a":"` + strings.Repeat("x", tensor.MaxMetadataText) + `"}`
		}), tensor.TooLarge},
		"long header": {append(binary.LittleEndian.AppendUint64(nil, 60_000_001), "{}"+strings.Repeat(" ", 60_000_000)...), tensor.TooLarge},
	} {
		_, err := safetensors.NewReader(bytes.NewReader(tt.file), int64(len(tt.file)))
		if tensor.ReasonOf(err) != tt.reason || (err == nil) != (tt.reason == "") {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

// Limits are those of all files of a checkpoint together, and hold before the last file is read.
func TestLimitsOfShards(t *testing.T) {
	half := fileOf(tensor.MaxTensors/2+1, func(i int) string { return empty(fmt.Sprint(i), "0") })
	text := fileOf(1, func(int) string {
		return `"__metadata__":{"a":"` + strings.Repeat("x", tensor.MaxMetadataText/2) + `"}`
	})
	for name, file := range map[string][]byte{"tensors": half, "metadata": text} {
		source := fstest.MapFS{"a.safetensors": {Data: file}, "b.safetensors": {Data: file}, "c.safetensors": {Data: []byte("not read")}}
		if _, err := safetensors.Open(source, "."); tensor.ReasonOf(err) != tensor.TooLarge {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

func TestIndexLimits(t *testing.T) {
	for name, file := range map[string]func(i int) string{
		"tensors": func(int) string { return "model-00001-of-00001.safetensors" },
		"files":   func(i int) string { return fmt.Sprintf("%d.safetensors", i) },
	} {
		var text strings.Builder
		text.WriteString(`{"weight_map":{`)
		for i := range tensor.MaxTensors + 1 {
			fmt.Fprintf(&text, `"%d":%q,`, i, file(i))
		}
		text.WriteString(`"last":"x"}}`)
		source := fstest.MapFS{safetensors.IndexName: {Data: []byte(text.String())}}
		if _, err := safetensors.Open(source, safetensors.IndexName); tensor.ReasonOf(err) != tensor.TooLarge {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}
