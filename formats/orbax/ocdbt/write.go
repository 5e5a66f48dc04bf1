package ocdbt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/orbax/internal/files"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// DataDir is the directory of the data files in a database.
const DataDir = "d"

// MaxInline is the size in bytes of the largest value that is stored in the tree itself, as by Orbax.
const MaxInline = 1024

// Entry is a key and its value.
type Entry struct {
	Key   string
	Value Value // Inline, or a range of an existing data file
}

// Write makes a database of one version in the directory dir, whose files it creates by files: first the nodes of the tree, in a data file of
// their own, then the manifest. The bytes do not depend on the order of the entries: identifiers are
// derived from the entries, and the time of the version is 1970. Two entries with one key, and entries
// that the format cannot hold, are a *tensor.FormatError. The entries are the function's own: it sorts and changes them.
//
// The caller syncs the data files that the entries refer to, and the directory.
func Write(dir string, entries []Entry, files *publish.OutputFiles) error {
	return write(entries, inDirectory(dir, files), nodeBytes)
}

// WriteFiles is Write for a place other than the local file system. create begins a file, whose name is relative to the database. It is
// complete when it is closed.
func WriteFiles(entries []Entry, create func(name string) (io.WriteCloser, error)) error {
	return write(entries, create, nodeBytes)
}

// inDirectory returns a function that creates files below a directory, which are synced when they are closed.
func inDirectory(dir string, files *publish.OutputFiles) func(name string) (io.WriteCloser, error) {
	return func(name string) (io.WriteCloser, error) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := files.Mkdir(filepath.Dir(path)); err != nil {
			return nil, err
		}
		f, err := files.Create(path)
		return syncedFile{f}, err
	}
}

type syncedFile struct{ *publish.OutputFile }

func (f syncedFile) Close() error { return errors.Join(f.Sync(), f.OutputFile.Close()) }

// nodeBytes is the approximate size of a node in bytes before it is encoded. TensorStore reads and decodes a
// whole node to find one key in it.
const nodeBytes = 64 << 10

func write(entries []Entry, create func(name string) (io.WriteCloser, error), nodeBytes int) error {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	if err := checkEntries(entries); err != nil {
		return err
	}
	id := identity(entries)
	var root *written
	if len(entries) > 0 {
		var err error
		if root, err = writeNodes(create, nodeFile(id), entries, nodeBytes); err != nil {
			return err
		}
	}
	manifest, err := encodeManifest(id, root)
	if err != nil {
		return err
	}
	f, err := create(ManifestName)
	if err != nil {
		return err
	}
	_, err = f.Write(manifest)
	return errors.Join(err, f.Close())
}

// writeNodes writes the tree to a new data file of that name and returns the root.
func writeNodes(create func(name string) (io.WriteCloser, error), name string, entries []Entry, nodeBytes int) (*written, error) {
	f, err := create(name)
	if err != nil {
		return nil, err
	}
	b := &builder{name: name, out: f, nodeBytes: nodeBytes}
	root, err := b.tree(entries)
	return &root, errors.Join(err, f.Close())
}

// checkEntries refuses entries that cannot be written. The entries are sorted.
func checkEntries(entries []Entry) error {
	for i, e := range entries {
		switch v := e.Value; {
		case len(e.Key) > maxKey:
			return tensor.Bad("key of %d bytes; the format allows %d", len(e.Key), maxKey).Within(tensor.Clip(e.Key))
		case i > 0 && e.Key == entries[i-1].Key:
			return tensor.Bad("two values of one key").Within(tensor.Clip(e.Key))
		case v.File != "" && !files.ValidName(v.File):
			return tensor.Bad("data file name %q is not a path within the database", v.File).Within(tensor.Clip(e.Key))
		case v.File != "" && (v.Offset < 0 || v.Length < 0 || v.Offset+v.Length < 0):
			return tensor.Bad("range at %d of %d bytes overflows", v.Offset, v.Length).Within(tensor.Clip(e.Key))
		}
	}
	return nil
}

// identity returns a hash of all entries, which replaces the random UUID of the manifest.
func identity(entries []Entry) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte("griffin ocdbt database\n"))
	var b []byte
	for _, e := range entries {
		b = binary.AppendUvarint(b[:0], uint64(len(e.Key)))
		b = append(b, e.Key...)
		b = binary.AppendUvarint(b, uint64(len(e.Value.File)))
		b = append(b, e.Value.File...)
		b = binary.AppendUvarint(b, uint64(e.Value.Offset))
		b = binary.AppendUvarint(b, uint64(e.Value.Length))
		b = binary.AppendUvarint(b, uint64(len(e.Value.Inline)))
		h.Write(append(b, e.Value.Inline...))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// nodeFile returns the name of the data file for the nodes, relative to the database.
func nodeFile(id [sha256.Size]byte) string { return DataDir + "/" + hex.EncodeToString(id[16:]) }
