package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestWheel installs a wheel with pip in a fresh environment, runs what it installs, and removes it.
func TestWheel(t *testing.T) {
	needs(t, "python3")
	if err := exec.Command("python3", "-c", "import venv, ensurepip").Run(); err != nil {
		t.Skip("python3 has no venv with pip")
	}
	if testing.Short() {
		t.Skip("an environment with pip takes seconds")
	}
	if runtime.GOOS == "windows" {
		t.Skip("the program of this test is a shell script")
	}
	t.Chdir(root)
	r := &release{version: "v0.1.0-rc.2", dir: t.TempDir(), time: time.Unix(earliest, 0).UTC()}
	if err := r.wheel(binary{os: runtime.GOOS, arch: runtime.GOARCH, content: []byte("#!/bin/sh\necho griffin version v0.1.0-rc.2\n")}); err != nil {
		t.Fatal(err)
	}
	env := filepath.Join(t.TempDir(), "env")
	execute(t, "", "python3", "-m", "venv", env)
	pip := func(args ...string) string {
		return execute(t, "", filepath.Join(env, "bin", "python"), append([]string{"-m", "pip", "--disable-pip-version-check"}, args...)...)
	}
	pip("install", "-q", "--no-index", filepath.Join(r.dir, r.files[0]))
	griffin := filepath.Join(env, "bin", "griffin")
	if got := execute(t, "", griffin); got != "griffin version v0.1.0-rc.2\n" {
		t.Errorf("the installed program prints %q", got)
	}
	shown := pip("show", "--files", "griffin-ckpt")
	for _, want := range []string{"\nVersion: 0.1.0rc2\n", "griffin_ckpt-0.1.0rc2.dist-info/licenses/LICENSE\n", "licenses/" + thirdParty + "\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("pip show lacks %q:\n%s", want, shown)
		}
	}
	pip("uninstall", "-q", "-y", "griffin-ckpt")
	if _, err := os.Stat(griffin); !os.IsNotExist(err) {
		t.Errorf("after pip uninstall: %v", err)
	}
}

// TestVersionsOfPython checks versions that .ci/version does not print.
func TestVersionsOfPython(t *testing.T) {
	for _, version := range []string{"", "devel", "0.1.0", "v0.1", "v0.1.0-next", "v0.1.0-dev.1", "v0.1.0\n"} {
		if got, err := pythonVersion(version); err == nil {
			t.Errorf("%q is %q for Python, want an error", version, got)
		}
	}
}

// TestReproducible checks that files do not depend on when and where they are made.
func TestReproducible(t *testing.T) {
	needs(t, "go")
	t.Chdir(root)
	program := filepath.Join(t.TempDir(), "program")
	execute(t, "", "go", "build", "-ldflags", "-s -w", "-o", program, "./cmd/internal/release")
	args := func(dir string) []string {
		return []string{"-version", "v0.1.0", "-time", "1700000000", "-dir", dir, "-all", "linux/amd64=" + program, "darwin/arm64=" + program, "windows/amd64=" + program}
	}
	first, second := t.TempDir(), t.TempDir()
	for _, dir := range []string{first, second} {
		if err := run(args(dir)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(first)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		names = append(names, file.Name())
		if !bytes.Equal([]byte(read(t, filepath.Join(first, file.Name()))), []byte(read(t, filepath.Join(second, file.Name())))) {
			t.Errorf("%s differs", file.Name())
		}
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "SHA256SUMS") || !strings.Contains(got, "griffin_0.1.0_windows_amd64.zip") || len(names) != 9 {
		t.Errorf("files of the release: %s", got)
	}
	if _, err := exec.LookPath("tar"); err == nil {
		archive := filepath.Join(first, "griffin_0.1.0_linux_amd64.tar.gz")
		if got := execute(t, "", "tar", "-xOzf", archive, "griffin_0.1.0_linux_amd64/"+thirdParty); !strings.Contains(got, "The Go Authors") {
			t.Errorf("%s in the archive: %q", thirdParty, got)
		}
	}
	if _, err := exec.LookPath("sha256sum"); err == nil {
		execute(t, first, "sha256sum", "--quiet", "--check", "SHA256SUMS")
	}
}
