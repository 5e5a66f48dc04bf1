// Command release packs binaries of griffin into Python wheels and, with -all, into all files of a release. "make wheel" and "make
// release" run it in the directory of the module.
//
// The same binaries, version and time give the same bytes.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// release is what all files of a release have in common.
type release struct {
	version string    // with v, as griffin prints it
	time    time.Time // of all files in archives
	dir     string    // where the files of the release are written
	files   []string  // their names, in the order in which they were written
}

// binary is griffin for one platform.
type binary struct {
	os, arch string // as Go names them
	content  []byte
	licenses []byte // of what is linked into it; see licensesOf
}

func (b binary) name() string {
	if b.os == "windows" {
		return "griffin.exe"
	}
	return "griffin"
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("release", flag.ExitOnError)
	version := flags.String("version", "", "version, as .ci/version prints it")
	seconds := flags.Int64("time", 0, "time of all files in archives, in seconds since 1970")
	dir := flags.String("dir", "dist", "directory for the files of the release")
	licenses := flags.String("licenses", "", "write the licenses of what is linked into the one binary to this file, and nothing else")
	all := flags.Bool("all", false, "write archives, a list of what they contain, a formula and checksums too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	binaries, err := readBinaries(flags.Args())
	if err != nil {
		return err
	}
	if *licenses != "" {
		if len(binaries) != 1 {
			return fmt.Errorf("-licenses takes one binary, not %d", len(binaries))
		}
		return os.WriteFile(*licenses, binaries[0].licenses, 0o644)
	}
	if _, err := pythonVersion(*version); err != nil {
		return err
	}
	r := &release{version: *version, dir: *dir, time: time.Unix(max(*seconds, earliest), 0).UTC()}
	for _, b := range binaries {
		if err := r.wheel(b); err != nil {
			return err
		}
	}
	if *all {
		if err := r.all(binaries); err != nil {
			return err
		}
	}
	for _, name := range r.files {
		fmt.Println(filepath.Join(r.dir, name))
	}
	return nil
}

// earliest is the first second that a zip file can hold, in seconds since 1970.
const earliest = 315532800

// readBinaries reads binaries that are given as OS/ARCH=FILE.
func readBinaries(args []string) ([]binary, error) {
	var all []binary
	for _, arg := range args {
		platform, file, ok := strings.Cut(arg, "=")
		system, arch, ok2 := strings.Cut(platform, "/")
		if !ok || !ok2 {
			return nil, fmt.Errorf("%s is not OS/ARCH=FILE", arg)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		b := binary{os: system, arch: arch, content: content}
		if b.licenses, err = licensesOf(b); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, b)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no binaries are given")
	}
	return all, nil
}

// write writes a file of the release.
func (r *release) write(name string, content []byte) error {
	r.files = append(r.files, name)
	return cmp.Or(os.MkdirAll(r.dir, 0o755), os.WriteFile(filepath.Join(r.dir, name), content, 0o644))
}
