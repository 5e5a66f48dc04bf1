package verify_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/generate"
	"github.com/griffin-ckpt/griffin/reference/perplexity"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/golden"
	runtimes "github.com/griffin-ckpt/griffin/verify/runtime"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// Whatever is cancelled at whatever moment, it ends with context.Canceled or its result, and leaves no goroutine and no open file.
func TestCancelled(t *testing.T) {
	a, b := openTest(t, "finetune/base"), openTest(t, "finetune/merged")
	odd := openTest(t, "odd-griffin/hf")
	m, err := runtimes.Open(t.Context(), odd, runtimes.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run := m.Reference(reference.Original, reference.Arithmetic{})
	tokens, err := golden.RandomTokens(24, m.Config.VocabSize, 1)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int32, 200)
	for i := range ids {
		ids[i] = int32(i) % int32(m.Config.VocabSize)
	}
	dir := t.TempDir()
	fixture := filepath.Join(dir, "golden.safetensors")
	if _, err := golden.Record(t.Context(), fixture, run, tokens, golden.RecordOptions{}); err != nil {
		t.Fatal(err)
	}

	commands := map[string]func(ctx context.Context) error{
		"verify": func(ctx context.Context) error {
			_, err := verify.Verify(ctx, a, b, verify.Options{})
			return err
		},
		"verify with recorded logits": func(ctx context.Context) error {
			_, err := verify.Verify(ctx, odd, odd, verify.Options{Golden: fixture})
			return err
		},
		"diff": func(ctx context.Context) error {
			_, err := diff.Diff(ctx, a, b, diff.Options{})
			return err
		},
		"golden": func(ctx context.Context) error {
			_, err := golden.Record(ctx, filepath.Join(dir, "again.safetensors"), run, tokens, golden.RecordOptions{DecodeFrom: 12})
			return err
		},
		"generate": func(ctx context.Context) error {
			session := generate.New(run)
			if err := session.Read(ctx, ids[:32], nil); err != nil {
				return err
			}
			_, err := session.Generate(ctx, generate.Options{Max: 10}, nil)
			return err
		},
		"perplexity": func(ctx context.Context) error {
			scorer, err := perplexity.New(run)
			if err != nil {
				return err
			}
			return errors.Join(scorer.Add(ctx, ids), scorer.EndRow(ctx))
		},
		"statistics": func(ctx context.Context) error {
			for _, x := range odd.Tensors() {
				if _, err := stats.Of(ctx, x); err != nil {
					return err
				}
			}
			return nil
		},
	}
	for name, o := range map[string]convert.Options{
		"convert to hf":    {To: convert.ToHF, Overwrite: true, Verify: true},
		"convert to torch": {To: convert.ToTorch, Overwrite: true, Verify: true},
		"convert to orbax": {To: convert.ToOrbax, OrbaxFormat: orbax.OCDBT, Overwrite: true},
		"convert to zarr":  {To: convert.ToOrbax, OrbaxFormat: orbax.Zarr, Overwrite: true, Verify: true},
	} {
		commands[name] = func(ctx context.Context) error {
			_, err := convert.Convert(ctx, odd, filepath.Join(dir, name), o)
			return err
		}
	}
	for name, do := range commands {
		t.Run(name, func(t *testing.T) { cancelled(t, do) })
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name()[0] == '.' {
			t.Errorf("left %s", e.Name())
		}
	}
}

func openTest(t *testing.T, name string) *tensor.Checkpoint {
	c, err := formats.Open(filepath.Join("..", "testdata", filepath.FromSlash(name)), formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// cancelled runs a command, and again with an end at several moments.
func cancelled(t *testing.T, do func(ctx context.Context) error) {
	start := time.Now()
	if err := do(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	goroutines, files := runtime.NumGoroutine(), openFiles()
	moments := 24
	if testing.Short() {
		moments = 6
	}
	ended := 0
	for i := range moments {
		ctx, cancel := context.WithCancel(t.Context())
		if i == 0 {
			cancel()
		} else {
			time.AfterFunc(took*time.Duration(i)/time.Duration(moments), cancel)
		}
		err := do(ctx)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("at %d of %d: %v", i, moments, err)
		}
		if err != nil {
			ended++
		}
	}
	for range 400 {
		if runtime.NumGoroutine() <= goroutines && openFiles() <= files {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if n, f := runtime.NumGoroutine(), openFiles(); n > goroutines || f > files {
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before; %d open files, %d before\n%s", n, goroutines, f, files, stacks[:runtime.Stack(stacks, true)])
	}
	if ended == 0 {
		t.Error("it did not hear the end")
	}
}

// openFiles returns the number of open files, 0 where the system does not tell.
func openFiles() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
