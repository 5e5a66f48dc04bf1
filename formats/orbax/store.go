package orbax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	Close() error
}

// openStore opens the database or directories that hold the arrays of the item in dir. Without a
// word from _METADATA the files decide. kind is for people.
func (t *tree) openStore(dir string, useOCDBT *bool) (s store, kind string, err error) {
	merged, err := t.isFile(join(dir, "manifest.ocdbt"))
	if err != nil {
		return nil, "", err
	}
	parts, err := t.processes(dir)
	if err != nil {
		return nil, "", err
	}
	use := merged || len(parts) > 0
	if useOCDBT != nil {
		use = *useOCDBT
	}
	switch {
	case !use:
		return directories{zarr.DirStore(t.fsys, dir), t, dir}, "zarr directories", nil
	case merged:
		db, err := ocdbt.Open(t.fsys, dir)
		if err != nil {
			return nil, "", t.within(".", err)
		}
		return database{db}, "OCDBT", nil
	case len(parts) > 0:
		s, err := t.openParts(parts)
		return s, fmt.Sprintf("OCDBT, %d databases that were never merged", len(parts)), err
	}
	return nil, "", tensor.Bad("_METADATA tells of an OCDBT database, but there is no manifest.ocdbt").In(t.in(dir)).
		Advise("is the download complete?")
}

// processes returns the directories of databases that single processes wrote into dir.
func (t *tree) processes(dir string) ([]string, error) {
	inside, err := t.directories(dir)
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, name := range inside {
		if !strings.HasPrefix(name, processPrefix) {
			continue
		}
		is, err := t.isFile(join(dir, name) + "/manifest.ocdbt")
		if err != nil {
			return nil, err
		}
		if is {
			parts = append(parts, join(dir, name))
		}
	}
	return parts, nil
}

// arrayNames returns what precedes the metadata documents among the keys of a database.
func arrayNames(keys []string) []string {
	var arrays []string
	for _, k := range keys {
		if name, ok := arrayName(k); ok {
			arrays = append(arrays, name)
		}
	}
	return arrays
}

// arrayName returns whose metadata document a key is.
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

// parts are the databases of several processes that Orbax did not get to merge. Each process wrote
// its own chunks; metadata documents may be in several of them.
type parts []*ocdbt.DB

func (t *tree) openParts(dirs []string) (store, error) {
	var all parts
	for _, dir := range dirs {
		db, err := ocdbt.Open(t.fsys, dir)
		if err != nil {
			all.Close()
			return nil, t.within(".", err)
		}
		all = append(all, db)
	}
	if err := all.check(); err != nil {
		all.Close()
		return nil, t.within(".", err)
	}
	return all, nil
}

// check refuses what two databases tell differently.
func (p parts) check() error {
	first := map[string]*ocdbt.DB{}
	for _, db := range p {
		for _, k := range db.Keys() {
			before := first[k]
			if before == nil {
				first[k] = db
				continue
			}
			if _, isDocument := arrayName(k); !isDocument {
				return tensor.Bad("chunk %q was written by two processes", k)
			}
			if same, err := sameValue(before, db, k); err != nil || !same {
				return errors.Join(err, tensor.Bad("two processes disagree about %q", k))
			}
		}
	}
	return nil
}

// maxDocument bounds a metadata document of an array.
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

func (p parts) Close() error {
	var errs []error
	for _, db := range p {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}

// directories is a store of one directory an array.
type directories struct {
	*zarr.Dir
	tree *tree
	dir  string
}

// maxDirectories bounds the search for arrays.
const maxDirectories = 1 << 17

// arrays finds the directories with a metadata document. A name with slashes lies deeper.
func (d directories) arrays() ([]string, error) {
	var (
		found   []string
		visited int
	)
	err := fs.WalkDir(d.tree.fsys, d.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() || name == d.dir {
			return err
		}
		if visited++; visited > maxDirectories {
			return tensor.Bad("more than %d directories", maxDirectories).In(d.tree.in(d.dir))
		}
		for _, document := range []string{"/.zarray", "/zarr.json"} {
			if is, err := d.tree.isFile(name + document); err != nil {
				return err
			} else if is {
				found = append(found, strings.TrimPrefix(name, strings.TrimPrefix(d.dir+"/", "./")))
				return fs.SkipDir
			}
		}
		return nil
	})
	return found, err
}
