package ocdbt

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// openDir opens a database as the orbax package does: within the root of its directory.
func openDir(t testing.TB, dir string) (*DB, error) {
	t.Helper()
	root, closer, err := storage.Confine(storage.Local(dir), ".")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closer.Close() })
	db, err := Open(root, ".")
	if err == nil {
		t.Cleanup(func() { db.Close() })
	}
	return db, err
}

// readAll reads all values.
func readAll(db *DB) (map[string][]byte, error) {
	values := map[string][]byte{}
	for _, key := range db.Keys() {
		section, ok, err := db.Section(key)
		if err == nil && !ok {
			err = errors.New("a listed key is not there")
		}
		if err != nil {
			return nil, err
		}
		if values[key], err = io.ReadAll(section); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// Expected contents were read by TensorStore, which wrote the databases.
func TestSoundDatabases(t *testing.T) {
	text, err := os.ReadFile("testdata/sound/values.json")
	if err != nil {
		t.Fatal(err)
	}
	var samples map[string]json.RawMessage
	if err := json.Unmarshal(text, &samples); err != nil {
		t.Fatal(err)
	}
	delete(samples, "_comment")
	for name, sample := range samples {
		t.Run(name, func(t *testing.T) {
			var want struct{ Entries [][2][]byte }
			if err := json.Unmarshal(sample, &want); err != nil {
				t.Fatal(err)
			}
			db, err := openDir(t, filepath.Join("testdata/sound", name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := readAll(db)
			if err != nil {
				t.Fatal(err)
			}
			var keys []string
			for _, e := range want.Entries {
				key := string(e[0])
				keys = append(keys, key)
				if value, ok := got[key]; !ok || !bytes.Equal(value, e[1]) {
					t.Errorf("key %q: %x, want %x", key, value, e[1])
				}
			}
			if !slices.Equal(db.Keys(), keys) {
				t.Errorf("keys %q, want %q", db.Keys(), keys)
			}
			for _, absent := range []string{"\x00absent", "params/absent", "\xfe\xff"} {
				if _, ok := db.get(absent); ok {
					t.Errorf("key %q is found", absent)
				}
			}
		})
	}
}

func TestHostileDatabases(t *testing.T) {
	text, err := os.ReadFile("testdata/hostile/expect.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct{ Want string }
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			db, err := openDir(t, filepath.Join("testdata/hostile", name))
			if err == nil {
				_, err = readAll(db)
			}
			var bad *tensor.FormatError
			switch {
			case c.Want == "accept" && err != nil:
				t.Errorf("refused: %v", err)
			case c.Want == "reject" && err == nil:
				t.Errorf("accepted: %q", db.Keys())
			case err != nil && !errors.As(err, &bad):
				t.Errorf("%T %v is no *FormatError", err, err)
			case err != nil:
				t.Log(err)
			}
		})
	}
}

// Files that are opened are the file system's own, so that values can be mapped.
func TestSectionIsOverTheFile(t *testing.T) {
	db, err := openDir(t, "testdata/sound/all_indirect")
	if err != nil {
		t.Fatal(err)
	}
	section, _, err := db.Section(db.Keys()[0])
	if err != nil {
		t.Fatal(err)
	}
	outer, off, n := section.Outer()
	if _, ok := outer.(*os.File); !ok {
		t.Errorf("section is over a %T", outer)
	}
	v, _ := db.get(db.Keys()[0])
	if v.Offset != off || v.Length != n {
		t.Errorf("section of %d bytes at %d, value of %d at %d", n, off, v.Length, v.Offset)
	}
	db.Close()
	if _, err := section.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestLinksOutAreRefused(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "db")
	if err := os.CopyFS(dir, os.DirFS("testdata/sound/all_indirect")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "d"), filepath.Join(top, "d")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../d", filepath.Join(dir, "d")); err != nil {
		t.Skip(err)
	}
	var bad *tensor.FormatError
	if _, err := openDir(t, dir); !errors.As(err, &bad) {
		t.Errorf("got %v", err)
	}
}

func TestNoManifest(t *testing.T) {
	if _, err := openDir(t, t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want a file that does not exist", err)
	}
}

func TestSubdirectory(t *testing.T) {
	db, err := Open(os.DirFS("testdata"), "sound/transitive_base_path")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if values, err := readAll(db); err != nil || len(values) != 40 {
		t.Errorf("%d values, %v", len(values), err)
	}
}

// Every cut of a file and every changed byte of a blob is noticed.
func TestDamageIsNoticed(t *testing.T) {
	sound := fstest.MapFS{}
	err := fs.WalkDir(os.DirFS("testdata/sound/one_leaf"), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			data, _ := os.ReadFile(filepath.Join("testdata/sound/one_leaf", name))
			sound[name] = &fstest.MapFile{Data: data}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest := sound["manifest.ocdbt"]
	for i := range manifest.Data {
		for _, damaged := range [][]byte{manifest.Data[:i], flip(manifest.Data, i)} {
			sound["manifest.ocdbt"] = &fstest.MapFile{Data: damaged}
			if db, err := Open(sound, "."); err == nil {
				t.Errorf("byte %d: opens with keys %q", i, db.Keys())
			}
		}
	}
}

func flip(data []byte, i int) []byte {
	c := bytes.Clone(data)
	c[i] ^= 0x10
	return c
}

func sampleBlobs(f *testing.F, add func([]byte)) {
	for _, pattern := range []string{"testdata/sound/*/manifest.*", "testdata/hostile/*/manifest.ocdbt", "testdata/sound/*/d/*", "testdata/hostile/*/d/*"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			add(data)
		}
	}
}

func FuzzManifest(f *testing.F) {
	sampleBlobs(f, func(blob []byte) {
		if body, err := openEnvelope(blob, magicManifest, maxBlob); err == nil {
			f.Add(body)
		}
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseManifest(body)
		if err == nil && !m.empty && (m.root.offset < 0 || m.root.length < 0) {
			t.Errorf("root at %d of %d bytes", m.root.offset, m.root.length)
		}
	})
}

// FuzzNode reads a node body as the root of a database.
func FuzzNode(f *testing.F) {
	sampleBlobs(f, func(data []byte) {
		for len(data) >= minEnvelope {
			n := len(data)
			if at := bytes.Index(data[4:], []byte{0x0c, 0xdb, 0x20, 0xde}); at >= 0 {
				n = 4 + at
			}
			if body, err := openEnvelope(data[:n], magicNode, maxBlob); err == nil {
				f.Add(body)
			}
			data = data[n:]
		}
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		for height := range 3 {
			n, err := parseNode(body, height, "base/")
			if err != nil {
				continue
			}
			x := &indexer{db: &DB{}}
			at := subtree{height: height, prefix: "p", least: "p"}
			if height > 0 {
				x.children(n, at)
				continue
			}
			if x.leaf(n, at) == nil && !slices.IsSorted(x.db.keys) {
				t.Errorf("keys %q", x.db.keys)
			}
		}
	})
}

// FuzzEnvelope gives blobs with a right checksum any compressed body.
func FuzzEnvelope(f *testing.F) {
	sampleBlobs(f, func(blob []byte) { f.Add(blob) })
	f.Fuzz(func(t *testing.T, blob []byte) {
		openEnvelope(blob, magicNode, 1<<16)
		if body, err := decompress(blob, 1<<16); err == nil && len(body) > 1<<16 {
			t.Errorf("%d bytes", len(body))
		}
	})
}

// A few bytes can stand for long keys, each of which shares all but its end with the one before.
func TestKeysThatExpandAreRefused(t *testing.T) {
	const keys, length = 2000, 60000
	n := func(v uint64, times int) []byte {
		return bytes.Repeat(binary.AppendUvarint(nil, v), times)
	}
	body := slices.Concat([]byte{0, 0}, n(keys, 1),
		n(length-2, keys-1), n(length, 1), n(2, keys-1), make([]byte, length))
	for i := range keys - 1 {
		body = append(body, byte(i>>8)+1, byte(i))
	}
	body = slices.Concat(body, n(0, keys), make([]byte, keys))
	node, err := parseNode(body, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	x := &indexer{db: &DB{}}
	if err := x.leaf(node, subtree{}); err == nil || x.memory > maxIndex+length+entryBytes {
		t.Errorf("%d keys take %d bytes: %v", len(x.db.keys), x.memory, err)
	}
}

// Keys that are forgotten are gone, and the others have their values.
func TestForget(t *testing.T) {
	dir := t.TempDir()
	var entries []Entry
	for _, key := range []string{"a", "b/.zarray", "b/0", "c/.zarray", "c/0"} {
		entries = append(entries, Entry{Key: key, Value: Value{Inline: []byte("value of " + key)}})
	}
	if err := Write(dir, entries, nil); err != nil {
		t.Fatal(err)
	}
	db, err := openDir(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	db.Forget(func(key string) bool { return strings.HasSuffix(key, ".zarray") })
	if want := []string{"a", "b/0", "c/0"}; !slices.Equal(db.Keys(), want) {
		t.Errorf("%q, want %q", db.Keys(), want)
	}
	for _, key := range db.Keys() {
		section, _, err := db.Section(key)
		if err != nil {
			t.Fatal(err)
		}
		if value, err := io.ReadAll(section); string(value) != "value of "+key {
			t.Errorf("%s: %q, %v", key, value, err)
		}
	}
	if _, ok, err := db.Section("b/.zarray"); ok || err != nil {
		t.Errorf("a forgotten key is there, %v", err)
	}
}
