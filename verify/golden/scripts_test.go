package golden

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each script is one file of sound Python. (That they record what they should is for the interop checks,
// which have the implementations.)
func TestScripts(t *testing.T) {
	for _, name := range ScriptNames() {
		script, err := Script(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(script, "from common") || !strings.Contains(script, "def write_fixture(") || !strings.Contains(script, "float16 or float64") || !strings.HasPrefix(script, "#!") {
			t.Errorf("%s: the shared part is not in it", name)
		}
		python, err := exec.LookPath("python3")
		if err != nil {
			continue
		}
		check := exec.Command(python, "-c", "import sys; compile(sys.stdin.read(), 'script', 'exec')")
		check.Stdin = strings.NewReader(script)
		if said, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, said)
		}
	}
	if _, err := Script("common"); err == nil {
		t.Error("what is no implementation has a script")
	}
}

// A script refuses --out for a file that has anything in it, before it loads the checkpoint.
func TestScriptsReplaceNoFile(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "weights": "weights"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	const program = `import sys, types
sys.modules["numpy"] = types.ModuleType("numpy")
exec(open("capture/common.py").read())
parser("").parse_args(["checkpoint", "--out", sys.argv[1]])`
	for name, want := range map[string]string{"new": "", "empty": "", "weights": "weights exists: give another name, or remove it if it is not needed", ".": "exists"} {
		said, err := exec.Command(python, "-c", program, filepath.Join(dir, name)).CombinedOutput()
		if (err != nil) != (want != "") || !strings.Contains(string(said), want) {
			t.Errorf("%s: %v\n%s", name, err, said)
		}
	}
}
