package ocdbt

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeEntries makes entries of all kinds of keys and values, and the data file that they refer to.
func writeEntries(t *testing.T, dir string, rng *rand.Rand, n int) ([]Entry, map[string][]byte) {
	t.Helper()
	data := make([]byte, 1<<16)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	if err := os.MkdirAll(filepath.Join(dir, DataDir), 0o777); err != nil {
		t.Fatal(err)
	}
	files := []string{DataDir + "/one", DataDir + "/other", "elsewhere"}
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var entries []Entry
	want := map[string][]byte{}
	for len(entries) < n {
		k := fmt.Sprintf("params.blocks.%d.%s/%d.0", rng.IntN(40), strings.Repeat("x", rng.IntN(9)), rng.IntN(1000))
		switch rng.IntN(20) {
		case 0:
			k = strings.Repeat("k", rng.IntN(700))
		case 1:
			k = string(rune(rng.IntN(300))) + "\x00"
		}
		if want[k] != nil {
			continue
		}
		v := Value{File: files[rng.IntN(3)], Offset: rng.Int64N(30000), Length: rng.Int64N(30000)}
		want[k] = data[v.Offset : v.Offset+v.Length]
		if size := []int{0, 7, 200, MaxInline, MaxInline + 1, 5000}[rng.IntN(6)]; rng.IntN(2) == 0 {
			v = Value{Inline: data[v.Offset : v.Offset+int64(size)]}
			want[k] = v.Inline
		}
		entries = append(entries, Entry{k, v})
	}
	return entries, want
}

func TestWrittenDatabasesAreReadBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	heights := map[int]bool{}
	for _, n := range []int{0, 1, 2, 3, 5, 30, 1000, 3000} {
		for _, nodeBytes := range []int{1, 300, 4000, nodeBytes} {
			dir := t.TempDir()
			entries, want := writeEntries(t, dir, rng, n)
			if err := write(entries, inDirectory(dir, nil), nodeBytes); err != nil {
				t.Fatal(err)
			}
			db, err := Open(os.DirFS(dir), ".")
			if err != nil {
				t.Fatalf("%d keys in nodes of %d bytes: %v", n, nodeBytes, err)
			}
			if len(db.Keys()) != n {
				t.Errorf("%d keys, not %d", len(db.Keys()), n)
			}
			for k, v := range want {
				s, ok, err := db.Section(k)
				if !ok || err != nil {
					t.Fatalf("%d keys in nodes of %d bytes: %q: %v", n, nodeBytes, k, err)
				}
				if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, v) {
					t.Errorf("%d keys in nodes of %d bytes: another value of %q: %v", n, nodeBytes, k, err)
				}
			}
			for _, e := range entries {
				v, _ := db.get(e.Key)
				if want := e.Value.File == "" && len(e.Value.Inline) <= MaxInline; (v.File == "") != want {
					t.Errorf("%q of %d bytes: inline is not %t", e.Key, len(e.Value.Inline), want)
				}
			}
			m, err := db.readManifest(ManifestName)
			if err != nil {
				t.Fatal(err)
			}
			heights[m.height] = true
			db.Close()
		}
	}
	for h := range 4 {
		if !heights[h] {
			t.Errorf("no tree of height %d was made", h)
		}
	}
}

func TestWrittenDatabasesDoNotDependOnTheOrder(t *testing.T) {
	var manifests, nodes []string
	for i := range uint64(2) {
		dir := t.TempDir()
		entries, _ := writeEntries(t, dir, rand.New(rand.NewPCG(1, 1)), 500)
		rand.New(rand.NewPCG(i, 0)).Shuffle(len(entries), func(a, b int) { entries[a], entries[b] = entries[b], entries[a] })
		if err := Write(dir, entries, nil); err != nil {
			t.Fatal(err)
		}
		files, _ := filepath.Glob(filepath.Join(dir, DataDir, "????????????????????????????????"))
		if len(files) != 1 {
			t.Fatalf("node files: %q", files)
		}
		manifests, nodes = append(manifests, content(t, filepath.Join(dir, ManifestName))), append(nodes, files[0][len(dir):]+content(t, files[0]))
	}
	if manifests[0] != manifests[1] || nodes[0] != nodes[1] {
		t.Error("the order of the entries shows")
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteRefuses(t *testing.T) {
	for _, tt := range []struct {
		entries []Entry
		want    string
	}{
		{[]Entry{{"a", Value{}}, {"b", Value{}}, {"a", Value{}}}, "a: two values of one key"},
		{[]Entry{{strings.Repeat("a", 1<<16), Value{}}}, "key of 65536 bytes"},
		{[]Entry{{"a", Value{File: "../x"}}}, `a: data file name "../x" is not a path within the database`},
		{[]Entry{{"a", Value{File: "/x"}}}, "not a path"},
		{[]Entry{{"a", Value{File: "x", Offset: 1 << 62, Length: 1 << 62}}}, "overflows"},
		{[]Entry{{"a", Value{File: "x", Offset: -1}}}, "overflows"},
	} {
		dir := t.TempDir()
		err := Write(dir, tt.entries, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, not %s", err, tt.want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: files are left", tt.want)
		}
	}
}

// TestManifestOfAnEmptyVersion: a version without a root has no keys, and no bytes of nodes or values.
func TestManifestOfAnEmptyVersion(t *testing.T) {
	blob, err := encodeManifest([sha256.Size]byte{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := openEnvelope(blob, magicManifest, maxBlob)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := parseManifest(body); err != nil || !m.empty {
		t.Fatalf("%+v, %v", m, err)
	}
	for at := len(body) - 12; at < len(body)-9; at++ { // before 8 bytes of a time and one that counts nodes of versions
		damaged := slices.Clone(body)
		damaged[at] = 4
		if _, err := parseManifest(damaged); err == nil || !strings.Contains(err.Error(), "has no root, but height") {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}
