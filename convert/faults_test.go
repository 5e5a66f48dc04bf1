package convert_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

var allFaults = flag.Bool("faults", false, "fail every operation of the conversions of TestFaults, not a sample")

// faultCase is a conversion whose operations fail.
type faultCase struct {
	name    string
	src     string
	dst     string // name
	options convert.Options
}

func faultCases(t *testing.T) []faultCase {
	window, softCap, scale := int64(8), 30.0, true
	settings := model.Settings{AttentionWindow: &window, LogitsSoftCap: &softCap, EmbeddingScale: &scale}
	hf, checkpoint := filepath.Join("..", "testdata", "finetune", "base"), filepath.Join(t.TempDir(), "orbax")
	cases := []faultCase{
		{"hf", hf, "out", convert.Options{To: convert.ToHF, MaxShardSize: 16 << 10}},
		{"torch", hf, "out.pt", convert.Options{To: convert.ToTorch}},
		{"safetensors", hf, "out.safetensors", convert.Options{To: convert.ToSafetensors}},
		{"safetensors directory", hf, "out", convert.Options{To: convert.ToSafetensors}},
		{"orbax", hf, "out", convert.Options{To: convert.ToOrbax, OrbaxFormat: orbax.OCDBT}},
		{"orbax uncompressed", hf, "out", convert.Options{To: convert.ToOrbax, OrbaxFormat: orbax.OCDBTUncompressed}},
		{"orbax zarr", hf, "out", convert.Options{To: convert.ToOrbax, OrbaxFormat: orbax.Zarr}},
		{"from torch", filepath.Join("testdata", "micro-griffin.pt"), "out", convert.Options{To: convert.ToHF, Settings: settings}},
		{"from orbax", checkpoint, "out", convert.Options{To: convert.ToHF, Settings: settings}},
	}
	if err := cases[4].convert(checkpoint, cases[4].options); err != nil {
		t.Fatal(err)
	}
	return cases
}

func (c *faultCase) convert(dst string, o convert.Options) error {
	src, err := formats.Open(c.src, formats.Options{})
	if err != nil {
		return err
	}
	_, err = convert.Convert(context.Background(), src, dst, o)
	return errors.Join(err, src.Close())
}

// TestFaults makes operations on the local file system fail, do half of their work, or end the process: a sample of them,
// or with -faults each one. Afterwards the destination is as it was or complete, and the next run succeeds and leaves nothing else.
func TestFaults(t *testing.T) {
	total := 0
	for i, c := range faultCases(t) {
		for _, replace := range []bool{false, true} {
			f := newFaultRun(t, c, replace)
			t.Run(f.name(), func(t *testing.T) {
				f.t = t
				all := f.faults()
				rand.New(rand.NewPCG(1, uint64(i))).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				switch {
				case *allFaults:
				case testing.Short():
					all = all[:8]
				default:
					all = all[:40]
				}
				for _, fault := range all {
					f.fail(fault)
				}
				total += len(all)
			})
		}
	}
	t.Logf("%d faults", total)
}

// fileFault is a fault at the n-th operation of a kind.
type fileFault struct {
	kind  string
	n     int
	fault storagetest.FileFault
}

func (f fileFault) String() string {
	return fmt.Sprintf("%s %d %s", f.kind, f.n, []string{"fails", "is short", "is the end"}[f.fault])
}

// faultRun is a conversion that runs again and again.
type faultRun struct {
	t             *testing.T
	c             faultCase
	base          string
	replace       bool // another destination; the new one is then verified
	options       convert.Options
	before, after map[string]string // what is written
}

func newFaultRun(t *testing.T, c faultCase, replace bool) *faultRun {
	f := &faultRun{c: c, base: memoryDir(t), replace: replace, options: c.options}
	f.options.Overwrite, f.options.Verify = replace, replace
	before := c.options
	before.DType = tensor.BF16
	if err := c.convert(filepath.Join(f.base, "before", c.dst), before); err != nil {
		t.Fatal(err)
	}
	if err := c.convert(filepath.Join(f.base, "after", c.dst), f.options); err != nil {
		t.Fatal(err)
	}
	f.before, f.after = readTree(t, filepath.Join(f.base, "before")), readTree(t, filepath.Join(f.base, "after"))
	return f
}

func (f *faultRun) name() string {
	if f.replace {
		return f.c.name + ", replacing"
	}
	return f.c.name
}

// faults lists every fault at every operation.
func (f *faultRun) faults() (all []fileFault) {
	for _, kind := range storagetest.FileOperations() {
		f.reset()
		stop := storagetest.FailFile(kind, 0, storagetest.FileError)
		if err := f.c.convert(filepath.Join(f.base, "work", f.c.dst), f.options); err != nil {
			f.t.Fatal(err)
		}
		for n := range stop() {
			all = append(all, fileFault{kind, n + 1, storagetest.FileError}, fileFault{kind, n + 1, storagetest.FileKill})
			if kind == "read" || kind == "write" {
				all = append(all, fileFault{kind, n + 1, storagetest.FileShort})
			}
		}
	}
	return all
}

// reset restores the state before the conversion, and returns what is there.
func (f *faultRun) reset() map[string]string {
	dir := filepath.Join(f.base, "work")
	if err := os.RemoveAll(dir); err != nil {
		f.t.Fatal(err)
	}
	if f.replace {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(f.base, "before"))); err != nil {
			f.t.Fatal(err)
		}
		return f.before
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		f.t.Fatal(err)
	}
	return nil
}

// fail runs the conversion with a fault and looks at what is left.
func (f *faultRun) fail(fault fileFault) {
	t, where, dir := f.t, fault.String(), filepath.Join(f.base, "work")
	was := f.reset()
	goroutines, descriptors := runtime.NumGoroutine(), openFiles()
	stop := storagetest.FailFile(fault.kind, fault.n, fault.fault)
	failed := f.c.convert(filepath.Join(dir, f.c.dst), f.options)
	if stop() < fault.n {
		return // this time there were fewer
	}
	f.checkLeaks(where, goroutines, descriptors)
	if failed != nil && !errors.Is(failed, storagetest.ErrKilled) && !errors.As(failed, new(syscall.Errno)) {
		t.Errorf("%s: not an error of the system: %v", where, failed)
	}
	left := readTree(t, dir)
	f.checkState(where, left, was, failed)
	if fault.fault != storagetest.FileKill && fault.kind != "remove" {
		for name := range left {
			if strings.HasPrefix(name, ".") {
				t.Errorf("%s: %v; left %s", where, failed, name)
				break
			}
		}
	}
	options := f.options
	options.Overwrite = true
	if err := f.c.convert(filepath.Join(dir, f.c.dst), options); err != nil {
		t.Errorf("%s: the next run: %v", where, err)
	}
	if now := readTree(t, dir); !equalTrees(now, f.after) {
		t.Errorf("%s: the next run leaves %s", where, difference(now, f.after))
	}
}

// checkState accepts a destination that is as it was or complete.
func (f *faultRun) checkState(where string, left, was map[string]string, failed error) {
	visible := map[string]string{}
	for name, content := range left {
		if !strings.HasPrefix(name, ".") {
			visible[name] = content
		}
	}
	record := f.c.dst + ".conversion.json"
	_, file := visible[f.c.dst]
	switch {
	case equalTrees(visible, f.after):
	case failed == nil:
		f.t.Errorf("%s: no error, and no complete destination: %v", where, difference(visible, f.after))
	case equalTrees(visible, was):
	case f.c.options.To != convert.ToTorch && !strings.HasSuffix(f.c.dst, ".safetensors"):
		f.t.Errorf("%s: %v: neither old nor complete: %v", where, failed, difference(visible, f.after))
	case !file && len(visible) == 1 && visible[record] == f.after[record]: // the record comes first
	case len(visible) == 1 && (visible[f.c.dst] == was[f.c.dst] || visible[f.c.dst] == f.after[f.c.dst]): // without a record
	default:
		f.t.Errorf("%s: %v: file and record do not belong together: %v", where, failed, difference(visible, f.after))
	}
}

// checkLeaks fails if the run has left goroutines or open files.
func (f *faultRun) checkLeaks(where string, goroutines int, descriptors []string) {
	for range 200 {
		if runtime.NumGoroutine() <= goroutines && len(openFiles()) <= len(descriptors) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	f.t.Errorf("%s: %d goroutines, %d before; %d open files, %d before\n%s", where, runtime.NumGoroutine(), goroutines, len(openFiles()), len(descriptors),
		stacks[:runtime.Stack(stacks, true)])
	for _, path := range openFiles() {
		f.t.Log(path)
	}
}

// memoryDir returns a directory for the time of the test, in memory where the system has one: syncing takes long elsewhere.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "griffin-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// openFiles returns the paths of the open files, nil where the system does not tell.
func openFiles() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var paths []string
	for _, e := range entries {
		path, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil { // not the directory itself
			paths = append(paths, path)
		}
	}
	return paths
}

// readTree returns the digests of the files in a directory by path, and "" for the directories.
func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || entry.IsDir() {
			tree[name] = ""
			return err
		}
		content, err := os.ReadFile(path)
		tree[name] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func equalTrees(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, content := range a {
		if other, ok := b[name]; !ok || other != content {
			return false
		}
	}
	return true
}

// difference describes how a tree differs from the complete one.
func difference(tree, complete map[string]string) string {
	var all []string
	for name, content := range tree {
		if other, ok := complete[name]; !ok {
			all = append(all, "+"+name)
		} else if other != content {
			all = append(all, "changed "+name)
		}
	}
	for name := range complete {
		if _, ok := tree[name]; !ok {
			all = append(all, "-"+name)
		}
	}
	slices.Sort(all)
	return fmt.Sprint(len(tree), " files: ", strings.Join(all[:min(len(all), 5)], ", "))
}
