package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"
)

// distribution is the name of the Python package.
const distribution = "griffin_ckpt"

// wheelTags are the platforms of wheels. The binaries for Linux are static: they run with glibc and with musl. Go 1.26 needs macOS 12.
var wheelTags = map[string]string{
	"linux/amd64":   "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
	"linux/arm64":   "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
	"darwin/amd64":  "macosx_12_0_x86_64",
	"darwin/arm64":  "macosx_12_0_arm64",
	"windows/amd64": "win_amd64",
	"windows/arm64": "win_arm64",
}

var (
	released    = regexp.MustCompile(`^v(\d+\.\d+\.\d+)(?:-(alpha|beta|rc)\.?(\d+))?$`)
	development = regexp.MustCompile(`^v(\d+\.\d+\.\d+)-dev(?:\.(\d{14})\.(g[0-9a-f]{12})(\.dirty)?)?$`)
	candidates  = map[string]string{"": "", "alpha": "a", "beta": "b", "rc": "rc"}
)

// pythonVersion returns a version of .ci/version in the form of PEP 440.
func pythonVersion(version string) (string, error) {
	if m := released.FindStringSubmatch(version); m != nil {
		return m[1] + candidates[m[2]] + m[3], nil
	}
	m := development.FindStringSubmatch(version)
	switch {
	case m == nil:
		return "", fmt.Errorf("%q is neither the version of a release, such as v0.1.0 or v0.1.0-rc.1, nor one that .ci/version prints", version)
	case m[2] == "":
		return m[1] + ".dev0", nil
	}
	return m[1] + ".dev" + m[2] + "+" + m[3] + m[4], nil
}

// wheel writes a Python wheel that installs griffin beside python. The format is described in the specification "Binary
// distribution format" of the Python packaging guide.
func (r *release) wheel(b binary) error {
	version, err := pythonVersion(r.version)
	if err != nil {
		return err
	}
	platform, ok := wheelTags[b.os+"/"+b.arch]
	if !ok {
		return fmt.Errorf("there is no wheel for %s/%s", b.os, b.arch)
	}
	license, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		return err
	}
	var wheel strings.Builder
	wheel.WriteString("Wheel-Version: 1.0\nGenerator: griffin " + r.version + "\nRoot-Is-Purelib: false\n")
	for tag := range strings.SplitSeq(platform, ".") {
		wheel.WriteString("Tag: py3-none-" + tag + "\n")
	}
	metadata := "Metadata-Version: 2.4\nName: " + strings.ReplaceAll(distribution, "_", "-") + "\nVersion: " + version + `
Summary: Converts, verifies and compares checkpoints of the Griffin family (RecurrentGemma, Griffin, Hawk)
Project-URL: Source, https://github.com/griffin-ckpt/griffin
License-Expression: Apache-2.0
License-File: LICENSE
License-File: NOTICE
License-File: ` + thirdParty + `
Requires-Python: >=3.8
Description-Content-Type: text/markdown

This package installs the command ` + "`griffin`" + `, a static binary that needs neither Python nor a GPU. Its pages are at
https://github.com/griffin-ckpt/griffin.
`
	info := distribution + "-" + version + ".dist-info/"
	entries := []entry{
		{distribution + "-" + version + ".data/scripts/" + b.name(), 0o755, b.content},
		{info + "licenses/LICENSE", 0o644, license},
		{info + "licenses/NOTICE", 0o644, notice},
		{info + "licenses/" + thirdParty, 0o644, b.licenses},
		{info + "METADATA", 0o644, []byte(metadata)},
		{info + "WHEEL", 0o644, []byte(wheel.String())},
	}
	var record strings.Builder
	for _, e := range entries {
		sum := sha256.Sum256(e.content)
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", e.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(e.content))
	}
	record.WriteString(info + "RECORD,,\n")
	entries = append(entries, entry{info + "RECORD", 0o644, []byte(record.String())})
	content, err := zipped(entries, r.time)
	if err != nil {
		return err
	}
	return r.write(distribution+"-"+version+"-py3-none-"+platform+".whl", content)
}

// entry is a file in an archive.
type entry struct {
	name    string
	mode    fs.FileMode
	content []byte
}

// zipped returns a zip file.
func zipped(entries []entry, modified time.Time) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate, Modified: modified}
		header.SetMode(e.mode)
		w, err := z.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
