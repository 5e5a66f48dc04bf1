package pickle_test

import (
	"archive/zip"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	gopickle "github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"

	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// class stands, in a pickle that gopickle reads, for any class or function.
type class struct{ module, name string }

// instance is what gopickle makes of a class: it records what happens to it, as an Object does.
type instance struct {
	class   any // *class or *instance
	args    []any
	state   any
	items   []any
	entries []types.DictEntry
}

func (c *class) Call(args ...any) (any, error)     { return &instance{class: c, args: args}, nil }
func (c *class) PyNew(args ...any) (any, error)    { return &instance{class: c, args: args}, nil }
func (i *instance) Call(args ...any) (any, error)  { return &instance{class: i, args: args}, nil }
func (i *instance) PyNew(args ...any) (any, error) { return &instance{class: i, args: args}, nil }
func (i *instance) PySetState(state any) error     { i.state = state; return nil }
func (i *instance) Append(v any)                   { i.items = append(i.items, v) }
func (i *instance) Set(key, value any) {
	i.entries = append(i.entries, types.DictEntry{Key: key, Value: value})
}

// python3Modules are modules that protocols 0 to 2 name as Python 2 did. Package pickle gives today's names.
var python3Modules = map[string]string{"__builtin__": "builtins", "copy_reg": "copyreg"}

// persistent is a persistent id in the value that either reader gives.
type persistent struct{ id any }

// readWithGopickle reads a pickle with gopickle, which is independent of package pickle.
func readWithGopickle(data []byte) (any, error) {
	u := gopickle.NewUnpickler(bytes.NewReader(data))
	u.FindClass = func(module, name string) (any, error) {
		return &class{cmp.Or(python3Modules[module], module), name}, nil
	}
	u.PersistentLoad = func(id any) (any, error) { return persistent{id}, nil }
	return u.Load()
}

// describe writes a value that either reader gave in one way.
func describe(v any) string { return (&describer{}).value(v) }

// describer describes values. An object can hold itself: path has what contains the value at hand.
type describer struct{ path []any }

func (d *describer) value(v any) string {
	if v != nil && reflect.TypeOf(v).Kind() == reflect.Pointer {
		if at := slices.Index(d.path, v); at >= 0 {
			return fmt.Sprintf("itself, %d levels up", len(d.path)-at)
		}
		d.path = append(d.path, v)
		defer func() { d.path = d.path[:len(d.path)-1] }()
	}
	switch v := v.(type) {
	case nil:
		return "None"
	case persistent:
		return "persistent" + d.value(v.id)
	case string:
		return fmt.Sprintf("%q", v)
	case bool, int, int64, float64, *big.Int:
		return fmt.Sprint(v)

	case pickle.Bytes:
		return fmt.Sprintf("%d bytes", v)
	case []byte:
		return fmt.Sprintf("%d bytes", len(v))
	case *types.ByteArray:
		return fmt.Sprintf("%d bytes", len(*v))

	case *pickle.Tuple:
		return "(" + d.all(v.Items) + ")"
	case *types.Tuple:
		return "(" + d.all(*v) + ")"
	case *pickle.List:
		return "[" + d.all(v.Items) + "]"
	case *types.List:
		return "[" + d.all(*v) + "]"
	case *pickle.Set:
		return d.set(v.Items)
	case *types.FrozenSet:
		var items []any
		for item := range *v {
			items = append(items, item)
		}
		return d.set(items)
	case *types.Set:
		var items []any
		for item := range *v {
			items = append(items, item)
		}
		return d.set(items)

	case *pickle.Dict:
		var entries []types.DictEntry
		for _, e := range v.Entries {
			entries = append(entries, types.DictEntry{Key: e.Key, Value: e.Value})
		}
		return "{" + d.entries(entries) + "}"
	case *types.Dict:
		return "{" + d.entries(*v) + "}"
	case *types.OrderedDict:
		var entries []types.DictEntry
		for e := v.List.Front(); e != nil; e = e.Next() {
			entry := e.Value.(*types.OrderedDictEntry)
			entries = append(entries, types.DictEntry{Key: entry.Key, Value: entry.Value})
		}
		return "{" + d.entries(entries) + "}"

	case *pickle.Global:
		return "<" + v.Module + "." + v.Name + ">"
	case *class:
		return "<" + v.module + "." + v.name + ">"
	case *pickle.Object:
		var entries []types.DictEntry
		for _, e := range v.Entries {
			entries = append(entries, types.DictEntry{Key: e.Key, Value: e.Value})
		}
		return d.instance(v.Class, v.Args.Items, v.State, v.Items, entries)
	case *instance:
		return d.instance(v.class, v.args, v.state, v.items, v.entries)
	}
	return fmt.Sprintf("unexpected %T", v)
}

func (d *describer) instance(class any, args []any, state any, items []any, entries []types.DictEntry) string {
	return d.value(class) + "(" + d.all(args) + ") state " + d.value(state) + " [" + d.all(items) + "] {" + d.entries(entries) + "}"
}

func (d *describer) all(items []any) string {
	var all []string
	for _, v := range items {
		all = append(all, d.value(v))
	}
	return strings.Join(all, ", ")
}

func (d *describer) set(items []any) string {
	var all []string
	for _, v := range items {
		all = append(all, d.value(v))
	}
	slices.Sort(all) // the order of a set means nothing
	return "set(" + strings.Join(all, ", ") + ")"
}

func (d *describer) entries(entries []types.DictEntry) string {
	var all []string
	for _, e := range entries {
		all = append(all, d.value(e.Key)+": "+d.value(e.Value))
	}
	return strings.Join(all, ", ")
}

// compareWithGopickle reads a pickle both ways. Only what package pickle accepts is compared: it refuses
// more, by design. It reports whether both read it.
func compareWithGopickle(t *testing.T, data []byte) bool {
	t.Helper()
	c := config()
	c.Names = map[pickle.Global]any{{Module: "collections", Name: "OrderedDict"}: names[pickle.Global{Module: "collections", Name: "OrderedDict"}]}
	c.Persistent = func(id any) (any, int64, error) { return persistent{id}, 0, nil }
	ours, err := pickle.Read(bytes.NewReader(data), 0, int64(len(data)), c)
	if err != nil {
		return false
	}
	theirs, err := readWithGopickle(data)
	if err != nil {
		t.Logf("gopickle: %v", err)
		return false
	}
	got, want := describe(ours.Value), describe(theirs)
	if strings.Contains(got, "<builtins.list>") || strings.Contains(got, "<builtins.dict>") {
		return false // gopickle gives an empty list or dict for the class
	}
	if got != want {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		from := max(at-80, 0)
		t.Errorf("read as …%.240s, gopickle reads …%.240s", got[from:], want[from:])
	}
	return true
}

// TestAgreesWithGopickle compares the values of all sound samples with those that gopickle reads.
func TestAgreesWithGopickle(t *testing.T) {
	compared := 0
	for _, dir := range []string{"../../testdata/sound", "../../testdata/more", "../../testdata/objects", "../../testdata/written", "../../dcp/testdata"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && e.IsDir() && e.Name() == "hostile" {
				return fs.SkipDir
			}
			if err != nil || e.IsDir() {
				return err
			}
			for name, data := range picklesOf(t, path) {
				t.Run(filepath.ToSlash(path)+"/"+name, func(t *testing.T) {
					if compareWithGopickle(t, data) {
						compared++
					}
				})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if compared < 20 {
		t.Errorf("only %d pickles were compared", compared)
	}
}

// picklesOf returns the pickles in a sample: of a zip archive the data.pkl, of a directory of
// torch.distributed.checkpoint the .metadata.
func picklesOf(t *testing.T, path string) map[string][]byte {
	t.Helper()
	if filepath.Base(path) == ".metadata" {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return map[string][]byte{"pickle": data}
	}
	archive, err := zip.OpenReader(path)
	if err != nil {
		return nil // not an archive
	}
	defer archive.Close()
	found := map[string][]byte{}
	for _, f := range archive.File {
		if filepath.Base(f.Name) != "data.pkl" {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if errors.Join(err, r.Close()) == nil { // torch can leave out the checksums
			found[f.Name] = data
		}
	}
	return found
}
