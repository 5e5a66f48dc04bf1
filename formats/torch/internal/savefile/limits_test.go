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

// Equal sizes of a pickle are one value in memory, which is counted once. They are of as many axes as tensors have, or stay tuples.
func TestSizes(t *testing.T) {
	l := newLoader(&container{}, nil)
	made := func(items ...any) any {
		t.Helper()
		v, err := l.makeSize([]any{&pickle.Tuple{Items: items}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	size := made(int64(300), int64(-1))
	kept := l.kept
	if list, ok := Integers(size); !ok || !slices.Equal(list, []int64{300, -1}) || kept < 16 {
		t.Errorf("%v, %t, %d bytes", list, ok, kept)
	}
	again, err := l.makeSize([]any{size})
	if err != nil || again != size || made(int64(300), int64(-1)) != size || l.kept != kept {
		t.Errorf("%v, %v, %d bytes", again, err, l.kept)
	}
	if made(int64(-1), int64(300)) == size || l.kept <= kept {
		t.Errorf("%d bytes", l.kept)
	}
	if both, err := l.axes(size.(*Size).tuple(), &pickle.Tuple{}); err != nil || !slices.Equal(both.shape, []int64{300, -1}) {
		t.Errorf("%v, %v", both, err)
	}
	if long, ok := made(slices.Repeat([]any{int64(1)}, MaxRank+1)...).(*pickle.Tuple); !ok || len(long.Items) != MaxRank+1 {
		t.Errorf("%v", long)
	}
	for i := len(l.sizes); i < maxSizes; i++ {
		made(int64(i), int64(1), int64(1))
	}
	if _, err := l.makeSize([]any{&pickle.Tuple{Items: []any{int64(7)}}}); tensor.ReasonOf(err) != tensor.TooLarge {
		t.Error(err)
	}
}

// The numbers of sizes that are no tensor's are listed as those of tuples are, and sizes can be keys.
func TestSizesInDicts(t *testing.T) {
	size := "ctorch\nSize\n(K\x02K\x03t\x85R"
	text := strings.Replace(pickled(2, 3, "w"), "(", "("+str("shapes")+"]("+size+size+"e"+str("sizes")+"}"+size, 1)
	text = strings.Replace(text, size+"X\x01\x00\x00\x00w", size+tensorIn(text)+"sX\x01\x00\x00\x00w", 1)
	parts := goodParts()
	parts[0].content = text
	c, err := openBytes(zipped(t, parts...))
	if err != nil {
		t.Fatal(err)
	}
	if c.Tensor("sizes.(2, 3)") == nil || c.Tensor("w") == nil {
		t.Errorf("%v", c.Tensors())
	}
	if d := fmt.Sprint(c.Details); !strings.Contains(d, "numbers (4)") {
		t.Error(d)
	}
}

// tensorIn returns what makes the tensor w in a pickle of it.
func tensorIn(text string) string {
	_, after, _ := strings.Cut(text, "X\x01\x00\x00\x00w")
	return strings.TrimSuffix(after, "u.")
}

// States of an optimizer that say of each of very many parameters where it is are read.
func TestManyPlaces(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	place := "cdeepspeed.utils.tensor_fragment\nfragment_address\n)\x81}(" + str("numel") + "J\x00\x00\x01\x00" + str("start") + "K\x00ub"
	var text strings.Builder
	text.WriteString("\x80\x02}")
	for i := range tensor.MaxTensors {
		text.WriteString(str(fmt.Sprintf("model.layers.%d.mlp_block.gate_proj.weight", i)) + place + "s")
	}
	parts := goodParts()
	parts[0].content = text.String() + strings.TrimSuffix(pickled(2, 3, "w"), ".")[len("\x80\x02}"):] + "."
	c, err := openBytes(zipped(t, parts...))
	if err != nil {
		t.Fatal(err)
	}
	if d := fmt.Sprint(c.Details); c.Tensor("w") == nil || !strings.Contains(d, "places of parameters (200000)") {
		t.Error(d)
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
