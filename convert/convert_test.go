package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// writtenModel writes the elements of a random model to a file, one tensor after the other.
func writtenModel(path string, c *model.Config, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	var content []byte
	for _, t := range modelTensors(c, model.Flax, "params.") {
		for range t.Bytes() / 4 {
			content = append(content, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), 0x3d)
		}
	}
	return os.WriteFile(path, content, 0o666)
}

// openModel opens a file that writtenModel wrote.
func openModel(path string, c *model.Config) (*tensor.Checkpoint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	tensors := modelTensors(c, model.Flax, "params.")
	at := int64(0)
	for _, t := range tensors {
		t.Data = &tensor.Strided{Store: f, Base: at, Length: t.Elements(), DType: t.DType, View: tensor.RowMajor(t.Shape...)}
		at += t.Bytes()
	}
	return tensor.NewCheckpoint(path, "test", tensors, f)
}

var smallConfig = &model.Config{VocabSize: 96, Width: 32, MLPExpandedWidth: 48, NumHeads: 2, LRUWidth: 40, ConvWidth: 4,
	BlockTypes: []model.BlockType{model.Recurrent, model.Attention, model.Recurrent}}

// source returns the small model as a checkpoint in a file.
func source(t *testing.T) *tensor.Checkpoint {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source.bin")
	if err := writtenModel(path, smallConfig, 1); err != nil {
		t.Fatal(err)
	}
	c, err := openModel(path, smallConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func listed(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// checkDestination compares some tensors of a destination with the source, element by element, and all
// of them with the digests in conversion.json.
func checkDestination(src *tensor.Checkpoint, dst string) error {
	out, err := safetensors.Open(storage.Local(dst), ".")
	if err != nil {
		return err
	}
	defer out.Close()
	text, err := os.ReadFile(filepath.Join(dst, manifest.Name))
	if err != nil {
		return err
	}
	var manifest manifest.Manifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		return err
	}
	if len(manifest.Tensors) != len(out.Tensors()) {
		return fmt.Errorf("%d tensors in the manifest, %d in the file", len(manifest.Tensors), len(out.Tensors()))
	}
	for _, m := range manifest.Tensors {
		sum, err := tensor.Digest(context.Background(), out.Tensor(m.Name), digest.BLAKE3)
		if err != nil {
			return err
		}
		if sum != m.Sum {
			return fmt.Errorf("%s has digest %s, the manifest says %+v", m.Name, sum, m.Sum)
		}
	}
	up := src.Tensor("params.blocks.0.mlp_block.ffw_up.w")
	in, expanded := up.Shape[1], up.Shape[2]
	for half, name := range []string{"model.layers.0.mlp_block.gate_proj.weight", "model.layers.0.mlp_block.up_proj.weight"} {
		a, b := make([]byte, up.Bytes()), make([]byte, up.Bytes()/2)
		if _, err := up.ReadAt(a, 0); err != nil {
			return err
		}
		if _, err := out.Tensor(name).ReadAt(b, 0); err != nil {
			return err
		}
		for i := range in {
			for j := range expanded {
				want, got := a[((int64(half)*in+i)*expanded+j)*4:][:4], b[(j*in+i)*4:][:4]
				if !bytes.Equal(want, got) {
					return fmt.Errorf("%s [%d, %d] is %x, not %x", name, j, i, got, want)
				}
			}
		}
	}
	return nil
}

func TestConvert(t *testing.T) {
	src := source(t)
	dir := t.TempDir()
	for _, o := range []Options{{}, {Verify: true}, {MaxShardSize: 20_000, Verify: true}} {
		o.Settings = tinySettings
		dst := filepath.Join(dir, "out")
		var done, total int64
		o.Progress = func(d, n int64) { done, total = d, n }
		r, err := Convert(t.Context(), src, dst, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkDestination(src, dst); err != nil {
			t.Error(err)
		}
		var names []string
		for _, f := range r.Files {
			names = append(names, f.Name)
			if info, err := os.Stat(filepath.Join(dst, f.Name)); err != nil || f.Bytes == nil || info.Size() != *f.Bytes {
				t.Errorf("%s: %v, and not the bytes of %+v", f.Name, err, f)
			}
		}
		slices.Sort(names)
		if got := listed(t, dst); !slices.Equal(got, names) {
			t.Errorf("wrote %q, said %q", got, names)
		}
		if done != total || total < r.Bytes || r.Parameters*4 != r.Bytes || (o.MaxShardSize > 0) != (r.Shards > 1) {
			t.Errorf("progress %d of %d, %d parameters, %d bytes, %d shards", done, total, r.Parameters, r.Bytes, r.Shards)
		}
		if o.Verify != (r.Proof != nil) || o.Verify && (r.Proof.Elements != r.Parameters || r.Proof.Failures.Len() > 0) {
			t.Errorf("proof %+v", r.Proof)
		}
		if err := os.RemoveAll(dst); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConvertGivesTheSameBytes converts with different numbers of processors.
func TestConvertGivesTheSameBytes(t *testing.T) {
	src := source(t)
	dir := t.TempDir()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	contents := map[string][]byte{}
	for round := range 4 {
		runtime.GOMAXPROCS(1 + round*2)
		dst := filepath.Join(dir, "out")
		if _, err := Convert(t.Context(), src, dst, Options{Settings: tinySettings, Overwrite: true, DType: tensor.BF16}); err != nil {
			t.Fatal(err)
		}
		for _, name := range listed(t, dst) {
			content, err := os.ReadFile(filepath.Join(dst, name))
			if err != nil {
				t.Fatal(err)
			}
			if round > 0 && !bytes.Equal(content, contents[name]) {
				t.Errorf("round %d: %s differs", round, name)
			}
			contents[name] = content
		}
	}
}

func TestConvertDryRunWritesNothing(t *testing.T) {
	dir := t.TempDir()
	src := checkpoint(t, modelTensors(smallConfig, model.Flax, "params.")...) // no data at all
	r, err := Convert(t.Context(), src, filepath.Join(dir, "a", "out"), Options{Settings: tinySettings, DryRun: true})
	if err != nil || !r.DryRun || r.Tensors.Len() == 0 || r.Bytes == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if got := listed(t, dir); len(got) > 0 {
		t.Errorf("wrote %q", got)
	}
}

func TestConvertRefusesDestinations(t *testing.T) {
	src := source(t)
	here := filepath.Dir(src.Path)
	src.Source, src.Root = storage.Local(here), filepath.Base(src.Path)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(here, link); err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct {
		name, dst string
		replace   bool
		class     func(error) bool
	}{
		{"exists", here, false, nil},
		{"source inside", here, true, isSettingsError},
		{"source itself", src.Path, true, isSettingsError},
		{"source inside, through a link", link, true, isSettingsError},
		{"source inside, indirectly", filepath.Join(here, "x", ".."), true, isSettingsError},
	} {
		before := listed(t, here)
		_, err := Convert(t.Context(), src, tt.dst, Options{Settings: tinySettings, Overwrite: tt.replace})
		if err == nil || tt.class != nil && !tt.class(err) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := listed(t, here); !slices.Equal(got, before) {
			t.Errorf("%s: left %q", tt.name, got)
		}
	}
	part := filepath.Join(here, "part")
	if err := os.Mkdir(part, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, dst := range []string{part, src.Path} {
		if err := checkApart(here, dst); !isSettingsError(err) {
			t.Errorf("%s as a destination of %s: %v", dst, here, err)
		}
	}
	if err := publish.CheckFreeFor(filepath.Join(here, "out"), 1<<62); err == nil || !strings.Contains(err.Error(), "free") {
		t.Errorf("no room: %v", err)
	}
	for _, to := range []Target{ToHF, ToTorch} { // inside the source's directory is allowed, and again
		dst := filepath.Join(here, "out-"+to.String())
		if _, err := Convert(t.Context(), src, dst, Options{To: to, Settings: tinySettings}); err != nil {
			t.Error(err)
		}
		if err := checkApart(here, dst); err != nil {
			t.Error(err)
		}
	}
}

func isSettingsError(err error) bool {
	var e *OptionError
	return errors.As(err, &e)
}

// facing is Data whose layout, which a conversion reads, differs in one element from its stream, which
// a proof reads. It simulates a faulty conversion.
type facing struct{ honest, wrong *tensor.Strided }

func (d facing) Stream(off int64) (io.ReadCloser, error) { return d.honest.Stream(off) }
func (d facing) Strided() (*tensor.Strided, error)       { return d.wrong, nil }

// TestConvertVerifyCatchesAFault changes one element of one tensor while it is moved.
func TestConvertVerifyCatchesAFault(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for round := range 15 {
		src := source(t)
		i := rng.IntN(len(src.Tensors()))
		victim := src.Tensors()[i]
		honest := victim.Data.(*tensor.Strided)
		store := make([]byte, victim.Bytes())
		if _, err := victim.ReadAt(store, 0); err != nil {
			t.Fatal(err)
		}
		element := rng.IntN(len(store) / 4)
		store[element*4] ^= 1 // one ulp
		victim.Data = facing{honest, &tensor.Strided{Store: bytes.NewReader(store), Length: honest.Length, DType: honest.DType, View: honest.View}}
		dir := t.TempDir()
		_, err := Convert(t.Context(), src, filepath.Join(dir, "out"), Options{Settings: tinySettings, Verify: true})
		var failed *proof.Error
		if !errors.As(err, &failed) || failed.Failures.Len() != 1 || failed.Failures.At(0).Source != victim.Name || failed.Failures.At(0).Differing != 1 {
			t.Errorf("round %d: element %d of %s is wrong, and the proof says %v", round, element, victim.Name, err)
		}
		if got := listed(t, dir); len(got) > 0 {
			t.Errorf("left %q", got)
		}
	}
}

// TestConvertLeavesNothing makes conversions fail and interrupts them.
func TestConvertLeavesNothing(t *testing.T) {
	for _, to := range modelTargets {
		for _, replace := range []bool{false, true} {
			for _, how := range []string{"broken", "interrupted", "interrupted proof"} {
				breakOff(t, to, replace, how)
			}
		}
	}
}

func breakOff(t *testing.T, to Target, replace bool, how string) {
	t.Helper()
	broken := tensor.Bad("bad chunk")
	dir := t.TempDir()
	dst := filepath.Join(dir, "out")
	if replace {
		var err error
		if to == ToTorch {
			err = errors.Join(os.WriteFile(dst, []byte("old"), 0o666), os.WriteFile(dst+"."+manifest.Name, []byte("old too"), 0o666))
		} else {
			err = errors.Join(os.Mkdir(dst, 0o777), os.WriteFile(filepath.Join(dst, "config.json"), nil, 0o666))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before, names := contents(t, dir), listed(t, dir)
	src := source(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{To: to, Settings: tinySettings, Overwrite: replace, Verify: true}
	if how == "broken" {
		src.Tensors()[len(src.Tensors())-1].Data = tensortest.Broken{Err: broken}
	} else {
		o.Progress = func(done, total int64) {
			if done > 0 && (how == "interrupted" || done > total/2) {
				cancel()
			}
		}
	}
	_, err := Convert(ctx, src, dst, o)
	if how == "broken" && !errors.Is(err, broken) || how != "broken" && !errors.Is(err, context.Canceled) {
		t.Errorf("to %s, %s: %v", to, how, err)
	}
	if after := contents(t, dir); !maps.EqualFunc(before, after, bytes.Equal) || !slices.Equal(names, listed(t, dir)) {
		t.Errorf("to %s, %s: left %q", to, how, slices.Collect(maps.Keys(after)))
	}
}

// killConfig is large enough that its conversion can be killed before it ends.
var killConfig = &model.Config{VocabSize: 8000, Width: 256, MLPExpandedWidth: 512, NumHeads: 4, LRUWidth: 256, ConvWidth: 4,
	BlockTypes: []model.BlockType{model.Recurrent, model.Recurrent, model.Attention}}

const (
	killVariable = "GRIFFIN_TEST_CONVERT"
	killTarget   = "GRIFFIN_TEST_CONVERT_TO"
)

// TestMain runs a conversion instead of the tests if a test started this process to kill it.
func TestMain(m *testing.M) {
	path := os.Getenv(killVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	to, err := ParseTarget(os.Getenv(killTarget))
	var src *tensor.Checkpoint
	if err == nil {
		src, err = openModel(path, killConfig)
	}
	if err == nil {
		_, err = Convert(context.Background(), src, filepath.Join(filepath.Dir(path), "out"), Options{To: to, Settings: tinySettings, Overwrite: true})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestConvertKilled kills conversions at random moments. The destination is absent or complete, also
// while conversions that replace it are killed. The next conversion removes the temporary files.
func TestConvertKilled(t *testing.T) {
	for _, to := range []Target{ToHF, ToTorch} {
		t.Run(to.String(), func(t *testing.T) { testConvertKilled(t, to) })
	}
}

func testConvertKilled(t *testing.T, to Target) {
	dir := t.TempDir()
	path := filepath.Join(dir, "source.bin")
	if err := writtenModel(path, killConfig, 2); err != nil {
		t.Fatal(err)
	}
	src, err := openModel(path, killConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst := filepath.Join(dir, "out")
	run := func(killAfter time.Duration) (killed bool) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killVariable+"="+path, killTarget+"="+to.String())
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(killAfter, func() { cmd.Process.Kill() })
		defer timer.Stop()
		if err := cmd.Wait(); err == nil {
			return false
		}
		if stderr.Len() > 0 {
			t.Errorf("conversion failed: %s", &stderr)
		}
		return true
	}
	start := time.Now()
	if run(time.Minute) {
		t.Fatal("a conversion takes longer than a minute")
	}
	whole := time.Since(start)
	rng := rand.New(rand.NewPCG(uint64(start.UnixNano()), 0))
	kills, present := 0, false
	for round := range 12 {
		if round%4 == 0 {
			if err := errors.Join(os.RemoveAll(dst), os.RemoveAll(dst+"."+manifest.Name)); err != nil {
				t.Fatal(err)
			}
			present = false
		}
		if run(time.Duration(rng.Int64N(int64(whole) * 11 / 10))) {
			kills++
		}
		_, err := os.Stat(dst)
		if err != nil {
			if present || !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("round %d: the destination is gone: %v", round, err)
			}
			continue
		}
		present = true
		if err := checkWhole(src, dst, to); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if kills == 0 {
		t.Error("no conversion was killed")
	}
	if run(time.Minute) {
		t.Fatal("the last conversion was killed")
	}
	want := []string{"out", "source.bin"}
	if to == ToTorch {
		want = slices.Insert(want, 1, "out."+manifest.Name)
	}
	if got := listed(t, dir); !slices.Equal(got, want) {
		t.Errorf("%d kills left %q", kills, got)
	}
}

// checkWhole proves a destination, as Options.Verify does. The conversion.json of a file that is being
// replaced may be missing, but may not be that of another file.
func checkWhole(src *tensor.Checkpoint, dst string, to Target) error {
	if to == ToHF {
		return checkDestination(src, dst)
	}
	out, err := formats.Open(dst, formats.Options{})
	if err != nil {
		return err
	}
	defer out.Close()
	m, err := model.Open(context.Background(), src, model.Options{})
	if err != nil {
		return err
	}
	p, err := NewPlan(m, PlanOptions{To: to})
	if err != nil {
		return err
	}
	proved, err := proof.Prove(context.Background(), p.List, out, proof.Options{Dests: digest.BLAKE3})
	if err != nil {
		return err
	}
	if m, path, err := readManifest(dst); err != nil || m != nil && m.Tensors[0].Sum != proved.Digests.Dest(0) {
		return fmt.Errorf("%s is not of %s: %v", path, dst, err)
	}
	return proved.Err()
}
