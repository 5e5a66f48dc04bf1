package publish

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// Whether a run is alive is known from its announcement on, until it is forgotten.
func TestPresence(t *testing.T) {
	if !locksEnd {
		t.Skip("locks are not known to end with their process")
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	expect := func(when string, alive, known bool) {
		t.Helper()
		if a, k := IsAlive("x"); a != alive || k != known {
			t.Errorf("%s: alive %t, known %t", when, a, k)
		}
	}
	expect("before", false, false)
	for _, keep := range []bool{true, false} {
		p, err := Announce("x")
		if err != nil {
			t.Fatal(err)
		}
		expect("announced", true, true)
		if _, err := Announce("x"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("announced twice: %v", err)
		}
		if err := p.End(keep); err != nil {
			t.Error(err)
		}
		expect("ended", false, keep)
		if err := errors.Join(Forget("x"), Forget("x")); err != nil {
			t.Error(err)
		}
		expect("forgotten", false, false)
		if left := names(t, dir); len(left) > 0 {
			t.Errorf("left %q", left)
		}
	}
}

// What the file system does not tell is not known, and what has failed leaves nothing.
func TestPresenceFails(t *testing.T) {
	if !locksEnd {
		t.Skip("locks are not known to end with their process")
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	defer system.SetFault(nil)
	at := func(op system.Op, do func() error) {
		system.SetFault(func(o system.Op, _ string, n int) (int, error) {
			if o != op {
				return n, nil
			}
			return n, do()
		})
	}
	fail := func() error { return syscall.EIO }
	at(system.OpMkdir, fail)
	if _, err := Announce("x"); !errors.Is(err, syscall.EIO) {
		t.Errorf("a directory that cannot be made: %v", err)
	}
	at(system.OpLock, fail)
	if _, err := Announce("x"); !errors.Is(err, syscall.EIO) {
		t.Errorf("a lock that fails: %v", err)
	}
	path := presenceDir("x")
	at(system.OpLock, func() error {
		return errors.Join(os.Rename(path, path+".gone"), os.Mkdir(path, 0o777), os.Remove(path+".gone"))
	})
	var busy *BusyError
	if _, err := Announce("x"); !errors.As(err, &busy) || !errors.Is(err, syscall.EBUSY) {
		t.Errorf("a directory that another has: %v", err)
	}
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	system.SetFault(nil)
	p, err := Announce("x")
	if err != nil {
		t.Fatal(err)
	}
	at(system.OpLock, fail)
	if alive, known := IsAlive("x"); alive || known {
		t.Errorf("a lock that fails: alive %t, known %t", alive, known)
	}
	at(system.OpRemove, fail)
	if err := Forget("x"); !errors.Is(err, syscall.EIO) {
		t.Errorf("what cannot be removed is forgotten: %v", err)
	}
	at(system.OpLock, func() error { return os.Remove(path) }) // it ends now
	if alive, known := IsAlive("x"); alive || !known {
		t.Errorf("a run that has just ended: alive %t, known %t", alive, known)
	}
	system.SetFault(nil)
	if err := p.End(true); err != nil {
		t.Error(err)
	}
}

// The parts of a file follow one another.
func TestReplaceWithParts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := ReplaceWith(path, []byte("ab"), nil, []byte("c"), []byte("def")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "abcdef" {
		t.Errorf("%q, %v", got, err)
	}
}
