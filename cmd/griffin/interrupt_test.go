//go:build unix

package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A signal ends a command while it inflates hundreds of megabytes, which looks at no context, and nothing is left of its
// output. A few kilobytes are enough to keep it busy for long.
func TestInterruptBusy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zeros.pt")
	writeZeros(t, path, 1<<30)
	binary, err := os.Executable()
	check(t, err)
	for _, args := range [][]string{
		{"inspect", "--digest", path},
		{"inspect", path, "--dump", "w", "--out", filepath.Join(dir, "sub", "w.npy")},
	} {
		check(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
		signals := []os.Signal{syscall.SIGINT, syscall.SIGHUP}
		for try := 0; ; try++ { // on a busy machine, a signal may wait for a processor
			var stderr bytes.Buffer
			c := exec.Command(binary)
			c.Args, c.Stderr = append([]string{"griffin"}, args...), &stderr
			check(t, c.Start())
			time.Sleep(300 * time.Millisecond)
			check(t, c.Process.Signal(signals[0]))
			sent := time.Now()
			err := c.Wait()
			took := time.Since(sent)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted || stderr.String() != "griffin: interrupted\n" {
				t.Fatalf("%v: %v, %s", args, err, &stderr)
			}
			if took < 100*time.Millisecond {
				if signals = signals[1:]; len(signals) == 0 {
					break
				}
				try = 0
			}
			if try == 5 {
				t.Fatalf("%v: took %v to end", args, took)
			}
		}
		left, err := os.ReadDir(filepath.Join(dir, "sub"))
		check(t, err)
		if len(left) > 0 {
			t.Errorf("%v: left %v", args, left)
		}
	}
}

// A command that nohup started goes on after SIGHUP.
func TestNohup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zeros.pt")
	writeZeros(t, path, 1<<30)
	binary, err := os.Executable()
	check(t, err)
	c := exec.Command("sh", "-c", `trap "" HUP; cp "$0" griffin && exec ./griffin inspect --digest "$1"`, binary, path)
	c.Dir = t.TempDir()
	check(t, c.Start())
	time.Sleep(500 * time.Millisecond)
	check(t, c.Process.Signal(syscall.SIGHUP))
	time.Sleep(200 * time.Millisecond)
	check(t, c.Process.Signal(syscall.SIGINT))
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted || exit.Sys().(syscall.WaitStatus).Signaled() {
		t.Fatal(err)
	}
}

// writeZeros writes a torch file with one tensor w of size zeros, in a deflated member.
func writeZeros(t *testing.T, path string, size int) {
	t.Helper()
	pickle := "\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nByteStorage\n" +
		"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ" + little(size) + "tQK\x00J" + little(size) + "\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs."
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	stored := func(name, content string) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: "a/" + name, Method: zip.Store})
		check(t, err)
		_, err = f.Write([]byte(content))
		check(t, err)
	}
	stored("data.pkl", pickle)
	stored("version", "3\n")
	var packed bytes.Buffer
	deflate, err := flate.NewWriter(&packed, flate.BestSpeed)
	check(t, err)
	sum, zeros := crc32.NewIEEE(), make([]byte, 1<<20)
	for range size >> 20 {
		_, err = deflate.Write(zeros)
		check(t, err)
		sum.Write(zeros)
	}
	check(t, deflate.Close())
	raw, err := w.CreateRaw(&zip.FileHeader{Name: "a/data/0", Method: zip.Deflate, CRC32: sum.Sum32(), UncompressedSize64: uint64(size), CompressedSize64: uint64(packed.Len())})
	check(t, err)
	_, err = raw.Write(packed.Bytes())
	check(t, err)
	check(t, w.Close())
	check(t, os.WriteFile(path, out.Bytes(), 0o644))
}

func little(n int) string {
	return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
}
