package convert_test

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Of three conversions to one destination at once, those that are refused say so, and the result is that of one of them. Nothing
// else is left.
func TestTogether(t *testing.T) {
	t.Setenv("TMPDIR", memoryDir(t)) // where runs show that they are alive
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	for _, c := range faultCases(t)[:7] {
		for _, replace := range []bool{false, true} {
			f := newFaultRun(t, c, replace)
			t.Run(f.name(), func(t *testing.T) {
				f.t = t
				for range rounds {
					f.reset()
					dst := filepath.Join(f.base, "work", c.dst)
					atOnce(t, func(o convert.Options) error { return c.convert(dst, o) }, f.options)
					f.checkOneOf(readTree(t, filepath.Join(f.base, "work")))
				}
			})
			t.Run(f.name()+", to a store", func(t *testing.T) {
				f := newSinkRun(t, c, replace)
				stores["together"] = storagetest.NewStore()
				defer delete(stores, "together")
				maps.Copy(stores["together"].Objects, f.before)
				atOnce(t, func(o convert.Options) error { return c.convert("faulty://together/run/"+c.dst, o) }, f.options)
				if s := stores["together"]; !equalTrees(s.Objects, f.after) || len(s.Unfinished) > 0 {
					t.Errorf("left %s, %d unfinished", difference(s.Objects, f.after), len(s.Unfinished))
				}
			})
		}
	}
}

// atOnce runs a conversion three times at once.
func atOnce(t *testing.T, run func(o convert.Options) error, o convert.Options) {
	t.Helper()
	var done [3]chan error
	for i := range done {
		done[i] = make(chan error)
		go func() { done[i] <- run(o) }()
	}
	succeeded := 0
	for _, d := range done {
		err := <-d
		switch {
		case err == nil:
			succeeded++
		case errors.Is(err, fs.ErrExist) && !o.Overwrite, errors.As(err, new(*publish.BusyError)):
		default:
			t.Error(err)
		}
	}
	if succeeded == 0 {
		t.Error("none has succeeded")
	}
}

// checkOneOf fails unless a directory has the complete destination and nothing else.
func (f *faultRun) checkOneOf(tree map[string]string) {
	if !equalTrees(tree, f.after) {
		f.t.Errorf("left %s", difference(tree, f.after))
	}
}

// Conversions with different results, at once, never mix them.
func TestTogetherDiffer(t *testing.T) {
	for _, c := range faultCases(t)[:5] {
		f := newFaultRun(t, c, true)
		f.t = t
		f.reset()
		dst := filepath.Join(f.base, "work", c.dst)
		var done [4]chan error
		for i := range done {
			done[i] = make(chan error)
			o := f.options
			if i%2 == 1 {
				o.DType, o.Verify = tensor.BF16, false // as before
			}
			go func() { done[i] <- c.convert(dst, o) }()
		}
		for _, d := range done {
			if err := <-d; err != nil && !errors.As(err, new(*publish.BusyError)) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		tree := readTree(t, filepath.Join(f.base, "work"))
		if !equalTrees(tree, f.after) && !equalTrees(tree, f.before) {
			t.Errorf("%s: a mixture: %s", c.name, strings.Join([]string{difference(tree, f.after), difference(tree, f.before)}, "; "))
		}
	}
}
