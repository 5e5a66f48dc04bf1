package ocdbt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestCursor(t *testing.T) {
	for _, tt := range []struct {
		data  []byte
		limit uint64
		want  uint64
		err   string
	}{
		{[]byte{0}, 9, 0, ""},
		{[]byte{0xac, 2}, 300, 300, ""},
		{[]byte{0xac, 2}, 299, 0, "exceeds 299"},
		{bytes.Repeat([]byte{0xff}, 9), math.MaxUint64, 0, "truncated"},
		{append(bytes.Repeat([]byte{0xff}, 9), 1), math.MaxUint64, math.MaxUint64, ""},
		{append(bytes.Repeat([]byte{0xff}, 9), 2), math.MaxUint64, 0, "shortest form"},
		{[]byte{0x81, 0}, 9, 0, "shortest form"},
		{nil, 9, 0, "truncated"},
	} {
		c := cursor{data: tt.data}
		got := c.varint(tt.limit)
		if err := c.end(); got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%x: %d, %v; want %d, %q", tt.data, got, err, tt.want, tt.err)
		}
	}
}

func TestReferences(t *testing.T) {
	paths := []dataFile{{name: "d/a"}}
	for _, tt := range []struct {
		file           uint32
		offset, length uint64
		ok             bool
	}{
		{0, 0, 0, true}, {0, math.MaxInt64, 0, true}, {0, math.MaxInt64, 1, false}, {0, 1, math.MaxInt64, false},
		{0, math.MaxUint64, 0, false}, {0, 0, math.MaxUint64, false}, {1, 0, 0, false},
	} {
		c := &cursor{}
		makeRef(c, paths, tt.file, tt.offset, tt.length)
		if (c.err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, c.err)
		}
	}
}

func TestDecompressionIsBounded(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := w.EncodeAll(make([]byte, 1000), nil)
	if body, err := decompress(frame, 1000); err != nil || len(body) != 1000 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	for name, frame := range map[string][]byte{
		"too large": w.EncodeAll(make([]byte, 1001), nil), "two frames": slices.Concat(frame, frame), "trailing": append(frame, 0), "cut": frame[:len(frame)-1],
	} {
		var bad *tensor.FormatError
		if _, err := decompress(frame, 1000); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// envelope wraps a body as a blob.
func envelope(magic uint32, body []byte) []byte {
	blob := binary.BigEndian.AppendUint32(nil, magic)
	blob = binary.LittleEndian.AppendUint64(blob, uint64(len(body)+18))
	blob = append(append(blob, 0, 0), body...)
	return binary.LittleEndian.AppendUint32(blob, crc32.Checksum(blob, castagnoli))
}

func TestEnvelopeLength(t *testing.T) {
	blob := envelope(magicNode, []byte("body"))
	if body, err := openEnvelope(blob, magicNode, 100); err != nil || string(body) != "body" {
		t.Errorf("%q, %v", body, err)
	}
	blob[4]++
	binary.LittleEndian.PutUint32(blob[len(blob)-4:], crc32.Checksum(blob[:len(blob)-4], castagnoli))
	if _, err := openEnvelope(blob, magicNode, 100); err == nil {
		t.Error("a wrong length is accepted")
	}
}

// leafBody is a leaf with one key and one inline value.
var leafBody = []byte{0, 0, 1, 1, 'k', 1, 0, 'v'}

func TestKeysRiseAcrossLeaves(t *testing.T) {
	x := &indexer{db: &DB{}}
	for round := range 2 {
		n, err := parseNode(leafBody, 0, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := x.leaf(n, subtree{}); (err == nil) != (round == 0) {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

func TestKeysRiseWithinANode(t *testing.T) {
	n, err := parseNode([]byte{0, 0, 2, 0, 1, 1, 'k', 'k', 1, 1, 0, 0, 'v', 'w'}, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.keys.key(); err != nil {
		t.Error(err)
	}
	if key, err := n.keys.key(); err == nil {
		t.Errorf("a second %q is accepted", key)
	}
}

func TestDataFileIsADirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/sound/one_leaf")); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "d/*"))
	for _, name := range names {
		os.Remove(name)
		os.Mkdir(name, 0o777)
	}
	var bad *tensor.FormatError
	if _, err := openDir(t, dir); !errors.As(err, &bad) || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
}

// TestTimesRise: a manifest whose commits are not in the order of time is refused, as TensorStore does.
func TestTimesRise(t *testing.T) {
	for _, c := range []struct {
		times []uint64
		ok    bool
	}{{nil, true}, {[]uint64{5}, true}, {[]uint64{5, 6, 1 << 63}, true}, {[]uint64{5, 4}, false}, {[]uint64{1 << 63, 2}, false}} {
		var data []byte
		for _, x := range c.times {
			data = binary.LittleEndian.AppendUint64(data, x)
		}
		r := cursor{data: data}
		readTimes(&r, len(c.times))
		if (r.err == nil) != c.ok {
			t.Errorf("%v: %v", c.times, r.err)
		}
	}
}

// TestSharedBase: the bytes that two paths share may reach beyond the base of one only if both have the same base.
func TestSharedBase(t *testing.T) {
	for _, c := range []struct {
		prefix, first, second byte // bytes that are shared, and the lengths of the bases
		ok                    bool
	}{{2, 0, 0, true}, {2, 2, 2, true}, {2, 0, 1, false}, {2, 2, 1, false}, {2, 2, 3, true}, {1, 2, 1, true}} {
		r := cursor{data: append([]byte{2, c.prefix, 3, 3 - c.prefix, c.first, c.second}, ("d/a" + "d/b"[c.prefix:])...)}
		paths := readPaths(&r, "")
		if err := r.end(); (err == nil) != c.ok || c.ok && paths[1] != (dataFile{"d/b", int(c.second)}) {
			t.Errorf("%v: %v, %v", c, paths, err)
		}
	}
}
