package zarr

import (
	"strings"
	"testing"
)

func TestSharedDocuments(t *testing.T) {
	document := func(shape string) []byte {
		return []byte(`{"zarr_format":2,"shape":` + shape + `,"chunks":` + shape + `,"dtype":"<f4","compressor":null,"fill_value":null,"filters":null,"order":"C"}`)
	}
	store := memory{"a/.zarray": document("[2]"), "b/.zarray": document("[2]"), "c/.zarray": document("[3]"), "bad/.zarray": document("[-1]")}
	var known Documents
	open := func(name string, o Options) *Array {
		a, err := Open(store, name, o)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a, b, c := open("a", Options{Documents: &known}), open("b", Options{Documents: &known}), open("c", Options{Documents: &known, EveryChunk: true})
	if a.described != b.described || a.described == c.described || open("a", Options{}).described == a.described {
		t.Error("documents are not shared as they should be")
	}
	if a.name != "a" || b.name != "b" || a.everyChunk || !c.everyChunk || c.Shape[0] != 3 {
		t.Errorf("%+v, %+v, %+v", a, b, c)
	}
	if _, err := Open(store, "bad", Options{Documents: &known}); err == nil {
		t.Error("a wrong document is accepted")
	}
	for i := range 2 * maxShared {
		if _, err := known.describe(document("["+strings.Repeat(" ", i)+"2]"), 2); err != nil {
			t.Fatal(err)
		}
		if len(known.read) > maxShared {
			t.Fatalf("%d documents are kept", len(known.read))
		}
	}
}
