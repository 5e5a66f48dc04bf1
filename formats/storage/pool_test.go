package storage_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// counted is a source that counts its open files.
type counted struct {
	fstest.MapFS
	mu         sync.Mutex
	open, most int
	opens      int
}

func (c *counted) Open(name string) (fs.File, error) {
	f, err := c.MapFS.Open(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	c.opens++
	c.most = max(c.most, c.open)
	return &countedFile{f.(storage.File), c}, nil
}

type countedFile struct {
	storage.File
	of *counted
}

func (f *countedFile) Close() error {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	f.of.open--
	return f.File.Close()
}

func TestPool(t *testing.T) {
	source := &counted{MapFS: fstest.MapFS{}}
	for i := range 100 {
		source.MapFS[fmt.Sprint(i)] = &fstest.MapFile{Data: []byte{byte(i), byte(i + 1)}}
	}
	pool := storage.NewPool(source, 5)
	var group sync.WaitGroup
	for start := range 4 {
		group.Go(func() {
			for i := range 300 {
				n := (start*31 + i) % 100
				var b [1]byte
				if _, err := pool.File(fmt.Sprint(n)).ReadAt(b[:], 1); err != nil || int(b[0]) != n+1 {
					t.Errorf("file %d: %d, %v", n, b[0], err)
				}
			}
		})
	}
	group.Wait()
	if source.most > 5 || source.open == 0 {
		t.Errorf("%d files open at once, %d now", source.most, source.open)
	}
	opens := source.opens
	for range 10 {
		pool.File("7").ReadAt(make([]byte, 1), 0)
	}
	if source.opens > opens+1 {
		t.Errorf("a file that was just read was opened %d times", source.opens-opens)
	}
	if _, err := pool.File("none").ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := pool.Close(); err != nil || source.open != 0 {
		t.Errorf("%v, %d files open after Close", err, source.open)
	}
	if _, err := pool.File("7").ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// opened is a source that counts how often each file is opened.
type opened struct {
	fstest.MapFS
	times map[string]int
}

func (o opened) Open(name string) (fs.File, error) { o.times[name]++; return o.MapFS.Open(name) }

// A pool that is full closes the file that was not read for longest.
func TestPoolEvicts(t *testing.T) {
	source := opened{fstest.MapFS{"a": {Data: []byte("a")}, "b": {Data: []byte("b")}, "c": {Data: []byte("c")}}, map[string]int{}}
	pool := storage.NewPool(source, 2)
	defer pool.Close()
	for i, name := range strings.Fields(strings.Repeat("a b a c a b c ", 8)) {
		if _, err := pool.File(name).ReadAt(make([]byte, 1), 0); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	// c replaces b, which replaces c, which replaces a. Then a replaces b, b replaces c, and so on.
	if got := fmt.Sprint(source.times); got != "map[a:8 b:16 c:16]" {
		t.Error(got)
	}
}

// waiting is a source whose file a is read only when it may be.
type waiting struct {
	*counted
	begun, may chan struct{}
}

func (w waiting) Open(name string) (fs.File, error) {
	f, err := w.counted.Open(name)
	if name == "a" && err == nil {
		f = waitingFile{f.(*countedFile), w}
	}
	return f, err
}

type waitingFile struct {
	*countedFile
	of waiting
}

func (f waitingFile) ReadAt(p []byte, off int64) (int, error) {
	close(f.of.begun)
	<-f.of.may
	return f.countedFile.ReadAt(p, off)
}

// A file that is read is not closed, although there is no room for another.
func TestPoolKeepsWhatIsRead(t *testing.T) {
	source := waiting{&counted{MapFS: fstest.MapFS{"a": {Data: []byte("a")}, "b": {Data: []byte("b")}}}, make(chan struct{}), make(chan struct{})}
	pool := storage.NewPool(source, 1)
	defer pool.Close()
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := pool.File("a").ReadAt(make([]byte, 1), 0); err != nil {
			t.Error(err)
		}
	})
	<-source.begun
	if _, err := pool.File("b").ReadAt(make([]byte, 1), 0); err != nil || source.open != 2 {
		t.Errorf("%d files are open, %v", source.open, err)
	}
	close(source.may)
	group.Wait()
}
