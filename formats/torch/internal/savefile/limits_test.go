package savefile

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
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
		f, err := Read("", bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Checkpoint("", Options{}); tensor.ReasonOf(err) != tt.reason || (err == nil) != (tt.reason == "") {
			t.Errorf("%d tensors, deflated %t: %v", tt.names, tt.deflate, err)
		}
	}
}

// A file of as many tensors as griffin reads is read, whether each has its own storage or all share one, and whether the pickle
// is deflated.
func TestMostTensors(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	names := make([]string, tensor.MaxTensors)
	for i := range names {
		names[i] = fmt.Sprintf("model.layers.%d.mlp_block.gate_proj.weight", i)
	}
	parts := []part{{"a/data.pkl", pickled(1, 1, names...), false}, {"a/version", "3\n", false}}
	for i := range names {
		parts = append(parts, part{fmt.Sprint("a/data/", i), string([]byte{byte(i), byte(i >> 8), byte(i >> 16), 0}), false})
	}
	check := func(file []byte) {
		t.Helper()
		c, err := openBytes(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, 1, 123_456, len(names) - 1} {
			var got [4]byte
			if _, err := c.Tensor(names[i]).ReadAt(got[:], 0); err != nil || got != [4]byte{byte(i), byte(i >> 8), byte(i >> 16), 0} {
				t.Errorf("tensor %d is % x, %v", i, got, err)
			}
		}
	}
	check(zipped(t, parts...))
	parts[0].deflate = true
	check(zipped(t, parts...))
}

// Tensors have as many different sizes as there are different tensors in a checkpoint, and not many more.
func TestManySizes(t *testing.T) {
	l := newLoader(&container{}, nil)
	tuple := func(n int) *pickle.Tuple { return &pickle.Tuple{Items: []any{int64(n)}} }
	for i := range maxSizes {
		if _, err := l.axes(tuple(i), tuple(1)); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := l.axes(tuple(7), tuple(1)); err != nil || !slices.Equal(a.shape, []int64{7}) || !slices.Equal(a.strides, []int64{1}) {
		t.Errorf("%v, %v", a, err)
	}
	if _, err := l.axes(tuple(7), tuple(2)); tensor.ReasonOf(err) != tensor.TooLarge {
		t.Error(err)
	}
}

// Sizes and strides are told apart, also if all numbers together are the same.
func TestAxes(t *testing.T) {
	l := newLoader(&container{}, nil)
	seen := map[*axes]bool{}
	for _, c := range [][2][]any{{{int64(1), int64(2)}, {int64(3)}}, {{int64(1)}, {int64(2), int64(3)}}, {{}, {int64(1), int64(2), int64(3)}}, {{int64(-1)}, {int64(1)}}, {{int64(1)}, {int64(-1)}}} {
		a, err := l.axes(&pickle.Tuple{Items: c[0]}, &pickle.Tuple{Items: c[1]})
		if err != nil || len(a.shape) != len(c[0]) || len(a.strides) != len(c[1]) || seen[a] {
			t.Errorf("%v: %v, %v", c, a, err)
		}
		seen[a] = true
	}
}

// A zip file has a bounded number of members.
func TestManyMembers(t *testing.T) {
	parts := goodParts()
	for i := range maxMembers {
		parts = append(parts, part{name: fmt.Sprint("a/", i)})
	}
	file := zipped(t, parts...)
	if _, err := readArchive(bytes.NewReader(file), int64(len(file))); tensor.ReasonOf(err) != tensor.TooLarge {
		t.Error(err)
	}
}
