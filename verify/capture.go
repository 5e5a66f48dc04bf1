package verify

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

// captureFiles has one Python file for each implementation, and the one that they share.
//
//go:embed capture/*.py
var captureFiles embed.FS

// captureImplementations are the files of captureFiles.
var captureImplementations = []string{"jax", "torch", "transformers"}

// CaptureScripts returns the implementations that CaptureScript knows.
func CaptureScripts() []string { return slices.Clone(captureImplementations) }

// captureMark is the line of a script that the shared file takes the place of.
const captureMark = "from common import *  # replaced by the text of common.py when the script is printed\n"

// CaptureScript returns the Python script that records a fixture from an implementation, where that
// and the real weights are. It is one file and needs nothing of griffin's.
func CaptureScript(implementation string) (string, error) {
	if !slices.Contains(captureImplementations, implementation) {
		return "", fmt.Errorf("%q is none of %s", implementation, strings.Join(captureImplementations, ", "))
	}
	script, err := captureFiles.ReadFile("capture/" + implementation + ".py")
	if err != nil {
		return "", err
	}
	common, err := captureFiles.ReadFile("capture/common.py")
	if err != nil {
		return "", err
	}
	return strings.Replace(string(script), captureMark, string(common), 1), nil
}
