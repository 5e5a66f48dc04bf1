package torch

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func namesOf(c *tensor.Checkpoint) (names []string) {
	for _, t := range c.Tensors() {
		names = append(names, t.Name)
	}
	return names
}

// TestObjects reads the tensors beside objects of classes that are not known, of which nothing is built.
func TestObjects(t *testing.T) {
	files, _ := filepath.Glob("testdata/objects/objects_*.pt")
	if len(files) != 4 {
		t.Fatalf("%d samples", len(files))
	}
	for _, file := range files {
		c, err := openPath(file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got := namesOf(c); !slices.Equal(got, []string{"w", "(a, 1).x"}) {
			t.Errorf("%s: tensors %q", file, got)
		}
		var objects string
		for _, d := range c.Details {
			if d.Key == "objects of unknown classes" {
				objects = d.Value
			}
		}
		for _, want := range []string{"args (argparse.Namespace)", "config (__main__.Config)", "path (pathlib.PurePosixPath)", "when (datetime.datetime)"} {
			if !strings.Contains(objects, want) {
				t.Errorf("%s: objects %s; %s is missing", file, objects, want)
			}
		}
		const hidden = "tensors in objects of unknown classes are left out (4): args.seed, slots.1.b, mapping.a, sequence.0"
		if !slices.Contains(c.Notes, hidden) {
			t.Errorf("%s: notes %q", file, c.Notes)
		}
		c.Close()
	}
	_, err := openPath("testdata/objects/only_an_object.pt")
	checkError(t, err, `tensor "tensor.w": lies in an object of an unknown class`)
}

// TestUnreadable refuses tensors that cannot be read, unless it is asked to leave them out.
func TestUnreadable(t *testing.T) {
	source := storage.Local("testdata/objects")
	_, err := Open(source, "unreadable.pt", Options{})
	checkError(t, err, `tensor "coo": is a sparse tensor`)
	if tensor.ReasonOf(err) != ReasonUnreadable {
		t.Errorf("reason %q", tensor.ReasonOf(err))
	}
	c, err := Open(source, "unreadable.pt", Options{SkipUnreadable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := namesOf(c); !slices.Equal(got, []string{"w", "last"}) {
		t.Errorf("tensors %q", got)
	}
	const note = "tensors that cannot be read are left out (10): coo, csr, quantized, channels, meta, nested, conj, keys and 2 more"
	if !slices.Equal(c.Notes, []string{note}) {
		t.Errorf("notes %q", c.Notes)
	}
}

// TestOneRank refuses the file of one rank for a reason that tells which package reads it.
func TestOneRank(t *testing.T) {
	_, err := openPath("ranks/testdata/fsdp2/model_world_size_3_rank_0.pt")
	if tensor.ReasonOf(err) != ReasonSharded {
		t.Errorf("%v", err)
	}
}
