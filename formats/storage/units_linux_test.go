package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestIsMountPoint(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]bool{"/proc": true, "/proc/self": false, dir: false} {
		if got, err := isMountPoint(path); got != want || err != nil {
			t.Errorf("%s: %t, %v", path, got, err)
		}
	}
	if _, err := isMountPoint(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{{"/proc", dir, true}, {dir, filepath.Dir(dir), false}} {
		if got, err := onOtherDevice(tt.a, tt.b); got != tt.want || err != nil {
			t.Errorf("%s and %s: %t, %v", tt.a, tt.b, got, err)
		}
	}
	for _, paths := range [][2]string{{"/none", dir}, {dir, "/none"}} {
		if _, err := onOtherDevice(paths[0], paths[1]); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", paths, err)
		}
	}
}

// A stage of a file replaces regular files, and links in place of sidecars, and nothing else.
func TestCheckFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("file"), "")
	if err := errors.Join(unix.Mkfifo(at("pipe"), 0o666), os.Symlink(at("file"), at("link")), os.Symlink("nowhere", at("dangling"))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		replace bool
		reason  OutputReason
		exists  bool
	}{
		{"new", false, 0, false}, {"file", false, 0, true}, {"file", true, 0, false}, {"link", true, 0, false}, {"link", false, 0, true}, {"dangling", true, 0, false},
		{"pipe", true, OutputIsSpecial, false}, {"pipe", false, OutputIsSpecial, false}, {".", true, OutputIsDirectory, false},
	} {
		err := checkFile(at(tt.name), tt.replace)
		if errors.Is(err, fs.ErrExist) != tt.exists || reason(err) != tt.reason || err != nil && !tt.exists && tt.reason == 0 {
			t.Errorf("%s, replace %t: %v", tt.name, tt.replace, err)
		}
	}
	if err := checkFile(filepath.Join(at("file"), "x"), true); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
	for dst, want := range map[string]OutputReason{at("new"): 0, at("new") + "/": OutputIsDirectory} {
		if err := CheckStage(dst, ".json", false); reason(err) != want || want == 0 && err != nil {
			t.Errorf("%s: %v", dst, err)
		}
		if err := CheckStage(dst, "", false); err != nil {
			t.Errorf("%s: %v", dst, err)
		}
	}
}
