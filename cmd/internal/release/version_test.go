package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the module's directory, seen from this package.
var root = filepath.Join("..", "..", "..")

// TestVersion checks what .ci/version prints for source trees before, at and after a release.
func TestVersion(t *testing.T) {
	needs(t, "bash", "git")
	const (
		unreleased = "## 0.2.0 (unreleased)\n\n## 0.1.0 (2026-01-02)\n"
		released   = "## 0.2.0 (2026-03-04)\n"
		commit     = ".20260102030405.gCOMMIT"
	)
	for _, test := range []struct {
		name, changelog string
		steps           []string // git commands; none leave the tree without git
		dirty           bool
		want, python    string
	}{
		{"archive", unreleased, nil, false, "v0.2.0-dev", "0.2.0.dev0"},
		{"archive of a release", released, nil, false, "v0.2.0", "0.2.0"},
		{"commit", unreleased, []string{"init"}, false, "v0.2.0-dev" + commit, "0.2.0.dev20260102030405+gCOMMIT"},
		{"changes", unreleased, []string{"init"}, true, "v0.2.0-dev" + commit + ".dirty", "0.2.0.dev20260102030405+gCOMMIT.dirty"},
		{"tag", released, []string{"init", "tag v0.2.0"}, false, "v0.2.0", "0.2.0"},
		{"two tags", released, []string{"init", "tag v0.10.0", "tag v0.9.0"}, false, "v0.10.0", "0.10.0"},
		{"candidate", unreleased, []string{"init", "tag v0.2.0-rc.1"}, false, "v0.2.0-rc.1", "0.2.0rc1"},
		{"another tag", unreleased, []string{"init", "tag tested"}, false, "v0.2.0-dev" + commit, "0.2.0.dev20260102030405+gCOMMIT"},
		{"tag and changes", released, []string{"init", "tag v0.2.0"}, true, "v0.2.1-dev" + commit + ".dirty", "0.2.1.dev20260102030405+gCOMMIT.dirty"},
		{"after a release", released, []string{"init"}, false, "v0.2.1-dev" + commit, "0.2.1.dev20260102030405+gCOMMIT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := sourceTree(t, "# Changelog\n\n"+test.changelog)
			for _, step := range test.steps {
				if step == "init" {
					execute(t, dir, "git", "init", "-q")
					execute(t, dir, "git", "add", ".")
					execute(t, dir, "git", "commit", "-q", "-m", "all")
					continue
				}
				execute(t, dir, "git", strings.Fields(step)...)
			}
			if test.dirty {
				write(t, filepath.Join(dir, "new"), "")
			}
			if test.steps != nil {
				name := execute(t, dir, "git", "rev-parse", "HEAD")[:12]
				test.want, test.python = strings.ReplaceAll(test.want, "COMMIT", name), strings.ReplaceAll(test.python, "COMMIT", name)
			}
			got := strings.TrimSpace(execute(t, dir, "bash", ".ci/version"))
			if got != test.want {
				t.Errorf("version %s, want %s", got, test.want)
			}
			if got, err := pythonVersion(got); got != test.python || err != nil {
				t.Errorf("for Python %s, want %s (%v)", got, test.python, err)
			}
		})
	}
}

// TestVersionInForeignRepository checks that an archive that was unpacked in a directory of another repository does not take
// the commit of that repository.
func TestVersionInForeignRepository(t *testing.T) {
	needs(t, "bash", "git")
	outer := t.TempDir()
	execute(t, outer, "git", "init", "-q")
	execute(t, outer, "git", "commit", "-q", "--allow-empty", "-m", "all")
	inner := filepath.Join(outer, "griffin")
	if err := os.Rename(sourceTree(t, "## 0.2.0 (unreleased)\n"), inner); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(execute(t, inner, "bash", ".ci/version")); got != "v0.2.0-dev" {
		t.Errorf("version %s, want v0.2.0-dev", got)
	}
}

// TestMakeSetsVersion checks that make passes the version of the source tree to the linker, which finds the variable.
func TestMakeSetsVersion(t *testing.T) {
	needs(t, "bash", "make", "go")
	want := strings.TrimSuffix(strings.TrimSpace(execute(t, root, "bash", ".ci/version")), ".dirty") // other tests may write files meanwhile
	variable := "github.com/griffin-ckpt/griffin/convert.version"
	for _, target := range []string{"build", "cross"} {
		if commands := execute(t, root, "make", "-n", target); !strings.Contains(commands, variable+"="+want) {
			t.Errorf("make %s does not set the version %s:\n%s", target, want, commands)
		}
	}
	if source := read(t, filepath.Join(root, "convert", "version.go")); !strings.Contains(source, "\nvar version string\n") {
		t.Error("convert has no variable version that the linker could set")
	}
}

// sourceTree returns a directory with .ci/version and a changelog.
func sourceTree(t *testing.T, changelog string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".ci", "version"), read(t, filepath.Join(root, ".ci", "version")))
	write(t, filepath.Join(dir, "CHANGELOG.md"), changelog)
	return dir
}

// needs skips a test if a program is missing.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
}

// execute runs a program in a directory and returns its standard output. Git sees no settings of the user.
func execute(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	c := exec.Command(program, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_COMMITTER_DATE=2026-01-02T04:04:05+0100")
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
