package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// thirdParty is the name of the file with the licenses of what is linked into a binary, in archives, wheels and packages.
const thirdParty = "THIRD_PARTY_LICENSES"

// licenseFile matches the names of files with the terms of a package. Terms ask that their text comes with the binary.
var licenseFile = regexp.MustCompile(`^(?i:(licen[cs]e|copying|copyright|notice|patents)([.-].*)?)$`)

// notLicense are files that match licenseFile and are no terms.
var notLicense = regexp.MustCompile(`(?i)\.(go|tmpl|json|ya?ml)$`)

// licensesOf returns the terms of everything that is linked into a binary, other than griffin's own: of Go, and of each module the files
// in the directories of the packages that the binary contains, and in the directories above them in the module.
func licensesOf(b binary) ([]byte, error) {
	modules, err := packagesOf(b)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "griffin for %s/%s contains Go packages of these modules, each under its own terms.\n", b.os, b.arch)
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		files, err := licenseFiles(modules[name])
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("module %s has no license file", name)
		}
		for _, file := range files {
			content, err := os.ReadFile(filepath.Join(modules[name].root, file))
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&out, "\n%s\n%s: %s\n\n%s\n", strings.Repeat("=", 80), name, filepath.ToSlash(file), bytes.TrimRight(content, "\n"))
		}
	}
	return out.Bytes(), nil
}

// linked is what a binary contains of a module.
type linked struct {
	root        string          // directory of the module
	directories map[string]bool // of its packages
}

// packagesOf returns the modules in a binary, by name and version. They come from the go command: the build information in the binary has
// the modules, but not their packages.
func packagesOf(b binary) (map[string]*linked, error) {
	info, err := buildinfo.Read(bytes.NewReader(b.content))
	if err != nil {
		return nil, err
	}
	tags := ""
	for _, setting := range info.Settings {
		if setting.Key == "-tags" {
			tags = setting.Value
		}
	}
	list := exec.Command("go", "list", "-deps", "-tags", tags, "-f",
		`{{.Dir}}{{"\t"}}{{with .Module}}{{.Path}}@{{.Version}}{{"\t"}}{{.Dir}}{{else}}std@`+info.GoVersion+`{{"\t"}}{{$.Root}}{{end}}`, info.Path)
	list.Env = append(os.Environ(), "GOOS="+b.os, "GOARCH="+b.arch, "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	lines, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	all := map[string]*linked{}
	for line := range strings.Lines(string(lines)) {
		dir, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		name, root, _ := strings.Cut(rest, "\t")
		if name == info.Main.Path+"@" {
			continue
		}
		if all[name] == nil {
			all[name] = &linked{root: root, directories: map[string]bool{}}
		}
		all[name].directories[dir] = true
	}
	return all, nil
}

// licenseFiles returns the license files of a module, relative to its root.
func licenseFiles(m *linked) ([]string, error) {
	files := map[string]bool{}
	for dir := range m.directories {
		for ; strings.HasPrefix(dir, m.root); dir = filepath.Dir(dir) {
			names, err := os.ReadDir(dir)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if name.IsDir() || !licenseFile.MatchString(name.Name()) || notLicense.MatchString(name.Name()) {
					continue
				}
				file, err := filepath.Rel(m.root, filepath.Join(dir, name.Name()))
				if err != nil {
					return nil, err
				}
				files[file] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(files)), nil
}
