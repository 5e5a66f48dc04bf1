package orbax

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// array is an expected array of testdata/sound/values.json.
type array struct {
	DType string
	Shape []int64
	B64   []byte
}

// expected returns one of the trees of values.json, with dots in the names. What is no array has
// no DType.
func expected(t *testing.T, tree string) map[string]array {
	text, err := os.ReadFile("testdata/sound/values.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(all[tree], &raw); err != nil {
		t.Fatal(err)
	}
	arrays := map[string]array{}
	for name, value := range raw {
		var a array
		if err := json.Unmarshal(value, &a); err == nil && a.DType != "" {
			arrays[strings.ReplaceAll(name, "/", ".")] = a
		}
	}
	return arrays
}

// compare holds the tensors of a checkpoint against arrays of those names after prefix.
func compare(t *testing.T, c *tensor.Checkpoint, prefix string, want map[string]array) {
	t.Helper()
	for name, a := range want {
		x := c.Tensor(prefix + name)
		if x == nil {
			t.Errorf("no tensor %q", prefix+name)
			continue
		}
		if x.DType.String() != a.DType || !slices.Equal(x.Shape, a.Shape) {
			t.Errorf("%s is %s %v, want %s %v", x.Name, x.DType, x.Shape, a.DType, a.Shape)
			continue
		}
		r, err := x.Data.Stream(0)
		if err != nil {
			t.Errorf("%s: %v", x.Name, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, a.B64) {
			t.Errorf("%s: %d bytes %v, want %d bytes", x.Name, len(got), err, len(a.B64))
		}
		r.Close()
	}
}

// openPath opens a checkpoint of the local file system.
func openPath(path string, step int64) (*tensor.Checkpoint, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return Open(source, name, step)
}

func open(t *testing.T, path string, step int64) *tensor.Checkpoint {
	t.Helper()
	c, err := openPath(path, step)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// refused returns the message of the error that Open must give.
func refused(t *testing.T, path string, step int64) string {
	t.Helper()
	c, err := openPath(path, step)
	if err == nil {
		c.Close()
		t.Errorf("%s: accepted", path)
		return ""
	}
	var bad *tensor.FormatError
	if !errors.As(err, &bad) {
		t.Errorf("%s: not a format error: %v", path, err)
	}
	return err.Error()
}

func detail(c *tensor.Checkpoint, key string) string {
	for _, d := range c.Details {
		if d.Key == key {
			return d.Value
		}
	}
	return ""
}

// Every layout of the same tree gives the same tensors, in the order of the tree.
func TestSound(t *testing.T) {
	want := expected(t, "rg_tree")
	if len(want) != 32 {
		t.Fatalf("%d arrays in values.json", len(want))
	}
	for _, test := range []struct{ name, format, layout, storage string }{
		{"kaggle_ocdbt_v0_5", "orbax-ocdbt", "as of Orbax 0.4.2 to 0.5.15", "OCDBT; zarr v2; zstd"},
		{"ocdbt_no_metadata_v0_4_1", "orbax-ocdbt", "as of Orbax up to 0.4.1", "OCDBT; zarr v2; zstd"},
		{"zarr2_dirs_v0_2", "orbax-zarr", "as of Orbax up to 0.3", "zarr directories; zarr v2; "},
		{"zarr2_dirs_v0_12", "orbax-zarr", "as of Orbax 0.5.16 and later", "zarr directories; zarr v2; zstd"},
		{"zarr3_dirs_v0_12", "orbax-zarr", "as of Orbax 0.5.16 and later", "zarr directories; zarr v3; "},
		{"standard_v0_12", "orbax-ocdbt", "as of Orbax 0.5.16 and later", "OCDBT; zarr v2; zstd"},
		{"manager_v0_12", "orbax-ocdbt", "as of Orbax 0.5.16 and later", "OCDBT; zarr v2; zstd"},
		{"v1_state_v0_12", "orbax-ocdbt", "as of Orbax 0.5.16 and later", "OCDBT; zarr v3; "},
		{"zarr3_subchunk_v0_12", "orbax-ocdbt", "as of Orbax 0.5.16 and later", "OCDBT; zarr v3; "},
		{"two_process_v0_12", "orbax-ocdbt", "as of Orbax 0.5.16 and later", "OCDBT; zarr v2; zstd"},
		{"hand_ocdbt_min", "orbax-ocdbt", "as of Orbax 0.5.16 and later", "OCDBT; zarr v2; "},
		{"hand_ocdbt_two_level", "orbax-ocdbt", "as of Orbax 0.5.16 and later", "OCDBT; zarr v2; "},
		{"hand_ocdbt_uncompressed", "orbax-ocdbt", "as of Orbax 0.5.16 and later", "OCDBT; zarr v2; none"},
		{"hand_zarr2_dirs_min", "orbax-zarr", "as of Orbax 0.5.16 and later", "zarr directories; zarr v2; "},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := open(t, "testdata/sound/"+test.name, Newest)
			if len(c.Tensors()) != len(want) {
				t.Errorf("%d tensors, want %d", len(c.Tensors()), len(want))
			}
			compare(t, c, "", want)
			if c.Format != test.format {
				t.Errorf("format %q, want %q", c.Format, test.format)
			}
			if got := detail(c, "layout"); got != test.layout {
				t.Errorf("layout %q, want %q", got, test.layout)
			}
			if got := detail(c, "storage"); !strings.HasPrefix(got, test.storage) {
				t.Errorf("storage %q, want %q", got, test.storage)
			}
			if len(c.Notes) > 0 {
				t.Errorf("notes %q", c.Notes)
			}
			if is, _ := Detect(storage.Local("testdata/sound"), test.name); !is {
				t.Error("not detected")
			}
		})
	}
}

// A tree with everything in it that is not a plain dict of arrays.
func TestOddTree(t *testing.T) {
	c := open(t, "testdata/sound/odd_tree_v0_12", Newest)
	compare(t, c, "", expected(t, "odd_tree_subset"))
	var got []string
	for _, x := range c.Tensors() {
		got = append(got, x.Name)
	}
	want := []string{"0.1", "a.0", "a.1.b", "bool", "dot.ted.k e y", "f", "i", "npy", "scalar", "tup.0", "tup.1", `u.é%\"'`, "x/y"}
	if !slices.Equal(got, want) {
		t.Errorf("tensors %q, want %q", got, want)
	}
	if got := detail(c, "not arrays"); got != "1 text, 1 None, 2 empty containers" {
		t.Errorf("not arrays: %q", got)
	}
	if c.Metadata["s"] != "hello" {
		t.Errorf("metadata %q", c.Metadata)
	}
	if got := detail(c, "saved"); got != "2026-11-23T16:24:59Z" {
		t.Errorf("saved %q", got)
	}
}

func TestManager(t *testing.T) {
	c := open(t, "testdata/sound/manager_v0_12", 7)
	if detail(c, "step") != "7" || detail(c, "item") != "default" {
		t.Errorf("details %q", c.Details)
	}
	for _, path := range []string{"testdata/sound/manager_v0_12/7", "testdata/sound/manager_v0_12/7/default"} {
		compare(t, open(t, path, Newest), "", expected(t, "rg_tree"))
	}
	open(t, "testdata/sound/manager_v0_12/7", 7)
	for path, want := range map[string]string{
		"testdata/sound/manager_v0_12":     "has no step 8, only 7",
		"testdata/sound/manager_v0_12/7":   "step 8 is asked for, but there are no steps",
		"testdata/sound/kaggle_ocdbt_v0_5": "step 8 is asked for, but there are no steps",
	} {
		if got := refused(t, path, 8); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestHostile(t *testing.T) {
	text, err := os.ReadFile("testdata/hostile/expect.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct{ Want string }
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata/hostile", name)
			if want.Want == "reject" {
				refused(t, path, Newest)
				return
			}
			c, err := openPath(path, Newest)
			if err != nil {
				if want.Want == "accept" {
					t.Error(err)
				}
				return
			}
			defer c.Close()
			compare(t, c, "", map[string]array{"a": {"float32", []int64{2, 2}, []byte("\x00\x00\x00\x00\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40")}})
		})
	}
}

// Each refusal names its cause, so that the hostile directories fail for what is wrong with them.
func TestCauses(t *testing.T) {
	for name, want := range map[string]string{
		"chunk_missing_flag_absent":                  `tensor "a": chunk`,
		"chunk_missing_flag_true":                    `tensor "a": chunk`,
		"dirs_traversal_key":                         "outside_param",
		"empty_tree":                                 "_METADATA: the tree is empty",
		"key_metadata_empty":                         "leaf has no key",
		"key_type_unknown":                           "key_type 3",
		"leaf_and_subtree_conflict":                  "leaf is below another leaf",
		"metadata_deep":                              `_METADATA: offset 0: "[" where an object is expected`,
		"metadata_is_list":                           `_METADATA: offset 0: "[" where an object is expected`,
		"metadata_names_missing_array":               `tensor "gone"`,
		"metadata_no_tree":                           "no tree_metadata",
		"metadata_not_json":                          "_METADATA: offset 17",
		"mixed_sequence_and_dict":                    "node has both sequence indices and dict keys",
		"name_collision":                             `tensor "a.b.c": two leaves of one name`,
		"ok_control.orbax-checkpoint-tmp-1700000000": "did not finish writing",
		"sequence_gap":                               `index "2" in a sequence of 2 items`,
		"sequence_not_int":                           `index "x" in a sequence of 1 items`,
		"use_ocdbt_lies":                             `tensor "a"`,
		"use_zarr3_lies":                             `tensor "a"`,
		"value_type_unknown":                         `value_type "zork"`,
		"zarray_missing":                             `tensor "a"`,
	} {
		if got := refused(t, filepath.Join("testdata/hostile", name), Newest); !strings.Contains(got, want) {
			t.Errorf("%s: %s\nwant %q", name, got, want)
		} else {
			t.Log(got)
		}
	}
}
