package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// Tensors are printed one by one as if the whole was printed at once.
func TestInspectionJSON(t *testing.T) {
	for n := range 3 {
		r := &inspection{Path: "a<b", Format: "x", Details: []detail{{"k", "v"}}, Metadata: map[string]string{"a": "[]\n}"}, Notes: []string{}, Tensors: []tensorEntry{}}
		for i := range n {
			r.Tensors = append(r.Tensors, tensorEntry{Name: fmt.Sprint("<", i), DType: "float32", Shape: []int64{2, int64(i)}})
		}
		var got, want bytes.Buffer
		check(t, r.printJSON(&got))
		check(t, printJSON(&want, r))
		if got.String() != want.String() {
			t.Errorf("%d tensors: got\n%s\nwant\n%s", n, &got, &want)
		}
	}
}

// A tree of names with many parts is not larger than the names make it.
func TestDeepTree(t *testing.T) {
	var tensors []tensorEntry
	for i := range 100 {
		tensors = append(tensors, tensorEntry{Name: strings.Repeat(fmt.Sprint("p", i, "."), 500) + "w", DType: "float32"})
	}
	var out bytes.Buffer
	printTree(&out, tensors)
	if most := 100 * 501 * 200; out.Len() > most {
		t.Errorf("%d bytes", out.Len())
	}
}
