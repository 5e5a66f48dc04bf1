package flax

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// mapOf is a map of the keys key(0), key(1), …, all with the same value.
func mapOf(n int, key func(int) string, value string) string {
	var b strings.Builder
	b.WriteString("\xdf")
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
	for i := range n {
		k := key(i)
		b.WriteString("\xda")
		b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(k))))
		b.WriteString(k + value)
	}
	return b.String()
}

func numbers(i int) string { return fmt.Sprintf("model.layers.%d.mlp", i) }

func constant(key string) func(int) string { return func(int) string { return key } }

const oneByte = "\xc7\x0c\x01\x93\x91\x01\xa5uint8\xc4\x01\x07" // an array

func TestManyArrays(t *testing.T) {
	for _, test := range []struct {
		name, file string
		tensors    int
	}{
		{"arrays", mapOf(tensor.MaxTensors, numbers, oneByte), tensor.MaxTensors},
		{"an array in each map", mapOf(tensor.MaxTensors, numbers, mapOf(1, constant("kernel"), oneByte)), tensor.MaxTensors},
		{"too many arrays", mapOf(tensor.MaxTensors+1, numbers, oneByte), 0},
	} {
		c, err := NewReader(strings.NewReader(test.file), int64(len(test.file)))
		switch {
		case test.tensors == 0:
			if !isTooLarge(err) {
				t.Errorf("%s: %v", test.name, err)
			}
		case err != nil || len(c.Tensors()) != test.tensors:
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func isTooLarge(err error) bool {
	var bad *tensor.FormatError
	return errors.As(err, &bad) && bad.Reason == tensor.TooLarge
}

// The length of a path of keys is bounded, since each value has one: a file of a few megabytes could give gigabytes of names.
func TestLongNames(t *testing.T) {
	deep := func(depth, key int, value string) string {
		for range depth {
			value = mapOf(1, constant(strings.Repeat("k", key)), value)
		}
		return value
	}
	for _, test := range []struct {
		name, file string
		fits       bool
	}{
		{"one key", deep(1, tensor.MaxName, oneByte), true},
		{"a longer key", deep(1, tensor.MaxName+1, oneByte), false},
		{"two keys with the dot", deep(2, (tensor.MaxName-1)/2, oneByte), true},
		{"two keys", deep(2, tensor.MaxName/2, oneByte), false},
		{"nothing but a None below", deep(2, tensor.MaxName/2, "\xc0"), false},
		{"in lists", deep(1, tensor.MaxName-3, "\x91\x91"+oneByte), false},
		{"after a map that ended", mapOf(2, func(i int) string { return strings.Repeat("k", 2100+i) }, deep(1, 1900, oneByte)), true},
	} {
		_, err := NewReader(strings.NewReader(test.file), int64(len(test.file)))
		if test.fits && err != nil || !test.fits && !isTooLarge(err) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// All names together are bounded as well: a long path that many arrays share is in each of their names.
func TestManyLongNames(t *testing.T) {
	file := mapOf(1, constant(strings.Repeat("k", 4000)), mapOf(10_000, numbers, oneByte))
	if _, err := NewReader(strings.NewReader(file), int64(len(file))); !isTooLarge(err) {
		t.Error(err)
	}
}

func TestSizes(t *testing.T) {
	if node, array := unsafe.Sizeof(Node{}), unsafe.Sizeof(dense{}); node > nodeBytes || array > arrayBytes {
		t.Errorf("a node takes %d bytes and an array %d, not %d and %d", node, array, nodeBytes, arrayBytes)
	}
}
