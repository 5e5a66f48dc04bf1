package orbax

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// FuzzSteps finds the steps of a directory with any names in it. The lines of tree are paths of empty files. The newest
// step, or the one that is asked for, is one of those that Steps lists, and errors are about the directory.
func FuzzSteps(f *testing.F) {
	for _, tree := range []string{
		"1/_METADATA\n2/_METADATA", "step_1/default/_METADATA\nstep_10/default/_METADATA\n3", "000007/manifest.ocdbt\n8/commit_success.txt",
		"checkpoint_5\ncheckpoint_6", "7/state/checkpoint\n7/state/_METADATA\na_7/_METADATA", "1.orbax-checkpoint-tmp-0/_METADATA\n1/x",
		"9223372036854775807/_METADATA\n-1/_METADATA", "1/_METADATA\n01/_METADATA\n001/commit_success.txt",
	} {
		f.Add(tree, int64(Newest))
		f.Add(tree, int64(1))
	}
	f.Fuzz(func(t *testing.T, tree string, want int64) {
		source := fstest.MapFS{}
		for i, name := range strings.SplitN(tree, "\n", 30) {
			if name = path.Join("run", name); i < 29 && fs.ValidPath(name) && len(name) < 200 && strings.HasPrefix(name, "run/") {
				source[name] = &fstest.MapFile{}
			}
		}
		for name := range source { // a name that is a file and a directory
			for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
				if source[dir] != nil {
					return
				}
			}
		}
		var bad *tensor.FormatError
		steps, single, err := Steps(source, "run")
		if err != nil && !errors.As(err, &bad) && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("Steps: %v", err)
		}
		for i := 1; i < len(steps); i++ {
			if steps[i].Number < steps[i-1].Number {
				t.Fatalf("steps %v do not ascend", steps)
			}
		}
		c, err := Open(source, "run", want)
		if err == nil {
			c.Close()
			return
		}
		if !errors.As(err, &bad) && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("Open: %v", err)
		}
		if single && len(steps) > 0 {
			t.Fatalf("a checkpoint with the steps %v", steps)
		}
	})
}
