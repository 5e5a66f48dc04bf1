package shardindex

import (
	"strings"
	"testing"
	"testing/fstest"
)

// An index of as many tensors as a checkpoint may have is read, whatever format the shards have.
func TestReadLong(t *testing.T) {
	const text = `{"weight_map": {"a": "x.bin"}}`
	long := func(size int) fstest.MapFS {
		return fstest.MapFS{"i.json": {Data: []byte(text + strings.Repeat(" ", size-len(text)))}}
	}
	if x, err := Read(long(maxSize), "i.json"); err != nil || x.Weights["a"] != "x.bin" {
		t.Error(err)
	}
	if _, err := Read(long(maxSize+1), "i.json"); err == nil || !strings.Contains(err.Error(), "longer than 60000000 bytes") {
		t.Error(err)
	}
	if _, err := Read(fstest.MapFS{"i.json": {Data: []byte("{}")}}, "i.json"); err == nil || !strings.HasPrefix(err.Error(), "i.json: JSON has no weight_map") {
		t.Error(err)
	}
}
