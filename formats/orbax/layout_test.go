package orbax

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// build makes a directory of copies: "path in it": "sample below testdata". A sample that begins
// with "=" is the content of a file; "" makes an empty directory.
func build(t *testing.T, files map[string]string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "ckpt")
	for name, from := range files {
		to := filepath.Join(root, name)
		text, isText := strings.CutPrefix(from, "=")
		var err error
		switch {
		case isText:
			if err = os.MkdirAll(filepath.Dir(to), 0o777); err == nil {
				err = os.WriteFile(to, []byte(text), 0o666)
			}
		case from == "":
			err = os.MkdirAll(to, 0o777)
		default:
			err = os.CopyFS(to, os.DirFS(filepath.Join("testdata", from)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const sample = "sound/hand_ocdbt_min"

// flaxArray is a msgpack file {"a": array of the one uint8 7}.
const flaxArray = "=\x81\xa1a\xc7\x0c\x01\x93\x91\x01\xa5uint8\xc4\x01\x07"

func TestSteps(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		step  int64
		want  string // the step's name
		steps string
		err   string
	}{
		{"newest by number", map[string]string{"9": sample, "10": sample}, Newest, "10", "9, 10", ""},
		{"a given one", map[string]string{"9": sample, "10": sample}, 9, "9", "9, 10", ""},
		{"padded", map[string]string{"000007/default": sample, "000012/default": sample}, 7, "7", "000007, 000012", ""},
		{"prefixed", map[string]string{"step_7/params": sample, "step_12/params": sample}, Newest, "12", "step_7, step_12", ""},
		{"step 0", map[string]string{"0": sample, "1": sample}, 0, "0", "0, 1", ""},
		{"other directories", map[string]string{"7": sample, "best": sample, "logs": "", "ROOT_METADATA": "={}"}, Newest, "7", "", ""},
		{"unfinished", map[string]string{"7": sample, "9.orbax-checkpoint-tmp-17": sample}, Newest, "7", "", ""},
		{"logs that look like a step", map[string]string{"7": sample, "logs_9": ""}, Newest, "7", "", ""},
		{"absent", map[string]string{"7": sample, "9": sample}, 8, "", "", "has no step 8, only 7, 9"},
		{"newest is none", map[string]string{"7": sample, "9/x": ""}, Newest, "", "", "step 9 holds no checkpoint"},
		{"an empty one that is asked for", map[string]string{"7": sample, "9": ""}, 9, "", "", "step 9 holds no checkpoint"},
		{"two series", map[string]string{"train_7": sample, "eval_9": sample}, Newest, "", "", "steps of several series: train_7, eval_9"},
		{"twice", map[string]string{"7": sample, "007": sample}, Newest, "", "", "has step 7 twice"},
		{"only unfinished", map[string]string{"9.orbax-checkpoint-tmp-17": sample}, Newest, "", "", "no Orbax or Flax checkpoint in it"},
		{"nothing", map[string]string{"x": ""}, Newest, "", "", "no Orbax or Flax checkpoint in it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := build(t, test.files)
			if test.err != "" {
				if got := refused(t, path, test.step); !strings.Contains(got, test.err) {
					t.Errorf("%q, want %q", got, test.err)
				}
				if is, apart := Detect(storage.Local(path), "."); is != (test.name != "nothing") || apart != nil {
					t.Error("wrongly detected")
				}
				return
			}
			c := open(t, path, test.step)
			compare(t, c, "", expected(t, "rg_tree"))
			if detail(c, "step") != test.want || detail(c, "steps") != test.steps {
				t.Errorf("step %q of %q", detail(c, "step"), detail(c, "steps"))
			}
			if unfinished := test.name == "unfinished"; unfinished != (len(c.Notes) == 1) {
				t.Errorf("notes %q", c.Notes)
			}
		})
	}
}

// A step without the commit file that other steps have is not chosen, whatever it holds.
func TestUncommittedSteps(t *testing.T) {
	const commit = "=Checkpoint commit was successful"
	for _, test := range []struct {
		name  string
		files map[string]string
		step  int64
		want  string // the step's name
		notes int
		err   string
	}{
		{"newest", map[string]string{"1": sample, "1/" + CommitName: commit, "2": sample}, Newest, "1", 1, ""},
		{"an empty one", map[string]string{"1": sample, "2": ""}, Newest, "1", 1, ""},
		{"two", map[string]string{"1/default": sample, "1/" + CommitName: commit, "2/default": sample, "2/default/" + CommitName: commit, "3": ""}, Newest, "1", 2, ""},
		{"in the middle", map[string]string{"1": sample, "2": sample, "2/" + CommitName: commit}, Newest, "2", 0, ""},
		{"asked for", map[string]string{"1": sample, "1/" + CommitName: commit, "2": sample}, 2, "", 0, "step 2 was not committed: it lacks the commit_success.txt"},
		{"no step has it", map[string]string{"1": sample, "2": sample}, Newest, "2", 0, ""},
		{"another series", map[string]string{"eval_1": "", "eval_1/" + CommitName: commit, "2": sample}, Newest, "2", 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := build(t, test.files)
			if test.err != "" {
				if got := refused(t, path, test.step); !strings.Contains(got, test.err) {
					t.Errorf("%q, want %q", got, test.err)
				}
				return
			}
			c := open(t, path, test.step)
			compare(t, c, "", expected(t, "rg_tree"))
			if detail(c, "step") != test.want || len(c.Notes) != test.notes {
				t.Errorf("step %q, notes %q", detail(c, "step"), c.Notes)
			}
		})
	}
}

// A step that is opened itself, or an item of it, has a note if it lacks the commit file that its neighbours have.
func TestUncommittedStepOpened(t *testing.T) {
	const commit = "=Checkpoint commit was successful"
	path := build(t, map[string]string{"1/default": sample, "1/" + CommitName: commit, "2/default": sample, "eval_3": sample, "notes": ""})
	for name, notes := range map[string]int{"1": 0, "1/default": 0, "2": 1, "2/default": 1, "eval_3": 0} {
		if c := open(t, filepath.Join(path, name), Newest); len(c.Notes) != notes || notes > 0 && !strings.Contains(c.Notes[0], "step 2 was not committed") {
			t.Errorf("%s: %q", name, c.Notes)
		}
		c, err := Open(storage.Local(path), name, Newest)
		if err != nil || len(c.Notes) != notes {
			t.Errorf("%s in its source: %v", name, err)
		}
		if err == nil {
			c.Close()
		}
	}
}

// flax.training.checkpoints wrote one file a step.
func TestFlaxSteps(t *testing.T) {
	path := build(t, map[string]string{"checkpoint_9": flaxArray, "checkpoint_10": strings.Replace(flaxArray, "\x07", "\x08", 1)})
	for step, want := range map[int64]byte{Newest: 8, 10: 8, 9: 7} {
		c := open(t, path, step)
		compare(t, c, "", map[string]array{"a": {"uint8", []int64{1}, []byte{want}}})
		if c.Format != "flax-msgpack" || len(c.Tensors()) != 1 {
			t.Errorf("format %q, %d tensors", c.Format, len(c.Tensors()))
		}
	}
}

func TestItems(t *testing.T) {
	want := expected(t, "rg_tree")
	for _, test := range []struct {
		files map[string]string
		apart []string
	}{
		{map[string]string{"2b": sample}, []string{"2b"}},
		{map[string]string{"2b": sample, "2b-it": sample, "logs": ""}, []string{"2b", "2b-it"}},
		{map[string]string{"a": sample, "b": sample, "_CHECKPOINT_METADATA": "={}"}, nil},
		{map[string]string{"7": sample, "9": sample}, nil},
		{map[string]string{".": sample}, nil},
	} {
		if is, apart := Detect(storage.Local(build(t, test.files)), "."); !is || !slices.Equal(apart, test.apart) {
			t.Errorf("%v: %t, %q", test.files, is, apart)
		}
	}
	t.Run("only child", func(t *testing.T) {
		c := open(t, build(t, map[string]string{"2b": sample, "tokenizer.model": "=x"}), Newest)
		compare(t, c, "", want)
		if detail(c, "item") != "2b" {
			t.Errorf("details %q", c.Details)
		}
	})
	t.Run("several of one step", func(t *testing.T) {
		c := open(t, build(t, map[string]string{"7/params": sample, "7/opt_state": sample, "7/config/metadata": "={}", "7/metrics/metrics": "={}"}), Newest)
		compare(t, c, "params.", want)
		compare(t, c, "opt_state.", want)
		if len(c.Tensors()) != 2*len(want) {
			t.Errorf("%d tensors", len(c.Tensors()))
		}
		if want := []string{"item config holds no arrays", "item metrics holds no arrays"}; !slices.Equal(c.Notes, want) {
			t.Errorf("notes %q", c.Notes)
		}
	})
	t.Run("several, declared", func(t *testing.T) {
		c := open(t, build(t, map[string]string{"a": sample, "b": sample, "_CHECKPOINT_METADATA": "={}"}), Newest)
		compare(t, c, "b.", want)
	})
	t.Run("one with arrays", func(t *testing.T) {
		c := open(t, build(t, map[string]string{"7/state": sample, "7/other/checkpoint": "=\x81\xa1n\x07"}), Newest)
		compare(t, c, "", want)
		if len(c.Tensors()) != len(want) {
			t.Errorf("%d tensors", len(c.Tensors()))
		}
	})
	t.Run("unrelated", func(t *testing.T) {
		path := build(t, map[string]string{"2b": sample, "2b-it": sample})
		_, err := Open(storage.Local(path), ".", Newest)
		var bad *tensor.FormatError
		if want := "give one of those in it: " + path + "/2b, " + path + "/2b-it"; !errors.As(err, &bad) || bad.Reason != tensor.SeveralFiles || bad.Hint != want {
			t.Errorf("%+v, want %q", err, want)
		}
	})
	t.Run("unfinished item", func(t *testing.T) {
		c := open(t, build(t, map[string]string{"7/params": sample, "7/opt.orbax-checkpoint-tmp-3": sample}), Newest)
		if want := []string{"item opt.orbax-checkpoint-tmp-3 was never finished and is left out"}; !slices.Equal(c.Notes, want) {
			t.Errorf("notes %q", c.Notes)
		}
	})
}

// The databases of single processes are read even if Orbax did not get to merge them.
func TestUnmerged(t *testing.T) {
	one := build(t, map[string]string{".": "sound/standard_v0_12"})
	for _, name := range []string{"manifest.ocdbt", "d"} {
		if err := os.RemoveAll(filepath.Join(one, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := detail(open(t, one, Newest), "storage"); !strings.HasPrefix(got, "OCDBT, the database of one process, which was never merged") {
		t.Errorf("storage %q", got)
	}

	path := build(t, map[string]string{".": "sound/two_process_v0_12"})
	for _, name := range []string{"manifest.ocdbt", "d"} {
		if err := os.RemoveAll(filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	c := open(t, path, Newest)
	compare(t, c, "", expected(t, "rg_tree"))
	if got := detail(c, "storage"); !strings.HasPrefix(got, "OCDBT, 2 databases that were never merged") {
		t.Errorf("storage %q", got)
	}

	if err := os.CopyFS(filepath.Join(path, "ocdbt.process_2"), os.DirFS(filepath.Join(path, "ocdbt.process_0"))); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, path, Newest); !strings.Contains(got, "was written by two processes") {
		t.Error(got)
	}
	for _, n := range []string{"1", "2"} {
		if err := os.RemoveAll(filepath.Join(path, "ocdbt.process_"+n)); err != nil {
			t.Fatal(err)
		}
	}
	if got := refused(t, path, Newest); !strings.Contains(got, "is missing") {
		t.Error(got)
	}
}

// Without _METADATA and checkpoint, arrays keep their own names.
func TestWithoutTree(t *testing.T) {
	for _, sample := range []string{"hand_ocdbt_min", "hand_zarr2_dirs_min", "zarr3_dirs_v0_12"} {
		path := build(t, map[string]string{".": "sound/" + sample})
		if err := os.Remove(filepath.Join(path, "_METADATA")); err != nil {
			t.Fatal(err)
		}
		c := open(t, path, Newest)
		compare(t, c, "", expected(t, "rg_tree"))
		if len(c.Notes) != 1 || len(c.Tensors()) != 32 {
			t.Errorf("%d tensors, notes %q", len(c.Tensors()), c.Notes)
		}
	}
}

const aggregated = `={"tree_metadata": {"('a',)": {"key_metadata": [{"key": "a", "key_type": 2}],
	"value_metadata": {"value_type": "np.ndarray", "skip_deserialize": true}}}}`

// skip_deserialize says that an array lies in the file checkpoint.
func TestAggregated(t *testing.T) {
	path := build(t, map[string]string{"_METADATA": aggregated, "checkpoint": flaxArray})
	c := open(t, path, Newest)
	compare(t, c, "", map[string]array{"a": {"uint8", []int64{1}, []byte{7}}})
	if got := detail(c, "storage"); got != "in one msgpack file: 1" {
		t.Errorf("storage %q", got)
	}
	for want, files := range map[string]map[string]string{
		"there is none":               {"_METADATA": aggregated},
		"although _METADATA says so":  {"_METADATA": aggregated, "checkpoint": "=\x81\xa1b\xc0"},
		"checkpoint: offset 5":        {"_METADATA": aggregated, "checkpoint": flaxArray[:6]},
		`tensor "a": chunk`:           {".": "hostile/chunk_missing_flag_true"},
		"no manifest.ocdbt":           {"_METADATA": strings.NewReplacer("={", `={"use_ocdbt": true, `, "true", "false").Replace(aggregated)},
		"the same array":              {"checkpoint": "=\x82\xa1a\xafPLACEHOLDER://a\xa1b\xafPLACEHOLDER://a", "a": "sound/hand_zarr2_dirs_min/params.final_norm.scale"},
		"leaf has no key":             {"checkpoint": "=\xc0"},
		"longer than 100663296 bytes": {"_METADATA": "=" + strings.Repeat(" ", maxMetadata+1)},
	} {
		path := build(t, files)
		if got := refused(t, path, Newest); !strings.Contains(got, want) {
			t.Errorf("%s, want %q", got, want)
		}
	}
}

// Links may lead anywhere within the checkpoint, and nowhere else.
func TestLinks(t *testing.T) {
	for _, name := range []string{"manifest.ocdbt", "_METADATA", "d", "d/00000000000000000000000000000001"} {
		path := build(t, map[string]string{".": sample})
		outside := filepath.Join(t.TempDir(), "outside")
		if err := os.Rename(filepath.Join(path, name), outside); err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{outside, "../../outside"} {
			if err := os.Symlink(target, filepath.Join(path, name)); err != nil {
				t.Skip(err)
			}
			if got := refused(t, path, Newest); got == "" {
				t.Errorf("%s followed to %s", name, target)
			}
			if err := os.Remove(filepath.Join(path, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Rename(outside, filepath.Join(path, "elsewhere")); err != nil {
			t.Fatal(err)
		}
		target := "elsewhere"
		if strings.HasPrefix(name, "d/") {
			target = "../elsewhere"
		}
		if err := os.Symlink(target, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
		compare(t, open(t, path, Newest), "", expected(t, "rg_tree"))
	}
	// The directory itself may be a link.
	path := build(t, map[string]string{"2b": sample})
	if err := os.Symlink("2b", filepath.Join(path, "link")); err != nil {
		t.Skip(err)
	}
	compare(t, open(t, filepath.Join(path, "link"), Newest), "", expected(t, "rg_tree"))
}

func TestMissingFiles(t *testing.T) {
	for _, test := range []struct{ from, name, want string }{
		{"sound/kaggle_ocdbt_v0_5", "ocdbt.process_0", "data file is missing"},
		{"sound/kaggle_ocdbt_v0_5", "d", "data file is missing"},
		{"sound/zarr2_dirs_v0_12", "params.final_norm.scale", `tensor "params.final_norm.scale"`},
		{"sound/zarr2_dirs_v0_12", "params.final_norm.scale/0", "is missing"},
	} {
		path := build(t, map[string]string{".": test.from})
		if err := os.RemoveAll(filepath.Join(path, test.name)); err != nil {
			t.Fatal(err)
		}
		if got := refused(t, path, Newest); !strings.Contains(got, test.want) {
			t.Errorf("%s without %s: %q, want %q", test.from, test.name, got, test.want)
		}
	}
}

// An array that is not in the tree is left out, and a note says so.
func TestStrays(t *testing.T) {
	c := open(t, "testdata/hostile/array_not_in_metadata", Newest)
	if len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "that are not in the tree") {
		t.Errorf("notes %q", c.Notes)
	}
	path := build(t, map[string]string{".": "sound/zarr2_dirs_v0_12", "x/y": "sound/zarr2_dirs_v0_12/params.final_norm.scale"})
	c = open(t, path, Newest)
	if want := []string{"arrays that are not in the tree are left out: x/y"}; !slices.Equal(c.Notes, want) {
		t.Errorf("notes %q", c.Notes)
	}
}

// A zarr array by itself is no Orbax checkpoint; chunks may be missing from it.
func TestPlainArray(t *testing.T) {
	path := build(t, map[string]string{".": "sound/zarr2_dirs_v0_12/params.final_norm.scale"})
	want := expected(t, "rg_tree")["params.final_norm.scale"]
	c := open(t, path, Newest)
	compare(t, c, "", map[string]array{"array": want})
	if c.Format != "zarr" {
		t.Errorf("format %q", c.Format)
	}
}

func TestParseStep(t *testing.T) {
	for name, want := range map[string]int64{
		"7": 7, "000007": 7, "step_7": 7, "my_run_0012": 12, "0": 0,
		"": -1, "x7": -1, "step7": -1, "_7": -1, "7_": -1, "step_": -1, "default": -1, "ocdbt.process_0": -1,
		"9223372036854775807": -1, "99999999999999999999": -1, "7.orbax-checkpoint-tmp-17": -1, "gemma-2": -1,
	} {
		s, ok := parseStep(name)
		if ok != (want >= 0) || ok && s.number != want {
			t.Errorf("%q: %+v %v", name, s, ok)
		}
	}
}

// A long text in the custom metadata is read, although _METADATA is parsed in parts.
func TestLongCustomMetadata(t *testing.T) {
	const sample = "hand_zarr2_dirs_min"
	text, err := os.ReadFile(filepath.Join("testdata/sound", sample, "_METADATA"))
	if err != nil {
		t.Fatal(err)
	}
	long := fmt.Sprintf(`{"custom_metadata": {"note": %q}, `, strings.Repeat("x", 1<<20))
	dir := filepath.Join(t.TempDir(), "ckpt")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata/sound", sample))); err != nil {
		t.Fatal(err)
	}
	for _, metadata := range []string{string(text), long + strings.TrimPrefix(string(text), "{")} {
		if err := os.WriteFile(filepath.Join(dir, "_METADATA"), []byte(metadata), 0o666); err != nil {
			t.Fatal(err)
		}
		source, name, err := storage.Locate(dir)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Open(source, name, -1)
		if err != nil {
			t.Fatalf("_METADATA of %d bytes: %v", len(metadata), err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	for _, pattern := range []string{"testdata/sound/*/_METADATA", "testdata/hostile/*/_METADATA"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseMetadata(strictjson.NewReader(bytes.NewReader(text), maxJSONDepth))
		if _, whole := parseMetadata(strictjson.NewDecoder(text, maxJSONDepth)); fmt.Sprint(whole) != fmt.Sprint(err) && tensor.ReasonOf(err) != tensor.TooLarge {
			t.Fatalf("%v; at once %v", err, whole)
		}
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, l := range m.leaves {
			if names[l.name] || l.path != nil {
				t.Fatalf("leaf %q", l.name)
			}
			names[l.name] = true
		}
	})
}
