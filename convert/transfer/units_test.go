package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/griffin-ckpt/griffin/convert/internal/movestest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

func TestAsMatrices(t *testing.T) {
	for _, tt := range []struct {
		name      string
		view      tensor.View
		want      string // "" for no matrices
		ascending bool
	}{
		{"transpose", tensor.RowMajor(3, 2).Permute(1, 0), "{[0] 3 2 2}", true},
		{"of a part", tensor.RowMajor(3, 5).Narrow(1, 1, 2).Permute(1, 0), "{[1] 3 2 5}", true},
		{"stack", tensor.RowMajor(2, 3, 4).Permute(0, 2, 1), "{[0 12] 3 4 4}", true},
		{"stack of stacks", tensor.RowMajor(2, 3, 3, 4).Narrow(1, 0, 2).Permute(0, 1, 3, 2), "{[0 12 36 48] 3 4 4}", true},
		{"side by side", tensor.RowMajor(3, 2, 5).Narrow(2, 0, 4).Permute(1, 2, 0), "{[0 5] 3 4 10}", false},
		{"backwards", tensor.RowMajor(2, 2, 3, 4).Permute(1, 0, 3, 2), "{[0 24 12 36] 3 4 4}", false},
		{"second begins in the last row of the first", tensor.View{Shape: []int64{2, 2, 2}, Strides: []int64{3, 1, 2}, Offset: 5}, "{[5 8] 2 2 2}", false},
		{"row-major", tensor.RowMajor(3, 2), "", true},
		{"vector", tensor.RowMajor(3), "", true},
		{"rows overlap", tensor.View{Shape: []int64{3, 2}, Strides: []int64{1, 2}}, "", true},
		{"as many as can be", tensor.View{Shape: []int64{1 << 16, 2, 2}, Strides: []int64{4, 1, 2}}, "65536 matrices", true},
		{"too many", tensor.View{Shape: []int64{1<<16 + 1, 2, 2}, Strides: []int64{4, 1, 2}}, "", true},
		{"too many, in two axes", tensor.View{Shape: []int64{256, 257, 2, 2}, Strides: []int64{4 * 300, 4, 1, 2}}, "", true},
	} {
		m, ok := asMatrices(tt.view)
		got := ""
		if len(m.first) > 100 {
			got = fmt.Sprintf("%d matrices", len(m.first))
		} else if ok {
			got = fmt.Sprint(m)
		}
		if got != tt.want || m.ascending() != tt.ascending {
			t.Errorf("%s: %q, ascending %t", tt.name, got, m.ascending())
		}
	}
}

func TestWholeLines(t *testing.T) {
	for _, tt := range []struct{ size, cols, want int64 }{{2, 100, 96}, {2, 32, 32}, {2, 31, 31}, {2, 0, 1}, {16, 3, 3}, {16, 4, 4}, {16, 7, 4}, {1, 130, 128}} {
		x := &transposer{move: &compiledMove{size: tt.size}}
		if got := x.wholeLines(tt.cols); got != tt.want {
			t.Errorf("%d elements of %d bytes: %d, want %d", tt.cols, tt.size, got, tt.want)
		}
	}
}

// The sizes that README.md and SECURITY.md speak of, in MiB, of two workers.
func TestNewLimits(t *testing.T) {
	for _, tt := range []struct {
		matrix  int64
		sinks   bool
		spare   int
		buffers int64
	}{
		{0, false, 8, 235 - 14 - 2*(4+4) - 8*4},
		{90 << 20, false, 6, 235 - 14 - 2*(4+4) - 6*4},
		{1 << 40, false, 3, 235 - 14 - 2*(4+4) - 3*4},
		{0, true, 1, 235 - 14 - 2*(4+3+4) - 4},
	} {
		if l := newLimits(2, tt.matrix, tt.sinks); l.spare != tt.spare || l.buffers != tt.buffers<<20 {
			t.Errorf("matrix of %d: %d spare panels, buffers of %d MiB", tt.matrix, l.spare, l.buffers>>20)
		}
	}
}

func TestLimitsOfList(t *testing.T) {
	source := tensortest.Stored("s", tensor.F32, []int64{30, 50}, make([]byte, 6000))
	l := moves.List{Dests: []moves.Dest{{Name: "a", DType: tensor.F32, Shape: []int64{50, 30}}, {Name: "b", DType: tensor.F32, Shape: []int64{30, 50}}},
		Moves: []moves.Move{{Source: source, View: tensor.RowMajor(30, 50).Permute(1, 0)}, {Source: source, View: tensor.RowMajor(30, 50), Dest: 1}}}
	if n := largestMatrix(l); n != 6000 {
		t.Errorf("the largest matrix has %d bytes", n)
	}
	for _, tt := range []struct {
		ranges []fileRange
		sinks  bool
	}{{[]fileRange{{0, 0, 1}, {0, 0, 1}}, false}, {[]fileRange{{-1, 0, 0}, {0, 0, 1}}, true}, {[]fileRange{{0, 0, 1}, {-1, 0, 0}}, true}} {
		files := newFiles(t, rand.New(rand.NewPCG(1, 1)), l)
		files.ranges = tt.ranges
		for i := range files.ranges {
			files.ranges[i].file = min(files.ranges[i].file, len(files.files)-1)
		}
		if got := limitsOf(l, files, 0); (got.spare == 1) != tt.sinks {
			t.Errorf("%+v: %d spare panels", tt.ranges, got.spare)
		}
	}
}

func TestBufferPool(t *testing.T) {
	p := newBufferPool(100)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		want, least, got int64 // got -1 for an error: there is too little, and the context is done
	}{
		{40, 10, 40},  // 60 are free then
		{100, 61, -1}, // not as little as it needs
		{200, 10, 60}, // what there is
		{4, 0, -1},
		{-60, 0, 0}, // gives back
		{35, 0, 35}, // 25 are free
		{100, 0, 25},
		{-25, 0, 0},
		{104, 0, 25}, // a quarter of all there is
		{-25, 0, 0},
		{99, 26, -1},
		{-75, 0, 0},
		{300, 250, 250}, // more than there is, if it cannot do with less
		{4, 0, -1},
		{-250, 0, 0},
		{100, 0, 100},
	} {
		if tt.want < 0 {
			p.release(-tt.want)
			continue
		}
		n, err := p.reserve(done, tt.want, tt.least)
		if (err != nil) != (tt.got < 0) || err == nil && n != tt.got {
			t.Fatalf("%+v: %d, %v", tt, n, err)
		}
	}
	// It waits until memory is given back.
	got := make(chan int64)
	go func() {
		n, _ := p.reserve(t.Context(), 50, 20)
		got <- n
	}()
	select {
	case n := <-got:
		t.Fatalf("got %d of nothing", n)
	case <-time.After(20 * time.Millisecond):
	}
	p.release(30)
	if n := <-got; n != 30 {
		t.Errorf("got %d of 30", n)
	}
}

// jobsOf returns the jobs of a list: the dests of their moves, and their bytes.
func jobsOf(t *testing.T, l moves.List, dst Destination, a digest.Algorithms, part int64) *jobList {
	t.Helper()
	e := &engine{ctx: t.Context(), limits: limits{part: part}, algorithms: a, written: make([]tensor.Written, len(l.Dests)), sums: moves.NewDigests(l)}
	if err := e.openTargets(l, dst); err != nil {
		t.Fatal(err)
	}
	jobs, err := newJobs(e, l)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.closeOutputs(); err != nil {
		t.Fatal(err)
	}
	return jobs
}

// checkedChunks are chunks of a file that has a checksum.
type checkedChunks struct{ chunked }

func (*checkedChunks) Check() error { return nil }

// A tensor is divided into jobs only where each part can be decoded, written and hashed by itself.
func TestJobsDivide(t *testing.T) {
	content := make([]byte, 100_000)
	whole := tensor.RowMajor(500, 100)
	chunks := func() *chunked { return &chunked{content: content, chunk: 1000} }
	source := func(data tensor.Data) *tensor.Tensor {
		return &tensor.Tensor{Name: "w", DType: tensor.BF16, Shape: []int64{500, 100}, Data: data}
	}
	one := func(s *tensor.Tensor, views ...tensor.View) moves.List {
		var l moves.List
		for i, v := range views {
			l.Dests = append(l.Dests, moves.Dest{Name: fmt.Sprint(i), DType: tensor.BF16, Shape: v.Shape})
			l.Moves = append(l.Moves, moves.Move{Source: s, View: v, Dest: i})
		}
		return l
	}
	stacked := one(source(chunks()), whole)
	stacked.Dests[0].Shape = []int64{1000, 100}
	stacked.Moves = append(stacked.Moves, moves.Move{Source: source(chunks()), View: whole, Offset: 50_000})
	for _, tt := range []struct {
		name  string
		list  moves.List
		crc   bool
		sink  bool
		a     digest.Algorithms
		part  int64
		parts int
	}{
		{"chunks", one(source(chunks()), whole), false, false, digest.BLAKE3, 3000, 34},
		{"larger parts", one(source(chunks()), whole), false, false, digest.BLAKE3, 3001, 25},
		{"one part", one(source(chunks()), whole), false, false, digest.BLAKE3, 100_000, 0},
		{"no chunks", one(source(&tensortest.Stream{Content: content}), whole), false, false, digest.BLAKE3, 3000, 0},
		{"checksum of the file", one(source(&checkedChunks{*chunks()}), whole), false, false, digest.BLAKE3, 3000, 0},
		{"transposed", one(source(chunks()), whole.Permute(1, 0)), false, false, digest.BLAKE3, 3000, 0},
		{"a half", one(source(chunks()), whole.Narrow(0, 0, 250)), false, false, digest.BLAKE3, 3000, 0},
		{"two uses", one(source(chunks()), whole, whole), false, false, digest.BLAKE3, 3000, 0},
		{"two in one", stacked, false, false, digest.BLAKE3, 3000, 0},
		{"CRC-32", one(source(chunks()), whole), true, false, digest.BLAKE3, 3000, 0},
		{"SHA-256", one(source(chunks()), whole), false, false, digest.SHA256, 3000, 0},
		{"sink", one(source(chunks()), whole), false, true, digest.BLAKE3, 3000, 0},
	} {
		files := newFiles(t, rand.New(rand.NewPCG(1, 1)), tt.list)
		if tt.sink {
			files.ranges[0].file = -1
		}
		var dst Destination = files
		if !tt.crc {
			dst = withoutCRC{files}
		}
		parts, at, bytes := 0, int64(0), int64(0)
		l := jobsOf(t, tt.list, dst, tt.a, tt.part)
		for _, j := range l.jobs {
			bytes += j.bytes
			m := j.part
			if m == nil {
				continue
			}
			parts++
			if m.Offset != at || m.View.Offset != at || m.View.Elements() != m.elements || j.n != 0 || j.bytes != 2*m.elements {
				t.Errorf("%s: part of %d elements: %+v of %d bytes", tt.name, m.elements, m.Move, j.bytes)
			}
			at += m.elements
		}
		want := int64(0)
		for _, m := range tt.list.Moves {
			want += 2 * m.View.Elements()
		}
		if parts != tt.parts || parts > 0 && at != 50_000 || bytes != want {
			t.Errorf("%s: %d parts of %d elements, %d bytes", tt.name, parts, at, bytes)
		}
	}
}

// The bytes of a job are those of the wider side.
func TestJobsBytes(t *testing.T) {
	source := tensortest.Stored("s", tensor.BF16, []int64{10}, make([]byte, 20))
	l := moves.List{Dests: []moves.Dest{{Name: "a", DType: tensor.F32, Shape: []int64{10}}, {Name: "b", DType: tensor.BF16, Shape: []int64{4}}},
		Moves: []moves.Move{{Source: source, View: tensor.RowMajor(10)}, {Source: source, View: tensor.RowMajor(4), Dest: 1}}}
	jobs := jobsOf(t, l, newFiles(t, rand.New(rand.NewPCG(1, 1)), l), digest.BLAKE3, 100)
	if len(jobs.jobs) != 1 || jobs.jobs[0].bytes != 40+8 {
		t.Errorf("%d jobs, the first of %d bytes", len(jobs.jobs), jobs.jobs[0].bytes)
	}
}

// A row of a matrix may be longer than all buffers, and a block of one longer than a band.
func TestExecuteLongRows(t *testing.T) {
	for _, shape := range [][]int64{{1000, 5}, {5, 1000}, {2, 300, 7}} {
		for _, buffers := range []int64{512, 20 << 10} {
			for kind := range 4 { // in a file or a stream, into a file or a sink
				m := movestest.New(t, 2, 1)
				view := tensor.RowMajor(shape...)
				content := m.Bytes(8 * view.Elements())
				source := tensortest.Stored("s", tensor.F64, shape, content)
				if kind%2 == 1 {
					source.Data = &tensortest.Stream{Content: content}
				}
				axes := []int{1, 0}
				if len(shape) == 3 {
					axes = []int{0, 2, 1}
				}
				m.Dest(tensor.F64, []*tensor.Tensor{source}, [][]byte{content}, []tensor.View{view.Permute(axes...)})
				files := newFiles(t, m.Rand, m.List)
				if kind/2 == 1 {
					files.ranges[0].file = -1
				}
				l := testLimits[0]
				l.buffers = buffers
				if _, err := execute(t.Context(), m.List, files, Options{}, l); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(files.content(t, 0), m.Want[0]) {
					t.Errorf("%v with %d bytes, kind %d: wrong bytes", shape, buffers, kind)
				}
			}
		}
	}
}

func TestStoredRowsEnd(t *testing.T) {
	rows := storedRows{&tensor.Strided{Store: bytes.NewReader(make([]byte, 20)), Base: 4, DType: tensor.BF16}}
	err := rows.read(make([]byte, 12), 1, 2, 3, 5) // bytes 6 to 11 and 16 to 21
	var bad *tensor.FormatError
	if !errors.As(err, &bad) || bad.Offset != 16 || bad.Problem != "storage ends 2 bytes short" {
		t.Errorf("%v", err)
	}
	if err := rows.read(make([]byte, 12), 1, 2, 3, 4); err != nil {
		t.Error(err)
	}
}

// The digest of a file is that of its bytes, whatever the order in which its tensors are written.
func TestExecuteFileDigest(t *testing.T) {
	for _, a := range []digest.Algorithms{digest.BLAKE3, digest.SHA256, digest.BLAKE3 | digest.SHA256} {
		for k, l := range testLimits {
			testFileDigest(t, a, k, l)
		}
	}
}

func testFileDigest(t *testing.T, a digest.Algorithms, k int, l limits) {
	m := movestest.New(t, 3, 3)
	for i := range 6 {
		content := m.Bytes(2 * 3000)
		source := tensortest.Stored(fmt.Sprint(i), tensor.BF16, []int64{50, 60}, content)
		if i%2 == 1 {
			source.Data = &tensortest.Stream{Content: content} // which is transposed by rows if there is not enough memory
		}
		m.Dest(tensor.BF16, []*tensor.Tensor{source}, [][]byte{content}, []tensor.View{tensor.RowMajor(50, 60).Permute(1, 0)})
	}
	outputs := publish.NewOutputFiles(a)
	path := filepath.Join(t.TempDir(), "out")
	file, err := outputs.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := []byte("head")
	files := newFiles(t, m.Rand, m.List)
	for i := range files.ranges {
		files.ranges[i] = fileRange{0, int64(len(want)), int64(len(m.Want[i]))}
		want = append(want, m.Want[i]...)
	}
	files.outputs[0] = file
	if err := file.Truncate(int64(len(want))); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("head"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := execute(t.Context(), m.List, files, Options{Digests: a}, l); err != nil {
		t.Fatal(err)
	}
	sums, err := outputs.Sums(t.Context())
	if err != nil || len(sums) != 1 || sums[0].Sum != digest.Of(a, want) {
		t.Errorf("%s, limits %d: wrong digest: %v, %v", a, k, sums, err)
	}
}

// Memory that was given back is lent again for what fits in it, and freed for what does not.
func TestBufferPoolKeepsMemory(t *testing.T) {
	p := newBufferPool(100 << 10)
	take := func(n int64) *buffer {
		t.Helper()
		b, err := p.take(t.Context(), n, n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := take(60 << 10)
	first.Bytes[0] = 'k' // new memory is zero
	first.giveBack()
	for _, n := range []int64{50 << 10, 60 << 10} {
		again := take(n)
		if again.Bytes[0] != 'k' || again.size != 60<<10 {
			t.Errorf("%d bytes of other memory for %d", again.size, n)
		}
		again.giveBack()
	}
	if larger := take(70 << 10); larger.size != 70<<10 || p.free != 30<<10 {
		t.Errorf("%d bytes, and %d are free", larger.size, p.free)
	} else {
		larger.giveBack()
	}
	if err := p.close(); err != nil || p.free != p.total {
		t.Errorf("%d of %d bytes are free, %v", p.free, p.total, err)
	}
}

// Memory that is given back while another waits goes to that.
func TestBufferPoolWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBufferPool(100 << 10)
		first, err := p.take(t.Context(), 100<<10, 0)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			first.giveBack()
		}()
		second, err := p.take(t.Context(), 40<<10, 40<<10)
		if err != nil || second.size != 40<<10 {
			t.Errorf("%v, %v", second, err)
		}
	})
}
