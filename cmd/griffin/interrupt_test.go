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
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A signal ends a command while it inflates hundreds of megabytes, which looks at no context, and nothing is left of its
// output. A few kilobytes are enough to keep it busy for long.
func TestInterruptBusy(t *testing.T) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // else the commands ignore it where nohup started the test
	defer signal.Stop(hangups)
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
		for _, end := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
			took := fastest(t, func(delay time.Duration) (bool, time.Duration) {
				var stderr bytes.Buffer
				c := exec.Command(binary)
				c.Args, c.Stderr = append([]string{"griffin"}, args...), &stderr
				check(t, c.Start())
				time.Sleep(delay)
				check(t, c.Process.Signal(end))
				sent := time.Now()
				err := c.Wait()
				if err != nil && stderr.String() != "griffin: interrupted\n" && !killed(err) {
					t.Fatalf("%v: %v, %s", args, err, &stderr)
				}
				return isInterrupted(err), time.Since(sent)
			})
			if took > 100*time.Millisecond {
				t.Errorf("%v: took %v to end after %v, at best", args, took, end)
			}
		}
		left, err := os.ReadDir(filepath.Join(dir, "sub"))
		check(t, err)
		if len(left) > 0 {
			t.Errorf("%v: left %v", args, left)
		}
	}
}

// A closed pipe ends a command, but not before it has written the page that it was asked for.
func TestClosedPipe(t *testing.T) {
	binary, err := os.Executable()
	check(t, err)
	page := filepath.Join(t.TempDir(), "page")
	dir := filepath.Join("..", "..", "testdata", "tiny-griffin", "hf")
	for _, tt := range []struct {
		args []string
		ends bool
	}{
		{[]string{"inspect", "--stats", dir}, true},
		{[]string{"inspect", "--stats", "--report", page, dir}, false},
		{[]string{"diff", dir, dir, "--report=" + page}, false},
		{[]string{"verify", dir, dir, "--report", page}, false},
		{[]string{"verify", dir, dir, "--card", page}, false},
		{[]string{"perplexity", dir, "--tokens", "2,3,4", "--report", page}, false},
	} {
		r, w, err := os.Pipe()
		check(t, err)
		check(t, r.Close())
		var stderr bytes.Buffer
		c := exec.Command(binary)
		c.Args, c.Stdout, c.Stderr = append([]string{"griffin"}, tt.args...), w, &stderr
		err = c.Run()
		check(t, w.Close())
		_, missing := os.Stat(page)
		if (err != nil) != tt.ends || (missing != nil) != tt.ends || stderr.Len() > 0 {
			t.Errorf("%q: %v, %v, %s", tt.args, err, missing, &stderr)
		}
		os.Remove(page)
	}
}

// A command that nohup started goes on after SIGHUP.
func TestNohup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zeros.pt")
	writeZeros(t, path, 1<<30)
	binary, err := os.Executable()
	check(t, err)
	fastest(t, func(delay time.Duration) (bool, time.Duration) {
		c := exec.Command("sh", "-c", `trap "" HUP; ln -s "$0" griffin && exec ./griffin inspect --digest "$1"`, binary, path)
		c.Dir = t.TempDir()
		check(t, c.Start())
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		time.Sleep(delay)
		c.Process.Signal(syscall.SIGHUP)
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("ended after SIGHUP: %v", err)
			}
			return false, 0
		case <-time.After(200 * time.Millisecond):
		}
		c.Process.Signal(syscall.SIGINT)
		return isInterrupted(<-ended), 0
	})
}

// fastest runs a command that a signal is to interrupt after a delay, until it was busy when the signal came and ended at once, 40
// times at most, and returns the least time that it took to end. On a busy machine the signal can come before the command has
// begun or after it has ended, and wait for a processor.
func fastest(t *testing.T, run func(delay time.Duration) (interrupted bool, took time.Duration)) time.Duration {
	t.Helper()
	delays := []time.Duration{300 * time.Millisecond, 100 * time.Millisecond, time.Second, 30 * time.Millisecond}
	least := time.Duration(-1)
	for try := range 40 {
		interrupted, took := run(delays[try%len(delays)])
		if interrupted && (least < 0 || took < least) {
			least = took
		}
		if interrupted && took < 100*time.Millisecond {
			break
		}
	}
	if least < 0 {
		t.Fatal("the command was not interrupted in 40 tries")
	}
	return least
}

// isInterrupted reports whether a command ended by itself because of a signal.
func isInterrupted(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == exitInterrupted && !killed(err)
}

// killed reports whether a command was ended by a signal, before it handled signals.
func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled()
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
