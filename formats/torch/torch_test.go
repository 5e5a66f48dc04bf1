package torch

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// wantTensor is a tensor as values.json has it: its elements in row-major order, little-endian.
type wantTensor struct {
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Stride []int64 `json:"stride"`
	Offset int64   `json:"offset"`
	B64    []byte  `json:"-"`
	Text   string  `json:"b64"`
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readValues(t *testing.T, path string) map[string]map[string]wantTensor {
	t.Helper()
	var values map[string]map[string]wantTensor
	readJSON(t, path, &values)
	return values
}

// wrapped are the samples whose tensors are those of another, in a dict of this key.
var wrapped = map[string]struct{ of, key string }{
	"mixed_dict.pt": {"state_dict_zip.pt", "model_state_dict."},
}

// TestSound reads every sample that torch, or a hand that torch reads, has written.
func TestSound(t *testing.T) {
	values := readValues(t, "testdata/sound/values.json")
	for name, as := range wrapped {
		values[name] = map[string]wantTensor{}
		for key, want := range values[as.of] {
			values[name][as.key+key] = want
		}
	}
	for name, want := range values {
		checkFile(t, filepath.Join("testdata/sound", name), want, wrapped[name].of != "")
	}
}

// TestMore reads what torch writes on request and older Pythons wrote, of generate.py.
func TestMore(t *testing.T) {
	for name, want := range readValues(t, "testdata/more/values.json") {
		checkFile(t, filepath.Join("testdata/more", name), want, false)
	}
}

func checkFile(t *testing.T, path string, want map[string]wantTensor, only bool) {
	t.Run(path, func(t *testing.T) {
		c, err := openPath(path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		checkTensors(t, c, want, only)
	})
}

// checkTensors holds all tensors of c, or only those in want, against want.
func checkTensors(t *testing.T, c *tensor.Checkpoint, want map[string]wantTensor, only bool) {
	t.Helper()
	for name := range want {
		if c.Tensor(name) == nil {
			t.Errorf("%s is missing", name)
		}
	}
	for _, got := range c.Tensors() {
		w, ok := want[got.Name]
		if !ok {
			if !only {
				t.Errorf("%s was not saved", got.Name)
			}
			continue
		}
		if got.DType.String() != w.DType || !slices.Equal(got.Shape, w.Shape) {
			t.Errorf("%s is %s %v, want %s %v", got.Name, got.DType, got.Shape, w.DType, w.Shape)
			continue
		}
		elements, err := base64.StdEncoding.DecodeString(w.Text)
		if err != nil {
			t.Fatal(err)
		}
		checkData(t, got, elements)
		checkLayout(t, got, w, isDeflated(c))
	}
}

func isFile(store io.ReaderAt) bool {
	_, ok := store.(*os.File)
	return ok
}

func isDeflated(c *tensor.Checkpoint) bool {
	return slices.Contains(c.Details, tensor.Detail{Key: "compression", Value: "deflate"})
}

// checkLayout holds the view of a tensor that lies in a file against that of the saved tensor.
func checkLayout(t *testing.T, got *tensor.Tensor, want wantTensor, deflated bool) {
	t.Helper()
	s, ok, err := tensor.Layout(got)
	if err != nil || ok == deflated {
		t.Errorf("%s: layout %v, %v", got.Name, ok, err)
	}
	if !ok {
		return
	}
	if file := tensor.Unchecked(s.Store); !isFile(file) {
		t.Errorf("%s lies in a %T, want a file", got.Name, file)
	}
	if !slices.Equal(s.View.Strides, want.Stride) || s.View.Offset != want.Offset && !strings.Contains(got.Name, "view") {
		t.Errorf("%s is the view %v, want strides %v and offset %d", got.Name, s.View, want.Stride, want.Offset)
	}
}

// checkData reads a tensor from several offsets, and checks its checksum.
func checkData(t *testing.T, got *tensor.Tensor, want []byte) {
	t.Helper()
	for _, off := range []int{0, 1, len(want) / 2, len(want)} {
		if off > len(want) {
			continue
		}
		r, err := got.Data.Stream(int64(off))
		if err != nil {
			t.Errorf("%s: %v", got.Name, err)
			return
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(data, want[off:]) {
			t.Errorf("%s from byte %d is %x (%v), want %x", got.Name, off, data, err, want[off:])
		}
	}
	if c, ok := got.Data.(tensor.Checker); ok {
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", got.Name, err)
		}
	}
}

// TestRefusedSamples are files that torch wrote, or would read, whose tensors are not to be had.
func TestRefusedSamples(t *testing.T) {
	for name, want := range map[string]string{
		"conj_neg_views.pt":   `flag "conj"`,
		"nn_module.pt":        `lies in an object of an unknown class, like all tensors`,
		"nn_module_legacy.pt": `pickle holds no tensor`,
	} {
		err := openAndClose(filepath.Join("testdata/sound", name))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func openAndClose(path string) error {
	c, err := openPath(path)
	if err != nil {
		return err
	}
	return c.Close()
}

// TestHostile opens broken and malicious files; those that open are read too. What each has to
// give is in expect.json, and why it is refused in the table.
func TestHostile(t *testing.T) {
	var expect map[string]struct{ Want string }
	readJSON(t, "testdata/hostile/expect.json", &expect)
	for name, e := range expect {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			path := filepath.Join("testdata/hostile", name)
			err := openAndClose(path)
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
			if e.Want == "accept" && err != nil || e.Want == "reject" && err == nil {
				t.Fatalf("%v, want %s", err, e.Want)
			}
			if err == nil {
				if why, ok := hostileReasons[name]; ok {
					t.Errorf("opened, want %q", why)
				}
				return
			}
			var bad *tensor.FormatError
			if !errors.As(err, &bad) || bad.File != path {
				t.Errorf("%v is no format error of the file", err)
			}
			if why, ok := hostileReasons[name]; !ok || !strings.Contains(err.Error(), why) {
				t.Errorf("%v, want %q", err, why)
			}
		})
	}
}

// openPath opens a checkpoint of the local file system.
func openPath(path string) (*tensor.Checkpoint, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return Open(source, name, Options{})
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var bad *tensor.FormatError
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want a format error with %q", err, want)
	}
}

// TestNotRegular has a file that cannot be read at any place.
func TestNotRegular(t *testing.T) {
	_, err := openPath(os.DevNull)
	checkError(t, err, "not a regular file")
}

// TestHugeClaim opens a tensor of 10^12 elements in 24 bytes.
func TestHugeClaim(t *testing.T) {
	_, err := openPath(filepath.Join("testdata/hostile", "huge_expand.pt"))
	if checkError(t, err, "griffin reads at most"); tensor.ReasonOf(err) != tensor.TooLarge {
		t.Errorf("reason %q", tensor.ReasonOf(err))
	}
}

// TestDetails are the facts that are of use to people.
func TestDetails(t *testing.T) {
	for path, want := range map[string]string{
		"sound/state_dict_zip.pt": "pickle protocol 2; byte order little; folder state_dict_zip; checksums CRC-32; storages 15; shared storages 2, by 6 tensors",
		"sound/byteorder_big.pt":  "pickle protocol 2; byte order big; folder archive; checksums CRC-32; storages 3; shared storages 1, by 2 tensors",
		"sound/deflated.pt":       "pickle protocol 2; byte order little; folder archive; compression deflate; checksums CRC-32; storages 3; shared storages 1, by 2 tensors",
		"more/no_checksums.pt":    "pickle protocol 2; byte order little; folder no_checksums; checksums none; storages 3; shared storages 1, by 2 tensors",
		"more/legacy_proto1.pt":   "pickle protocol 1; byte order little; checksums none; storages 3; shared storages 1, by 2 tensors",
		"more/trainer.pt":         "pickle protocol 2; byte order little; folder trainer; checksums CRC-32; storages 8; shared storages 1, by 2 tensors; other values None (1), byte strings (1), counters (1), devices (1), numbers (14), numpy arrays (1), strings (1), types (1)",
	} {
		c, err := openPath(filepath.Join("testdata", path))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range c.Details {
			got = append(got, d.Key+" "+d.Value)
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%s: %s, want %s", path, s, want)
		}
		if notes := strings.Join(c.Notes, "; "); (notes == "numpy arrays (1) are left out: only tensors are listed") != (path == "more/trainer.pt") {
			t.Errorf("%s: notes %q", path, notes)
		}
		c.Close()
	}
}
