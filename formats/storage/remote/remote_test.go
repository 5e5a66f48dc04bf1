package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// object is a content in memory that counts what is asked for.
type object struct {
	content         []byte
	requests, bytes atomic.Int64
	active, most    atomic.Int64
	delay           time.Duration

	// broken returns how many bytes of an answer arrive before err; n for all.
	broken func(request, off, n int64) (arrive int64, err error)
}

func (o *object) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	request := o.requests.Add(1)
	active := o.active.Add(1)
	defer o.active.Add(-1)
	for most := o.most.Load(); active > most && !o.most.CompareAndSwap(most, active); most = o.most.Load() {
	}
	select {
	case <-time.After(o.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	arrive, err := n, error(nil)
	if o.broken != nil {
		arrive, err = o.broken(request, off, n)
	}
	if err != nil && arrive == 0 {
		return nil, err
	}
	o.bytes.Add(arrive)
	var r io.Reader = bytes.NewReader(o.content[off : off+arrive])
	if err != nil {
		r = io.MultiReader(r, failing{err})
	}
	return io.NopCloser(r), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func newObject(size int) *object {
	o := &object{content: make([]byte, size)}
	source := rand.NewChaCha8([32]byte{byte(size)})
	source.Read(o.content)
	return o
}

func quick() remote.Options {
	return remote.Options{Memory: 16 << 20, Backoff: time.Microsecond, Attempts: 4, Stall: 20 * time.Second}
}

func open(t *testing.T, o *object, options remote.Options) *remote.File {
	t.Helper()
	return remote.NewPool(t.Context(), options).NewNode("test://file", int64(len(o.content)), o, nil).Open("file")
}

// checkRead reads a range and compares it with the content.
func checkRead(t *testing.T, f io.ReaderAt, o *object, off, n int64) {
	t.Helper()
	p := make([]byte, n)
	got, err := f.ReadAt(p, off)
	want := min(max(int64(len(o.content))-off, 0), n)
	if int64(got) != want || !bytes.Equal(p[:got], o.content[min(off, int64(len(o.content))):][:want]) {
		t.Fatalf("%d bytes at %d: got %d, %v, right bytes: %t", n, off, got, err, bytes.Equal(p[:got], o.content[off:off+int64(got)]))
	}
	if short := want < n; short != (err == io.EOF) || !short && err != nil {
		t.Fatalf("%d bytes at %d: error %v", n, off, err)
	}
}

// Random reads by several goroutines, with and without plans, with connections that break, give the
// bytes of the file in bounded memory.
func TestReadsAreRight(t *testing.T) {
	o := newObject(24<<20 + 12345)
	chance := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	o.broken = func(_, _, n int64) (int64, error) {
		mu.Lock()
		defer mu.Unlock()
		switch chance.IntN(8) {
		case 0:
			return 0, errors.New("refused")
		case 1:
			return chance.Int64N(n), errors.New("reset")
		case 2:
			return chance.Int64N(n), nil // ends early
		}
		return n, nil
	}
	options := quick()
	options.Attempts = 30
	f := open(t, o, options)
	var group sync.WaitGroup
	for worker := range 6 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 7))
			for range 60 {
				size := int64(1) << random.IntN(22)
				off := random.Int64N(int64(len(o.content)))
				if random.IntN(4) == 0 {
					f.Plan([]tensor.Extent{{Store: f, Offset: off, Length: 3 * size}, {Store: f, Offset: off / 2, Length: size}})
				}
				for range 1 + random.IntN(4) { // go on from there
					checkRead(t, f, o, off, size)
					off += size
				}
			}
		})
	}
	group.Wait()
}

// What is planned is fetched once, in large ranges, several at a time, also if two readers take turns.
func TestPlanIsFetchedOnce(t *testing.T) {
	o := newObject(40 << 20)
	o.delay = 2 * time.Millisecond
	f := open(t, o, quick())
	const tensors = 20
	size := int64(len(o.content)) / tensors
	var extents []tensor.Extent
	for i := range int64(tensors) {
		extents = append(extents, tensor.Extent{Store: f, Offset: i * size, Length: size - 5000}) // gaps are not fetched
	}
	f.Plan(extents)
	queue := make(chan tensor.Extent, tensors)
	for _, e := range extents {
		queue <- e
	}
	close(queue)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for e := range queue {
				for at := int64(0); at < e.Length; at += 256 << 10 {
					checkRead(t, f, o, e.Offset+at, min(256<<10, e.Length-at))
				}
			}
		})
	}
	group.Wait()
	if got, want := o.bytes.Load(), int64(tensors)*(size-5000); got != want {
		t.Errorf("%d bytes were fetched, want %d", got, want)
	}
	if n := o.requests.Load(); n > tensors*(size>>21+1) {
		t.Errorf("%d requests", n)
	}
	if o.most.Load() < 3 {
		t.Errorf("at most %d requests at a time", o.most.Load())
	}
}

// Many small extents, such as headers, cost their bytes and are fetched several at a time.
func TestSmallExtents(t *testing.T) {
	o := newObject(30 << 20)
	o.delay = time.Millisecond
	f := open(t, o, quick())
	var extents []tensor.Extent
	for i := range int64(300) {
		extents = append(extents, tensor.Extent{Store: f, Offset: i * 100_000, Length: 80})
	}
	f.Plan(extents)
	for _, e := range extents {
		checkRead(t, f, o, e.Offset, e.Length)
	}
	if got := o.bytes.Load(); got != 300*80 {
		t.Errorf("%d bytes were fetched", got)
	}
	if o.most.Load() < 8 {
		t.Errorf("at most %d requests at a time", o.most.Load())
	}
}

// Small extents that are planned last are asked for before large ones, neighbours among them together.
func TestSmallExtentsComeFirst(t *testing.T) {
	o := newObject(40 << 20)
	var mu sync.Mutex
	var last int64 // request for a small extent
	o.broken = func(request, off, n int64) (int64, error) {
		mu.Lock()
		defer mu.Unlock()
		if off >= 20<<20 && n <= 64<<10 {
			last = max(last, request)
		}
		return n, nil
	}
	f := open(t, o, quick())
	plan := []tensor.Extent{{Store: f, Offset: 0, Length: 20 << 20}}
	for i := range int64(100) { // a permutation
		plan = append(plan, tensor.Extent{Store: f, Offset: 20<<20 + i*37%100*5200, Length: 5000})
	}
	f.Plan(plan)
	for _, e := range plan {
		for at := int64(0); at < e.Length; at += 256 << 10 {
			checkRead(t, f, o, e.Offset+at, min(256<<10, e.Length-at))
		}
	}
	if last == 0 || last > 9+6 || o.requests.Load() > 9+10 { // six large ones may be asked for at the same time
		t.Errorf("the last small request is number %d of %d", last, o.requests.Load())
	}
}

// Without a plan, a file that is read from its beginning to its end is fetched in growing ranges, and
// scattered reads stay small.
func TestUnplanned(t *testing.T) {
	o := newObject(20 << 20)
	f := open(t, o, quick())
	for at := int64(0); at < int64(len(o.content)); at += 32 << 10 {
		checkRead(t, f, o, at, 32<<10)
	}
	if got, n := o.bytes.Load(), o.requests.Load(); got != int64(len(o.content)) || n > 20 {
		t.Errorf("sequential: %d bytes in %d requests", got, n)
	}
	o = newObject(20 << 20)
	f = open(t, o, quick())
	for i := range int64(50) {
		checkRead(t, f, o, (i*7919%50)*400_000, 100)
	}
	if got := o.bytes.Load(); got > 50*4<<10 {
		t.Errorf("scattered: %d bytes for 5000", got)
	}
	before := o.requests.Load()
	checkRead(t, f, o, 0, 100)
	if o.requests.Load() != before {
		t.Error("what was read a moment ago is fetched again")
	}
}

// A comparison that stops in the middle of a planned range does not end the reading ahead of others.
func TestAbandonedPlan(t *testing.T) {
	o := newObject(60 << 20)
	f := open(t, o, quick())
	f.Plan([]tensor.Extent{{Store: f, Offset: 0, Length: 20 << 20}, {Store: f, Offset: 20 << 20, Length: 40 << 20}})
	checkRead(t, f, o, 0, 4096)
	for at := int64(20 << 20); at < 60<<20; at += 8 << 10 {
		checkRead(t, f, o, at, 8<<10)
	}
	if got := o.bytes.Load(); got > 40<<20+16<<20 {
		t.Errorf("%d MiB were fetched", got>>20)
	}
}

// Errors end reading after enough attempts, at once if they are permanent, and are not remembered
// unless the file has changed.
func TestErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		err      error
		attempts int64
		reason   remote.Reason
	}{
		"connection": {errors.New("reset"), 4, remote.Unreachable},
		"busy":       {remote.Errorf("a", remote.Busy, "slow down"), 4, remote.Busy},
		"busy long":  {&remote.Error{Reason: remote.Busy, After: time.Hour}, 1, remote.Busy},
		"forbidden":  {remote.Errorf("a", remote.Forbidden, "no"), 1, remote.Forbidden},
		"changed":    {remote.Errorf("a", remote.Changed, "other"), 1, remote.Changed},
	} {
		t.Run(name, func(t *testing.T) {
			o := newObject(1 << 20)
			fail := true
			o.broken = func(_, _, n int64) (int64, error) {
				if fail {
					return 0, tt.err
				}
				return n, nil
			}
			f := open(t, o, quick())
			_, err := f.ReadAt(make([]byte, 10), 0)
			var e *remote.Error
			if !errors.As(err, &e) || e.Reason != tt.reason || o.requests.Load() != tt.attempts {
				t.Fatalf("%v after %d attempts", err, o.requests.Load())
			}
			fail = false
			if _, err = f.ReadAt(make([]byte, 10), 0); (err != nil) != (tt.reason == remote.Changed) {
				t.Errorf("the next read: %v", err)
			}
		})
	}
	if !errors.Is(remote.Errorf("a", remote.Missing, "gone"), fs.ErrNotExist) || !errors.Is(remote.Errorf("a", remote.Gated, "no"), fs.ErrPermission) {
		t.Error("errors of package fs are not recognised")
	}
}

// A connection that falls silent is given up and the transfer goes on where it ended.
func TestStall(t *testing.T) {
	o := newObject(1 << 20)
	o.broken = func(request, _, n int64) (int64, error) {
		if request == 1 {
			return n / 2, nil
		}
		return n, nil
	}
	silent := &silentObject{o}
	options := quick()
	options.Stall = 100 * time.Millisecond
	f := remote.NewPool(t.Context(), options).NewNode("test://file", 1<<20, silent, nil).Open("file")
	checkRead(t, f, o, 0, 1<<20)
	if got := o.bytes.Load(); got != 1<<20 {
		t.Errorf("%d bytes were fetched", got)
	}
}

// silentObject does not end answers that are short.
type silentObject struct{ *object }

func (s *silentObject) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	r, err := s.object.Open(ctx, off, n)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.MultiReader(r, silence{ctx})), nil
}

type silence struct{ ctx context.Context }

func (s silence) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// The end of the context ends reads that wait.
func TestCancel(t *testing.T) {
	o := newObject(8 << 20)
	o.delay = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	f := remote.NewPool(ctx, remote.Options{}).NewNode("test://file", 8<<20, o, nil).Open("file")
	before := runtime.NumGoroutine()
	done := make(chan error)
	for range 3 {
		go func() {
			_, err := f.ReadAt(make([]byte, 3<<20), 0)
			done <- err
		}()
	}
	time.Sleep(10 * time.Millisecond)
	cancel()
	for range 3 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("a read that was waiting: %v", err)
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestFile(t *testing.T) {
	o := newObject(100_000)
	f := remote.NewPool(t.Context(), quick()).NewNode("test://dir/file", 100_000, o, o.content[:500]).Open("dir/file")
	checkRead(t, f, o, 0, 500)
	if o.requests.Load() != 0 {
		t.Error("the head is fetched again")
	}
	checkRead(t, f, o, 99_990, 20)
	checkRead(t, f, o, 100_000, 1)
	checkRead(t, f, o, 200_000, 0)
	all, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(all, o.content) {
		t.Errorf("Read: %d bytes, %v", len(all), err)
	}
	var _ storage.File = f
	if info, err := f.Stat(); err != nil || info.Name() != "file" || info.Size() != 100_000 || !info.Mode().IsRegular() {
		t.Errorf("Stat: %v, %v", info, err)
	}
	f.Close()
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A directory at the end of a file, which is read backwards in steps, takes one request.
func TestTail(t *testing.T) {
	for _, size := range []int{1000, 200_000} {
		o := newObject(size)
		f := open(t, o, quick())
		for _, end := range []int64{42, 98, 27_000} {
			checkRead(t, f, o, max(int64(size)-end, 0), min(end, 60))
		}
		if n := o.requests.Load(); n != 1 {
			t.Errorf("%d bytes: %d requests", size, n)
		}
	}
	// What is read from the beginning on is not read again.
	o := newObject(200_000)
	f := open(t, o, quick())
	for off := int64(0); off < 200_000; off += 1000 {
		checkRead(t, f, o, off, 1000)
	}
	if n := o.bytes.Load(); n != 200_000 {
		t.Errorf("%d bytes were asked for", n)
	}
}
