package orbax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/orbax/ocdbt"
	"github.com/griffin-ckpt/griffin/formats/orbax/zarr"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// store holds the arrays of an item.
type store interface {
	zarr.Store
	arrays() ([]string, error) // the names of all arrays
	forgetDocuments()          // once all arrays are open
	Close() error
}

// openStore opens the database or the directories that hold the arrays of the item in dir. useOCDBT
// is what _METADATA says; nil leaves it to the files. kind describes the store to users.
func (d *directory) openStore(dir string, useOCDBT *bool) (s store, kind string, err error) {
	merged, err := d.isFile(path.Join(dir, "manifest.ocdbt"))
	if err != nil {
		return nil, "", err
	}
	parts, err := d.processes(dir)
	if err != nil {
		return nil, "", err
	}
	use := merged || len(parts) > 0
	if useOCDBT != nil {
		use = *useOCDBT
	}
	switch {
	case !use:
		return arrayDirectories{zarr.DirStore(d.FS, dir), d, dir}, "zarr directories", nil
	case merged:
		db, err := ocdbt.Open(d.FS, dir)
		if err != nil {
			return nil, "", d.annotate(err, ".")
		}
		return database{db}, "OCDBT", nil
	case len(parts) > 0:
		s, err := d.openParts(parts)
		if len(parts) == 1 {
			return s, "OCDBT, the database of one process, which was never merged", err
		}
		return s, fmt.Sprintf("OCDBT, %d databases that were never merged", len(parts)), err
	}
	return nil, "", tensor.Bad("_METADATA says that there is an OCDBT database, but there is no manifest.ocdbt").In(d.in(dir)).
		Advise(incompleteHint)
}

// processes returns the directories of the databases that single processes wrote into dir.
func (d *directory) processes(dir string) ([]string, error) {
	inside, err := d.directories(dir)
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, name := range inside {
		if !strings.HasPrefix(name, processPrefix) {
			continue
		}
		is, err := d.isFile(path.Join(dir, name, "manifest.ocdbt"))
		if err != nil {
			return nil, err
		}
		if is {
			parts = append(parts, path.Join(dir, name))
		}
	}
	return parts, nil
}

// arrayNames returns the names of the arrays whose metadata documents are among the keys.
func arrayNames(keys []string) []string {
	var arrays []string
	for _, k := range keys {
		if name, ok := arrayName(k); ok {
			arrays = append(arrays, name)
		}
	}
	return arrays
}

// arrayName returns the array whose metadata document is stored under a key, and false if the key is
// not that of a document.
func arrayName(key string) (string, bool) {
	for _, document := range []string{"/.zarray", "/zarr.json"} {
		if name, ok := strings.CutSuffix(key, document); ok {
			return name, true
		}
	}
	return "", false
}

// database is a store in one OCDBT database.
type database struct{ *ocdbt.DB }

func (d database) arrays() ([]string, error) { return arrayNames(d.Keys()), nil }

func (d database) forgetDocuments() { d.Forget(isDocument) }

// isDocument reports whether a key is that of a metadata document.
func isDocument(key string) bool {
	_, ok := arrayName(key)
	return ok
}

// parts are the databases of several processes, which Orbax did not merge. Each process wrote its own
// chunks; metadata documents may be in several databases.
type parts []*ocdbt.DB

func (d *directory) openParts(dirs []string) (store, error) {
	var all parts
	for _, dir := range dirs {
		db, err := ocdbt.Open(d.FS, dir)
		if err != nil {
			all.Close()
			return nil, d.annotate(err, ".")
		}
		all = append(all, db)
	}
	if err := all.check(); err != nil {
		all.Close()
		return nil, d.annotate(err, ".")
	}
	return all, nil
}

// check refuses databases that disagree about a document or share a chunk.
func (p parts) check() error {
	first := map[string]*ocdbt.DB{}
	for _, db := range p {
		for _, k := range db.Keys() {
			before := first[k]
			if before == nil {
				first[k] = db
				continue
			}
			if !isDocument(k) {
				return tensor.Bad("chunk %q was written by two processes", k)
			}
			if same, err := sameValue(before, db, k); err != nil || !same {
				return errors.Join(err, tensor.Bad("two processes wrote different documents %q", k))
			}
		}
	}
	return nil
}

// maxDocument bounds the metadata document of an array, in bytes.
const maxDocument = 1 << 20

func sameValue(a, b *ocdbt.DB, key string) (bool, error) {
	var values [2][]byte
	for i, db := range []*ocdbt.DB{a, b} {
		s, _, err := db.Section(key)
		if err != nil || s.Size() > maxDocument {
			return false, err
		}
		if values[i], err = io.ReadAll(s); err != nil {
			return false, err
		}
	}
	return bytes.Equal(values[0], values[1]), nil
}

func (p parts) Section(key string) (*io.SectionReader, bool, error) {
	for _, db := range p {
		if s, ok, err := db.Section(key); ok || err != nil {
			return s, ok, err
		}
	}
	return nil, false, nil
}

func (p parts) arrays() ([]string, error) {
	var all []string
	for _, db := range p {
		all = append(all, arrayNames(db.Keys())...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (p parts) forgetDocuments() {
	for _, db := range p {
		db.Forget(isDocument)
	}
}

func (p parts) Close() error {
	var errs []error
	for _, db := range p {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}

// arrayDirectories is a store of one directory per array.
type arrayDirectories struct {
	*zarr.Dir
	top *directory
	dir string
}

// maxDirectories bounds the search for arrays. Some hold only other directories.
const maxDirectories = 2 * tensor.MaxTensors

// arrays finds the directories that hold a metadata document. The name of an array may contain
// slashes.
func (a arrayDirectories) arrays() ([]string, error) {
	var (
		found   []string
		visited int
	)
	err := fs.WalkDir(a.top.FS, a.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() || name == a.dir {
			return err
		}
		if visited++; visited > maxDirectories {
			return tensor.Bad("more than %d directories", maxDirectories).In(a.top.in(a.dir))
		}
		is, err := a.top.hasFile(name, ".zarray", "zarr.json")
		if err != nil || !is {
			return err
		}
		found = append(found, strings.TrimPrefix(name, strings.TrimPrefix(a.dir+"/", "./")))
		return fs.SkipDir
	})
	return found, err
}

func (a arrayDirectories) forgetDocuments() {}
