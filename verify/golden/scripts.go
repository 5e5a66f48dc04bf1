package golden

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

// scriptFiles holds one Python file for each implementation, and common.py, which they share.
//
//go:embed capture/*.py
var scriptFiles embed.FS

var scriptNames = []string{"jax", "torch", "transformers"}

// ScriptNames returns the names of the implementations that Script has programs for.
func ScriptNames() []string { return slices.Clone(scriptNames) }

// importLine is the line of a script that Script replaces by the text of common.py.
const importLine = "from common import *  # replaced by the text of common.py when the script is printed\n"

// Script returns a Python program that records a fixture with an implementation, on a machine that has the
// implementation and the weights. It is one file and does not need griffin.
func Script(implementation string) (string, error) {
	if !slices.Contains(scriptNames, implementation) {
		return "", fmt.Errorf("%q is not one of %s", implementation, strings.Join(scriptNames, ", "))
	}
	script, err := scriptFiles.ReadFile("capture/" + implementation + ".py")
	if err != nil {
		return "", err
	}
	common, err := scriptFiles.ReadFile("capture/common.py")
	if err != nil {
		return "", err
	}
	return strings.Replace(string(script), importLine, string(common), 1), nil
}
