package convert_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
	"github.com/griffin-ckpt/griffin/formats/storage/upload"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// stores are what addresses of the scheme "faulty" lead to, by host.
var stores = map[string]*storagetest.Store{}

func init() {
	publish.RegisterSink("faulty", func(ctx context.Context, address string, single bool) (publish.Sink, error) {
		host, key, _ := strings.Cut(strings.TrimPrefix(address, "faulty://"), "/")
		pool := remote.NewPool(ctx, remote.Options{Backoff: time.Microsecond, Attempts: 3})
		return upload.New(pool, stores[host], key, single), nil
	})
}

// requestFault is what happens at the n-th request to a store.
type requestFault struct {
	n       int
	kind    string // "once", "applied": it fails, without or after its effect; "refused": it fails for good; "killed": all that follow fail
	applied bool
}

func (f requestFault) String() string {
	return fmt.Sprintf("request %d %s, applied %t", f.n, f.kind, f.applied)
}

// TestSinkFaults makes requests to a store fail under conversions: a sample of them, or with -faults each one.
func TestSinkFaults(t *testing.T) {
	t.Setenv("TMPDIR", memoryDir(t)) // where runs show that they are alive
	total := 0
	for i, c := range faultCases(t) {
		for _, replace := range []bool{false, true} {
			name := c.name
			if replace {
				name += ", replacing"
			}
			t.Run(name, func(t *testing.T) {
				f := newSinkRun(t, c, replace)
				all := f.faults()
				rand.New(rand.NewPCG(2, uint64(i))).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				switch {
				case *allFaults:
				case testing.Short():
					all = all[:min(len(all), 10)]
				default:
					all = all[:min(len(all), 40)]
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

// sinkRun is a conversion to a store that runs again and again.
type sinkRun struct {
	t             *testing.T
	c             faultCase
	options       convert.Options
	before, after map[string]string // objects
}

func newSinkRun(t *testing.T, c faultCase, replace bool) *sinkRun {
	f := &sinkRun{t: t, c: c, options: c.options, before: map[string]string{}}
	f.options.Overwrite, f.options.Verify = replace, replace
	others := map[string]string{"run/other": "x", "run/" + c.dst + "2": "y"}
	maps.Copy(f.before, others)
	if replace {
		o := c.options
		o.DType = tensor.BF16
		f.before = f.convert(storagetest.NewStore(), others, o)
	}
	f.after = f.convert(storagetest.NewStore(), f.before, f.options)
	return f
}

// convert runs the conversion without faults and returns the objects.
func (f *sinkRun) convert(s *storagetest.Store, objects map[string]string, o convert.Options) map[string]string {
	maps.Copy(s.Objects, objects)
	if err := f.run(s, o); err != nil {
		f.t.Fatal(err)
	}
	return s.Objects
}

func (f *sinkRun) run(s *storagetest.Store, o convert.Options) error {
	host := filepath.Base(f.t.TempDir())
	stores[host] = s
	defer delete(stores, host)
	return f.c.convert("faulty://"+host+"/run/"+f.c.dst, o)
}

// faults lists every fault at every request.
func (f *sinkRun) faults() (all []requestFault) {
	s := storagetest.NewStore()
	f.convert(s, f.before, f.options)
	for n := range s.Requests {
		for _, kind := range []string{"once", "refused", "killed"} {
			all = append(all, requestFault{n + 1, kind, false}, requestFault{n + 1, kind, true})
		}
	}
	return all
}

func (f *sinkRun) fail(fault requestFault) {
	t, s := f.t, storagetest.NewStore()
	maps.Copy(s.Objects, f.before)
	s.Fault = func(_ string, request int) (bool, error) {
		switch {
		case request == fault.n && fault.kind == "refused":
			return fault.applied, remote.Errorf("faulty://", remote.Forbidden, "no")
		case request == fault.n || request > fault.n && fault.kind == "killed":
			return fault.applied && request == fault.n, remote.Errorf("faulty://", remote.Failing, "503")
		}
		return false, nil
	}
	goroutines := runtime.NumGoroutine()
	failed := f.run(s, f.options)
	if fault.kind == "once" && failed != nil {
		t.Errorf("%v: one failing request: %v", fault, failed)
	}
	if failed != nil && !errors.As(failed, new(*remote.Error)) {
		t.Errorf("%v: not an error of the store: %v", fault, failed)
	}
	for range 200 {
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Errorf("%v: %d goroutines, %d before", fault, now, goroutines)
	}
	f.checkState(fault, s.Objects, failed)
	s.Fault = nil
	again := f.options
	again.Overwrite = true
	if err := f.run(s, again); err != nil {
		t.Errorf("%v: the next run: %v", fault, err)
	}
	if !equalTrees(s.Objects, f.after) || len(s.Unfinished) > 0 {
		t.Errorf("%v: the next run leaves %s and %d unfinished uploads", fault, difference(s.Objects, f.after), len(s.Unfinished))
	}
}

// checkState accepts a destination that is as it was, absent or complete.
func (f *sinkRun) checkState(fault requestFault, objects map[string]string, failed error) {
	visible := maps.Clone(objects)
	maps.DeleteFunc(visible, func(key, _ string) bool { return strings.HasPrefix(key, "run/.") })
	there := false // whether the file is there without which the destination is not usable
	for _, name := range []string{"/" + orbax.CommitName, "/config.json", "/model.safetensors", ""} {
		if _, ok := f.after["run/"+f.c.dst+name]; ok {
			_, there = visible["run/"+f.c.dst+name]
			break
		}
	}
	switch {
	case equalTrees(visible, f.after):
	case failed == nil:
		f.t.Errorf("%v: no error, and no complete destination: %s", fault, difference(visible, f.after))
	case equalTrees(visible, f.before):
	case there:
		f.t.Errorf("%v: %v: neither old nor complete: %s", fault, failed, difference(visible, f.after))
	}
}
