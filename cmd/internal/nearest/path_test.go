package nearest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPath(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"runs/step-100/model.safetensors", "2b-it.pt", "notes.txt", "NOTICE"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("runs", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	isModel := func(name string) bool { return filepath.Ext(name) == ".pt" || filepath.Ext(name) == ".safetensors" }
	for _, c := range []struct{ path, want string }{
		{"2b-it.pt", "2b-it.pt"},
		{"2b-ti.pt", "2b-it.pt"},
		{"2b-it.tp", "2b-it.pt"},
		{"2b-it.p", "2b-it.pt"},
		{"2b-it.t", "2b-it.pt"},
		{"2b-it", "2b-it.pt"},
		{"run/step-100", "runs/step-100"},
		{"rusn/step-10/modle.safetensors", "runs/step-100/model.safetensors"},
		{"notes", ""}, // no model
		{"9b-something-else.pt", ""},
		{"elsewhere/2b-it.pt", ""},
	} {
		want := c.want
		if want != "" {
			want = filepath.Join(dir, filepath.FromSlash(want))
		}
		if got := Path(filepath.Join(dir, filepath.FromSlash(c.path)), FileOrDirectory, isModel); got != want {
			t.Errorf("%s: got %q, want %q", c.path, got, want)
		}
	}
	for _, c := range []struct {
		path string
		kind Kind
		want string
	}{
		{"notice", Directory, ""}, {"notes.tx", Directory, ""}, {"run", Directory, "runs"}, {"run/step-10", Directory, "runs/step-100"}, {"lnik", Directory, "link"},
		{"notes.tx", File, "notes.txt"}, {"runs.txt", File, ""}, {"lnik", File, ""}, {"run/step-100/model.safetensor", File, "runs/step-100/model.safetensors"},
	} {
		got := Path(filepath.Join(dir, filepath.FromSlash(c.path)), c.kind, isModel)
		if rest, _ := strings.CutPrefix(got, dir+string(filepath.Separator)); filepath.ToSlash(rest) != c.want {
			t.Errorf("%s of kind %d: got %q, want %q", c.path, c.kind, got, c.want)
		}
	}
	if got := Path("s3://bucket/2b-it.pt", FileOrDirectory, isModel); got != "" {
		t.Errorf("an address: got %q", got)
	}
}
