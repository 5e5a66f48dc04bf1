package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// all writes the files of a release other than wheels.
func (r *release) all(binaries []binary) error {
	sums := map[string]string{} // of archives, by platform
	for _, b := range binaries {
		name, content, err := r.archive(b)
		if err != nil {
			return err
		}
		if err := r.write(name, content); err != nil {
			return err
		}
		sums[b.os+"/"+b.arch] = fmt.Sprintf("%x", sha256.Sum256(content))
	}
	if err := r.billOfMaterials(binaries); err != nil {
		return err
	}
	if err := r.formula(sums); err != nil {
		return err
	}
	return r.checksums()
}

// number is the version without v.
func (r *release) number() string { return strings.TrimPrefix(r.version, "v") }

// archive returns the name and the content of the archive of a binary: a zip file for Windows, a compressed tar file otherwise.
func (r *release) archive(b binary) (string, []byte, error) {
	name := "griffin_" + r.number() + "_" + b.os + "_" + b.arch
	entries := []entry{{name + "/" + b.name(), 0o755, b.content}}
	for _, page := range []string{"README.md", "CHANGELOG.md", "LICENSE", "NOTICE"} {
		content, err := os.ReadFile(page)
		if err != nil {
			return "", nil, err
		}
		entries = append(entries, entry{name + "/" + page, 0o644, content})
	}
	entries = append(entries, entry{name + "/" + thirdParty, 0o644, b.licenses})
	if b.os == "windows" {
		content, err := zipped(entries, r.time)
		return name + ".zip", content, err
	}
	content, err := tarred(entries, r.time)
	return name + ".tar.gz", content, err
}

// tarred returns a compressed tar file.
func tarred(entries []entry, modified time.Time) ([]byte, error) {
	var out bytes.Buffer
	compressed, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(compressed)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Mode: int64(e.mode), Size: int64(len(e.content)), ModTime: modified, Uname: "root", Gname: "root", Format: tar.FormatUSTAR}
		if err := t.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := t.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	if err := compressed.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// component is a Go module in a list of CycloneDX.
type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
}

// billOfMaterials writes the modules that the binaries contain, and the version of Go, as a CycloneDX list (SBOM).
func (r *release) billOfMaterials(binaries []binary) error {
	modules := map[string]component{} // by package URL
	var own component
	for _, b := range binaries {
		info, err := buildinfo.Read(bytes.NewReader(b.content))
		if err != nil {
			return fmt.Errorf("%s/%s: %w", b.os, b.arch, err)
		}
		own = module("application", info.Main.Path, r.version)
		all := []component{module("library", "std", strings.TrimPrefix(info.GoVersion, "go"))}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			all = append(all, module("library", m.Path, m.Version))
		}
		for _, c := range all {
			modules[c.PURL] = c
		}
	}
	list := map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata":   map[string]any{"timestamp": r.time.Format(time.RFC3339), "component": own},
		"components": slices.SortedFunc(maps.Values(modules), func(a, b component) int { return strings.Compare(a.PURL, b.PURL) }),
	}
	content, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return r.write("griffin_"+r.number()+"_sbom.cdx.json", append(content, '\n'))
}

func module(kind, path, version string) component {
	return component{Type: kind, Name: path, Version: version, PURL: "pkg:golang/" + path + "@" + version}
}

// formula writes a formula for Homebrew, of the platforms that Homebrew supports and the release has.
func (r *release) formula(sums map[string]string) error {
	var b strings.Builder
	fmt.Fprintf(&b, `class Griffin < Formula
  desc "Converts, verifies and compares checkpoints of the Griffin family"
  homepage "https://github.com/griffin-ckpt/griffin"
  version "%s"
  license "Apache-2.0"
`, r.number())
	for _, system := range []struct{ block, os string }{{"macos", "darwin"}, {"linux", "linux"}} {
		if _, arm := sums[system.os+"/arm64"]; !arm && sums[system.os+"/amd64"] == "" {
			continue
		}
		fmt.Fprintf(&b, "\n  on_%s do\n", system.block)
		for _, processor := range []struct{ block, arch string }{{"arm", "arm64"}, {"intel", "amd64"}} {
			sum, ok := sums[system.os+"/"+processor.arch]
			if !ok {
				continue
			}
			fmt.Fprintf(&b, "    on_%s do\n      url \"https://github.com/griffin-ckpt/griffin/releases/download/%s/griffin_%s_%s_%s.tar.gz\"\n      sha256 \"%s\"\n    end\n",
				processor.block, r.version, r.number(), system.os, processor.arch, sum)
		}
		b.WriteString("  end\n")
	}
	b.WriteString("\n  def install\n    bin.install \"griffin\"\n  end\n\n  test do\n    assert_match version.to_s, shell_output(\"#{bin}/griffin --version\")\n  end\nend\n")
	return r.write("griffin.rb", []byte(b.String()))
}

// checksums writes SHA256SUMS, which sha256sum --check reads, of all files in the directory.
func (r *release) checksums() error {
	const name = "SHA256SUMS"
	files, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, file := range files {
		if file.Name() == name {
			continue
		}
		content, err := os.ReadFile(filepath.Join(r.dir, file.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(content), file.Name())
	}
	return r.write(name, []byte(b.String()))
}
