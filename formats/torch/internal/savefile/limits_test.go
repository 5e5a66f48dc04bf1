package savefile

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Tensors that share a storage are read a bounded number of times the size of all storages, so that a few bytes do not
// take hours: fewer times if it has to be inflated for each.
func TestSharedStorages(t *testing.T) {
	const rows, cols = 1024, 2 << 10 // 8 MiB
	for _, tt := range []struct {
		names   int
		deflate bool
		reason  tensor.Reason
	}{
		{48, true, ""}, {49, true, tensor.TooLarge}, {96, false, ""}, {97, false, tensor.TooLarge},
	} {
		var names []string
		for i := range tt.names {
			names = append(names, fmt.Sprint("w", i))
		}
		text := pickled(rows, cols, names...)
		for i := range names { // all are in storage 0
			own := fmt.Sprintf("X%s%d", string([]byte{byte(len(fmt.Sprint(i))), 0, 0, 0}), i)
			text = strings.Replace(text, own+"X\x03\x00\x00\x00cpu", "X\x01\x00\x00\x000X\x03\x00\x00\x00cpu", 1)
		}
		file := zipped(t, part{"a/data.pkl", text, false}, part{"a/version", "3\n", false},
			part{"a/data/0", strings.Repeat("\x00", 4*rows*cols), tt.deflate})
		f, err := Read(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Checkpoint("", Options{}); tensor.ReasonOf(err) != tt.reason || (err == nil) != (tt.reason == "") {
			t.Errorf("%d tensors, deflated %t: %v", tt.names, tt.deflate, err)
		}
	}
}
