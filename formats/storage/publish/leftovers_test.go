package publish

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// abandon makes what a killed run with that destination leaves.
func abandon(t *testing.T, dst string, digit string, bytes ...int) string {
	dir := stageName(dst, strings.Repeat(digit, stageRand))
	for i, n := range bytes {
		write(t, filepath.Join(dir, fmt.Sprint(i), "file"), strings.Repeat("x", n))
	}
	return dir
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "run")
	held := newStage(t, filepath.Join(dst, "7"), false)
	long := strings.Repeat("n", 150)
	want := []string{abandon(t, dst, "a", 5), abandon(t, dst, "b", 5, 6), abandon(t, filepath.Join(dst, "8"), "a", 7)}
	for _, stays := range []string{abandon(t, filepath.Join(dir, "other"), "a", 5), abandon(t, filepath.Join(dst, long), "a", 5), held.Dir} {
		defer func() {
			if _, err := os.Stat(stays); err != nil {
				t.Errorf("%s was removed", stays)
			}
		}()
	}
	for _, name := range []string{"file", "run.griffin-0000000000000000", ".griffin-aaaaaaaaaaaaaaaa", ".run.griffin-xxxxxxxxxxxxxxxx", ".run.griffin-aaaa"} {
		write(t, filepath.Join(dir, name), "")
	}
	removed, err := Clean(dst)
	slices.Sort(removed)
	slices.Sort(want)
	if err != nil || !slices.Equal(removed, want) {
		t.Errorf("%q, %v; want %q", removed, err, want)
	}
	for _, dst := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "file"), dst} {
		if removed, err := Clean(dst); len(removed) > 0 || err != nil {
			t.Errorf("%s: %q, %v", dst, removed, err)
		}
	}
}

// Space that the next run frees counts as free.
func TestAbandonedSpace(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "model")
	held := newStage(t, dst, false)
	write(t, filepath.Join(held.Dir, "file"), "held")
	if n := abandoned(dst); n != 0 {
		t.Errorf("%d bytes of a stage that is held", n)
	}
	stage := abandon(t, dst, "a", 100, 23)
	abandon(t, dst, "b", 7)
	abandon(t, filepath.Join(dir, "other"), "a", 1000)
	write(t, stageName(dst, strings.Repeat("c", stageRand)), "a file")
	write(t, filepath.Join(stageName(dst, strings.Repeat("d", stageRand))+oldMark, "file"), "the old destination")
	if n := abandoned(dst); n != 130 {
		t.Errorf("%d bytes, want 130", n)
	}
	if err := os.Truncate(filepath.Join(stage, "0", "file"), 1<<42); err != nil {
		t.Skip(err)
	}
	var space *SpaceError
	if err := CheckFreeFor(dst, 1<<41); err != nil {
		t.Error(err)
	}
	if err := CheckFreeFor(filepath.Join(dir, "new"), 1<<41); !errors.As(err, &space) || space.Need != 1<<41 {
		t.Error(err)
	}
	free, err := freeBytes(dir)
	if err != nil || free < 1<<20 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
}

// The old destination of a replacement in two steps is restored, unless the replacement still runs or is complete.
func TestCleanOld(t *testing.T) {
	for _, tt := range []struct {
		name            string
		held, published bool
		fault           system.Op
		restored, stays bool // the old content is at the destination; it is beside it
	}{
		{"killed", false, false, "", true, false},
		{"running", true, false, "", false, true},
		{"complete", false, true, "", false, false},
		{"cannot be renamed", false, false, system.OpRename, false, true},
	} {
		dir := t.TempDir()
		dst := filepath.Join(dir, "model")
		s := newStage(t, dst, true)
		old := s.Dir + oldMark
		write(t, filepath.Join(old, "file"), "old")
		if tt.published {
			write(t, filepath.Join(dst, "file"), "new")
		}
		if !tt.held {
			if err := errors.Join(os.RemoveAll(s.Dir), s.lock.release()); err != nil {
				t.Fatal(err)
			}
		}
		if tt.fault != "" {
			system.SetFault(func(op system.Op, _ string, n int) (int, error) {
				if op == tt.fault {
					return 0, io.ErrClosedPipe
				}
				return n, nil
			})
		}
		err := clean(dst)
		system.SetFault(nil)
		if (err != nil) != (tt.fault != "") {
			t.Errorf("%s: %v", tt.name, err)
		}
		content, _ := os.ReadFile(filepath.Join(dst, "file"))
		if _, err := os.Stat(old); (err == nil) != tt.stays || (string(content) == "old") != tt.restored || tt.published && string(content) != "new" {
			t.Errorf("%s: %q at the destination, the old one: %v", tt.name, content, err)
		}
		if tt.held {
			s.Discard()
		} else {
			s.leave()
		}
	}
}
