package ocdbt

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// A checkpoint of 200,000 arrays has two keys for each, and the documents of arrays of one shape are the same.
func TestManyArrays(t *testing.T) {
	const arrays = 200_000
	document := func(i int) []byte { return []byte(strings.Repeat(fmt.Sprint(i%7), 250)) }
	var entries []Entry
	for i := range arrays {
		name := fmt.Sprintf("params.blocks.%d.recurrent_block.rg_lru.input_gate.w/", i)
		entries = append(entries, Entry{name + ".zarray", Value{Inline: document(i)}}, Entry{name + "0.0", Value{File: DataDir + "/weights", Offset: int64(i), Length: 1}})
	}
	dir := t.TempDir()
	if err := Write(dir, entries, nil); err != nil {
		t.Fatal(err)
	}
	db, err := Open(os.DirFS(dir), ".")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if len(db.inline) != 7 || len(db.names) != 1 || len(db.keys) != 2*arrays {
		t.Errorf("%d values in the tree, %d file names, %d keys", len(db.inline), len(db.names), len(db.keys))
	}
	for _, e := range []Entry{entries[0], entries[1], entries[2*12345], entries[2*arrays-1]} {
		v, ok := db.get(e.Key)
		if !ok || string(v.Inline) != string(e.Value.Inline) || v.File != e.Value.File || v.Offset != e.Value.Offset || v.Length != e.Value.Length {
			t.Errorf("%s: %+v, not %+v", e.Key, v, e.Value)
		}
	}
}
