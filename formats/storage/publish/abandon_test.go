package publish_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// Abandon removes what is staged, and nothing is published afterwards. It is called in a process of its own, which it is
// the end of.
func TestAbandon(t *testing.T) {
	if dir := os.Getenv("ABANDON_IN"); dir != "" {
		abandonIn(t, dir)
		return
	}
	dir := t.TempDir()
	c := exec.Command(os.Args[0], "-test.run=^TestAbandon$")
	c.Env = append(os.Environ(), "ABANDON_IN="+dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "published" {
		t.Errorf("left %v", entries)
	}
}

func abandonIn(t *testing.T, dir string) {
	make := func(name string) *publish.Stage {
		s, err := publish.NewStage(filepath.Join(dir, name), false)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Dir, "file"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		return s
	}
	published, discarded, late := make("published"), make("discarded"), make("new/late")
	make("staged")
	if err := published.Publish(); err != nil {
		t.Fatal(err)
	}
	if err := discarded.Discard(); err != nil {
		t.Fatal(err)
	}
	file, err := publish.NewFileStage(filepath.Join(dir, "file"), ".json", false)
	if err != nil {
		t.Fatal(err)
	}
	publish.Abandon()
	for _, path := range []string{file.File, file.Sidecar} {
		_ = os.WriteFile(path, nil, 0o644) // its directory is gone
	}
	var group task.Group
	group.Go(late.Publish)
	time.Sleep(50 * time.Millisecond)
}
