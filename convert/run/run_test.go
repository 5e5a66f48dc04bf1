package run_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/run"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

const sample = "../../testdata/tiny-griffin/original/orbax-ocdbt"

// newRun makes a training run with the given steps.
func newRun(t *testing.T, names ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	for _, name := range names {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(sample)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func options() convert.Options {
	window, softCap, scale := int64(8), 30.0, true
	return convert.Options{Settings: model.Settings{AttentionWindow: &window, LogitsSoftCap: &softCap, EmbeddingScale: &scale}}
}

// A step is converted once. Whatever else is at its destination is neither taken for its result nor replaced.
func TestConvert(t *testing.T) {
	dir, out := newRun(t, "7"), filepath.Join(t.TempDir(), "out")
	r, err := run.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	step := r.Steps[0]
	at := filepath.Join(out, "7")
	do := func(o convert.Options) (*convert.Result, error) {
		return r.Convert(t.Context(), step, out, formats.Options{}, o)
	}
	if result, err := do(options()); result == nil || err != nil {
		t.Fatal(result, err)
	}
	before, err := os.Stat(at)
	if err != nil {
		t.Fatal(err)
	}
	if result, err := do(options()); result != nil || err != nil {
		t.Fatalf("the second time: %v, %v", result, err)
	}
	if after, err := os.Stat(at); err != nil || !os.SameFile(before, after) {
		t.Error("the result was replaced")
	}

	float32, other := options(), options()
	float32.DType = tensor.F32
	window := int64(9)
	other.Settings.AttentionWindow = &window
	refuses := func(name string, o convert.Options) {
		t.Helper()
		_, err := do(o)
		if !errors.As(err, new(*convert.OccupiedError)) || !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refuses("another dtype", float32)
	refuses("another window", other)
	for name, damage := range map[string]func() error{
		"without a configuration": func() error { return os.Remove(filepath.Join(at, "config.json")) },
		"shorter weights":         func() error { return os.Truncate(filepath.Join(at, "model.safetensors"), 10_000) },
		"no weights":              func() error { return os.Remove(filepath.Join(at, "model.safetensors")) },
		"without a record":        func() error { return os.Remove(filepath.Join(at, "conversion.json")) },
		"an empty directory":      func() error { return errors.Join(os.RemoveAll(at), os.Mkdir(at, 0o755)) },
	} {
		o := options()
		o.Overwrite = true
		if err := os.RemoveAll(at); err != nil {
			t.Fatal(err)
		}
		if result, err := do(o); result == nil || err != nil {
			t.Fatal(result, err)
		}
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		refuses(name, options())
	}
}

// A result of another run with the same step is not taken for this one's. A step that was written again with other
// tensors is not either.
func TestConvertOther(t *testing.T) {
	dir, out := newRun(t, "7"), filepath.Join(t.TempDir(), "out")
	r, err := run.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Convert(t.Context(), r.Steps[0], out, formats.Options{}, options()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "7")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "7"), os.DirFS("../../testdata/micro-griffin/original/orbax-ocdbt")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Convert(t.Context(), r.Steps[0], out, formats.Options{}, options()); !errors.As(err, new(*convert.OccupiedError)) {
		t.Error(err)
	}
}

// Steps go on after a failure, and end at what would fail in each of them.
func TestEach(t *testing.T) {
	steps := []formats.Step{{Name: "1"}, {Name: "2"}, {Name: "3"}, {Name: "4"}}
	bad := errors.New("bad")
	for _, tt := range []struct {
		fails map[string]error
		done  string
	}{
		{nil, "1 2 3 4"},
		{map[string]error{"2": bad, "4": bad}, "1 2 3 4"},
		{map[string]error{"2": &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}}, "1 2"},
	} {
		var done, failed []string
		err := run.Each(t.Context(), steps, func(s formats.Step) error {
			done = append(done, s.Name)
			return tt.fails[s.Name]
		}, func(s formats.Step, err error) { failed = append(failed, s.Name) })
		var all *run.Error
		isAll := errors.As(err, &all)
		if strings.Join(done, " ") != tt.done || isAll != (len(failed) > 0) || isAll && len(all.Failed) != len(failed) || (err != nil) != (len(tt.fails) > 0) {
			t.Errorf("%v: did %v, failed %v: %v", tt.fails, done, failed, err)
		}
	}
}

func TestPair(t *testing.T) {
	r := &run.Run{Path: "out", Steps: []formats.Step{{Name: "7", Number: 7}, {Name: "step_8.pt", Number: 8}, {Name: "a_9", Number: 9}, {Name: "b_9", Number: 9}, {Name: "base", Number: -1}}}
	for _, tt := range []struct {
		step formats.Step
		want string
	}{
		{formats.Step{Name: "7", Number: 7}, "7"},
		{formats.Step{Name: "000007", Number: 7}, "7"},
		{formats.Step{Name: "step_8", Number: 8}, "step_8.pt"},
		{formats.Step{Name: "step_8.safetensors", Number: 8}, "step_8.pt"},
		{formats.Step{Name: "9", Number: 9}, ""},
		{formats.Step{Name: "a_9", Number: 9}, "a_9"},
		{formats.Step{Name: "base", Number: -1}, "base"},
		{formats.Step{Name: "tuned", Number: -1}, ""},
	} {
		got, ok := r.Pair(tt.step)
		if got.Name != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %s, %t", tt.step.Name, got.Name, ok)
		}
	}
	for n, ok := range map[int64]bool{7: true, 9: false, 10: false} {
		if _, err := r.Numbered(n); (err == nil) != ok || !ok && !errors.As(err, new(*tensor.FormatError)) {
			t.Errorf("step %d: %v", n, err)
		}
	}
}

func TestDestination(t *testing.T) {
	for _, tt := range []struct {
		out, step string
		to        convert.Target
		want      string
	}{
		{"out", "7", convert.ToHF, filepath.Join("out", "7")},
		{"out/", "step_7.pt", convert.ToHF, filepath.Join("out", "step_7")},
		{"out", "7", convert.ToTorch, filepath.Join("out", "7.pt")},
		{"s3://b/out?endpoint=http://h/", "7", convert.ToOrbax, "s3://b/out/7?endpoint=http://h/"},
		{"gs://b/", "7", convert.ToHF, "gs://b/7"},
	} {
		if got := run.Destination(tt.out, formats.Step{Name: tt.step}, tt.to); got != tt.want {
			t.Errorf("%s, %s: %s", tt.out, tt.step, got)
		}
	}
}
