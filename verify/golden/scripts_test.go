package golden

import (
	"os/exec"
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
