package orbax

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// writeAll stores tensors of those bytes, in the given order, in steps of odd sizes.
func writeAll(t *testing.T, dir string, format Format, limits limits, specs []tensor.Spec, data [][]byte, order []int) {
	t.Helper()
	l, err := newLayout(specs, format, limits)
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	written := make([]tensor.Written, len(specs))
	for _, i := range order {
		written[i].Digest = digest.RefOf(digest.Of(digest.SHA256, data[i]))
		f, offset, length := w.At(i)
		if f != nil {
			if length != int64(len(data[i])) {
				t.Fatalf("%s has a place of %d bytes, not %d", specs[i].Name, length, len(data[i]))
			}
			if _, err := f.WriteAt(data[i], offset); err != nil {
				t.Fatal(err)
			}
			continue
		}
		s, err := w.Sink(i)
		if err != nil {
			t.Fatal(err)
		}
		for rest := data[i]; len(rest) > 0; {
			n := min(len(rest), 1+i*i*7919%70000)
			if _, err := s.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(written); err != nil {
		t.Fatal(err)
	}
}

// writable are the types that the formats hold.
var writable = []tensor.DType{
	tensor.F64, tensor.F32, tensor.F16, tensor.BF16, tensor.C128, tensor.C64,
	tensor.I64, tensor.I32, tensor.I16, tensor.I8, tensor.I4, tensor.I2, tensor.U64, tensor.U32, tensor.U16, tensor.U8, tensor.Bool,
	tensor.F8E4M3, tensor.F8E5M2, tensor.F8E4M3FNUZ, tensor.F8E5M2FNUZ, tensor.F8E4M3B11FNUZ, tensor.F8E3M4, tensor.F4Byte,
}

// fewBits are the types of which not every byte is an element, and a mask that leaves some: not
// negative ones, of which JAX keeps other copies of the sign than numpy.
var fewBits = map[tensor.DType]byte{tensor.Bool: 1, tensor.I4: 7, tensor.I2: 1, tensor.F4Byte: 15}

// writeCases are tensors of every type, every kind of shape and every kind of name that the format
// takes.
func writeCases(seed uint64, format Format) (specs []tensor.Spec, data [][]byte) {
	rng := rand.New(rand.NewPCG(seed, 0))
	add := func(name string, d tensor.DType, shape ...int64) {
		_, size, _ := tensor.SizeOf(d, shape)
		b := make([]byte, size)
		random := rng.IntN(3)
		for i := range b {
			if b[i] = byte(i / 64); random > 0 {
				b[i] = byte(rng.Uint32())
			}
			b[i] &= cmp.Or(fewBits[d], 0xff)
		}
		specs = append(specs, tensor.Spec{Name: name, DType: d, Shape: shape})
		data = append(data, b)
	}
	for _, d := range writable {
		add("types."+d.String(), d, 3, int64(1+rng.IntN(40)))
	}
	add("shapes.scalar", tensor.F32)
	add("shapes.one", tensor.BF16, 1)
	add("shapes.none", tensor.BF16, 0)
	add("shapes.empty", tensor.F32, 3, 0, 2)
	add("shapes.ones", tensor.I64, 1, 1, 1, 1)
	add("params.blocks.0.mlp_block.ffw_up.w", tensor.F32, 2, 5, 7)
	add("params.blocks.1.mlp_block.ffw_up.w", tensor.F32, 2, 5, 7)
	add("params.final_norm.scale", tensor.F32, 2000)
	add(" odd näme.with 'quotes\" and /.\n.日本", tensor.I8, 5)
	if format <= OCDBTZarr3Uncompressed {
		add("params./../back\\slash.", tensor.I8, 5)
		add("params./../back\\slash./0", tensor.I8, 5)
	}
	return specs, data
}

// small makes several chunks of an array of a few kilobytes, and several files of all of them.
var small = limits{chunk: 256, file: 20000}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	for seed, format := range Formats() {
		for _, limits := range []limits{{}, small} {
			t.Run(fmt.Sprintf("%s/%d", format, limits.chunk), func(t *testing.T) {
				specs, data := writeCases(uint64(seed), format)
				dir := t.TempDir()
				writeAll(t, dir, format, limits, specs, data, rand.Perm(len(specs)))
				checkReadBack(t, dir, specs, data)
				checkSize(t, dir, format, limits, specs)
			})
		}
	}
}

func TestFilesDoNotDependOnTheOrder(t *testing.T) {
	for _, format := range []Format{OCDBT, OCDBTUncompressed, Zarr} {
		specs, data := writeCases(9, format)
		var trees [2]map[string]string
		for i := range trees {
			dir := t.TempDir()
			order := rand.New(rand.NewPCG(uint64(i), 0)).Perm(len(specs))
			writeAll(t, dir, format, small, specs, data, order)
			trees[i] = filesBelow(t, dir)
		}
		for name, text := range trees[0] {
			if trees[1][name] != text {
				t.Errorf("%s: %s depends on the order", format, name)
			}
		}
		if len(trees[1]) != len(trees[0]) {
			t.Errorf("%s: %d files or %d", format, len(trees[0]), len(trees[1]))
		}
	}
}

// TestFilesDoNotDependOnTheProcessors: chunks of large arrays that are compressed at the same time, by more or fewer goroutines than
// there are arrays being written, have the bytes of those that are compressed one after another.
func TestFilesDoNotDependOnTheProcessors(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var specs []tensor.Spec
	var data [][]byte
	for i, rows := range []int64{3, 4, 41, 100, 7} {
		specs = append(specs, tensor.Spec{Name: fmt.Sprint("large.", i), DType: tensor.BF16, Shape: []int64{rows, 3000}})
		bytes := make([]byte, rows*6000)
		for k := range bytes {
			bytes[k] = byte(rng.ExpFloat64() * 20)
		}
		data = append(data, bytes)
	}
	for _, format := range Formats() {
		t.Run(format.String(), func(t *testing.T) {
			files := make([]map[string]string, 4)
			for n := range files {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n + 1))
				dir := t.TempDir()
				writeTogether(t, dir, format, specs, data)
				files[n] = filesBelow(t, dir)
				if !maps.Equal(files[n], files[0]) {
					t.Errorf("the files of %d processors differ from those of one", n+1)
				}
			}
		})
	}
}

// writeTogether stores tensors at the same time, in chunks of up to three rows.
func writeTogether(t *testing.T, dir string, format Format, specs []tensor.Spec, data [][]byte) {
	t.Helper()
	l, err := newLayout(specs, format, limits{chunk: 20 << 10})
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	written := make([]tensor.Written, len(specs))
	var group task.Group
	for i := range specs {
		written[i].Digest = digest.RefOf(digest.Of(digest.SHA256, data[i]))
		group.Go(func() error {
			if f, offset, _ := w.At(i); f != nil {
				_, err := f.WriteAt(data[i], offset)
				return err
			}
			s, err := w.Sink(i)
			if err != nil {
				return err
			}
			for rest := data[i]; len(rest) > 0 && err == nil; {
				n := min(len(rest), 7001)
				_, err = s.Write(rest[:n])
				rest = rest[n:]
			}
			return errors.Join(err, s.Close())
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(written); err != nil {
		t.Fatal(err)
	}
}

// filesBelow returns the files below a directory.
func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			b, err := os.ReadFile(path)
			files[path[len(dir):]] = string(b)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What is not the same elements does not lie in a file of the same name.
func TestDataFilesAreNamedByContent(t *testing.T) {
	for _, format := range []Format{OCDBT, OCDBTUncompressed, OCDBTZarr3} {
		specs, data := writeCases(3, format)
		names := map[string]bool{}
		for range 2 {
			dir := t.TempDir()
			writeAll(t, dir, format, small, specs, data, rand.Perm(len(specs)))
			for name := range filesBelow(t, dir) {
				if filepath.Base(filepath.Dir(name)) == "d" {
					if names[name] {
						t.Errorf("%s: two contents of %s", format, name)
					}
					names[name] = true
				}
			}
			for i := range data {
				if len(data[i]) > 0 {
					data[i][0] ^= 1
				}
			}
		}
	}
}

// checkReadBack compares what a directory holds with what was written.
func checkReadBack(t *testing.T, dir string, specs []tensor.Spec, data [][]byte) {
	t.Helper()
	c, err := openPath(dir, Newest)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(c.Tensors()) != len(specs) || len(c.Notes) > 0 {
		t.Errorf("%d tensors, not %d; notes %q", len(c.Tensors()), len(specs), c.Notes)
	}
	for i, s := range specs {
		got := c.Tensor(s.Name)
		if got == nil {
			t.Errorf("%s is missing", s.Name)
			continue
		}
		if got.DType != s.DType || fmt.Sprint(got.Shape) != fmt.Sprint(s.Shape) {
			t.Errorf("%s: %s %v, not %s %v", s.Name, got.DType, got.Shape, s.DType, s.Shape)
		}
		r, err := got.Data.Stream(0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(b, data[i]) {
			t.Errorf("%s: other bytes are read: %v", s.Name, err)
		}
	}
}

// Arrays that are worth it begin at a page, none overlap, and files do not grow without bound.
func TestPlacesInDataFiles(t *testing.T) {
	var specs []tensor.Spec
	for i := range 40 {
		specs = append(specs, tensor.Spec{Name: fmt.Sprint("a", i), DType: tensor.U8, Shape: []int64{int64(i) * 5001}})
	}
	const most = 300_000
	l, err := newLayout(specs, OCDBTUncompressed, limits{file: most})
	if err != nil {
		t.Fatal(err)
	}
	end := map[int]int64{}
	for i, a := range l.arrays {
		if a.Bytes >= 64<<10 && a.offset%4096 != 0 {
			t.Errorf("array %d of %d bytes begins at %d", i, a.Bytes, a.offset)
		}
		if a.offset < end[a.file] {
			t.Errorf("array %d begins at %d, within the one before it", i, a.offset)
		}
		end[a.file] = a.offset + a.Bytes
	}
	for i, f := range l.files {
		if f.size > most+4096 || f.size < end[i] {
			t.Errorf("file %d has %d bytes, its arrays %d", i, f.size, end[i])
		}
	}
	if len(l.files) < 14 {
		t.Errorf("%d files", len(l.files))
	}
}

// checkSize compares what the files take with what the layout says that they take at most.
func checkSize(t *testing.T, dir string, format Format, limits limits, specs []tensor.Spec) {
	t.Helper()
	l, err := newLayout(specs, format, limits)
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, text := range filesBelow(t, dir) {
		total += int64(len(text))
	}
	if total > l.Size {
		t.Errorf("the files have %d bytes, not at most %d", total, l.Size)
	}
}

func TestLayoutRefuses(t *testing.T) {
	long := strings.Repeat("x.", 600)
	for _, tt := range []struct {
		format Format
		names  []string
		want   string
	}{
		{OCDBT, nil, "the tree is empty"},
		{OCDBT, []string{"a.b", "a.b"}, "two leaves of one name"},
		{OCDBT, []string{"a", "a.b"}, "leaf is below another leaf"},
		{OCDBT, []string{"a\xff"}, "not valid UTF-8"},
		{OCDBT, []string{long}, "path has more than 512 keys"},
		{Zarr, []string{"a/../b"}, "cannot be that of a directory"},
		{Zarr, []string{"/a"}, "cannot be that of a directory"},
		{Zarr, []string{""}, "cannot be that of a directory"},
		{Zarr, []string{"a\\b"}, "cannot be that of a directory"},
		{Zarr, []string{"_METADATA"}, "cannot be that of a directory"},
		{Zarr, []string{"checkpoint/x"}, "cannot be that of a directory"},
		{Zarr, []string{"a/0", "b", "a"}, "cannot hold another array"},
		{99, []string{"a"}, "unknown Orbax format 99"},
	} {
		var specs []tensor.Spec
		for _, name := range tt.names {
			specs = append(specs, tensor.Spec{Name: name, DType: tensor.F32, Shape: []int64{2}})
		}
		if _, err := NewLayout(specs, tt.format); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %.60q: %v, not %s", tt.format, tt.names, err, tt.want)
		}
	}
	if _, err := NewLayout([]tensor.Spec{{Name: "a", DType: tensor.F6E2M3, Shape: []int64{4}}}, OCDBT); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("a type that zarr does not know: %v", err)
	}
}

func TestNamesMakeTheTree(t *testing.T) {
	for name, want := range map[string][]string{
		"params.blocks.0.rg_lru.a_gate.w": {"params", "blocks.0", "rg_lru", "a_gate", "w"},
		"params.blocks.10.11.w":           {"params", "blocks.10.11", "w"},
		"0.weight":                        {"0", "weight"},
		"a":                               {"a"},
		"a..b.":                           {"a", "", "b", ""},
		"a.0x.1":                          {"a", "0x.1"},
	} {
		if got := splitName(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
}

// An array that gets too few bytes or too many is not complete, and neither is the checkpoint.
func TestSinksCount(t *testing.T) {
	for _, format := range []Format{OCDBT, OCDBTZarr3, Zarr, ZarrUncompressed} {
		for _, limits := range []limits{{}, small} {
			for _, n := range []int{0, 1, 3999, 4001, 9000} {
				l, err := newLayout([]tensor.Spec{{Name: "a", DType: tensor.F32, Shape: []int64{1000}}}, format, limits)
				if err != nil {
					t.Fatal(err)
				}
				w, err := l.Create(t.TempDir(), nil)
				if err != nil {
					t.Fatal(err)
				}
				s, err := w.Sink(0)
				if err != nil {
					t.Fatal(err)
				}
				_, writing := s.Write(make([]byte, n))
				if closing := s.Close(); closing == nil || writing == nil && n > 4000 {
					t.Errorf("%s: %d bytes of 4000 were taken: %v, %v", format, n, writing, closing)
				}
				if err := w.Finish(make([]tensor.Written, 1)); err == nil {
					t.Errorf("%s: finished with %d bytes of 4000", format, n)
				}
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// The tree as Orbax 0.12.8 writes it, but for the type of the arrays.
func TestMetadataOfATree(t *testing.T) {
	l, err := NewLayout([]tensor.Spec{{Name: "params.b'1.w", DType: tensor.F32}, {Name: "params.blocks.0.w", DType: tensor.F32}, {Name: "é\n", DType: tensor.F32}}, OCDBTZarr3)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w, err := l.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.writeMetadata(); err != nil {
		t.Fatal(err)
	}
	const value = `"value_metadata": {"value_type": "np.ndarray", "skip_deserialize": false}}`
	for name, want := range map[string]string{
		"_METADATA": `{"tree_metadata": {` +
			`"('params', \"b'1\", 'w')": {"key_metadata": [{"key": "params", "key_type": 2}, {"key": "b'1", "key_type": 2}, {"key": "w", "key_type": 2}], ` + value +
			`, "('params', 'blocks.0', 'w')": {"key_metadata": [{"key": "params", "key_type": 2}, {"key": "blocks.0", "key_type": 2}, {"key": "w", "key_type": 2}], ` + value +
			`, "('é\\n',)": {"key_metadata": [{"key": "é\n", "key_type": 2}], ` + value +
			`}, "use_ocdbt": true, "use_zarr3": true, "store_array_data_equal_to_fill_value": true, "custom_metadata": null}`,
		"checkpoint": "\x82\xa6params\x82\xa3b'1\x81\xa1w\xbaPLACEHOLDER://params.b'1.w\xa8blocks.0\x81\xa1w\xbfPLACEHOLDER://params.blocks.0.w\xa3é\n\xb1PLACEHOLDER://é\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s, not\n%s", name, err, got, want)
		}
	}
}
