package transfer

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/internal/movestest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// oneFile makes a file of outputs for all tensors of a list, one behind the other, and puts them there.
func oneFile(t *testing.T, rng *rand.Rand, outputs *publish.OutputFiles, l moves.List) *files {
	t.Helper()
	file, err := outputs.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	files := newFiles(t, rng, l)
	end := int64(0)
	for i := range files.ranges {
		files.ranges[i] = fileRange{0, end, files.ranges[i].length}
		end += files.ranges[i].length
	}
	files.outputs = []*publish.OutputFile{file}
	if err := file.Truncate(end); err != nil {
		t.Fatal(err)
	}
	return files
}

// For SHA-256, tensors of one file are filled from its beginning to its end: nothing is missing in the digest of the file
// afterwards, whose bytes are changed here before it is asked for.
func TestExecuteInFileOrder(t *testing.T) {
	for round := range uint64(80) {
		rng := rand.New(rand.NewPCG(8, round))
		m := &movestest.Maker{T: t, Rand: rng}
		for range 2 + rng.IntN(6) {
			m.Add()
		}
		outputs := publish.NewOutputFiles(digest.SHA256)
		files := oneFile(t, rng, outputs, m.List)
		l := testLimits[round%uint64(len(testLimits))]
		if l.buffers < 1<<20 {
			continue // a matrix that does not fit into memory comes in another order
		}
		r, err := execute(t.Context(), m.List, withoutCRC{files}, Options{Digests: digest.SHA256}, l)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		var all []byte
		for i, want := range m.Want {
			if got := files.content(t, i); !bytes.Equal(got, want) || r.Digests.Dest(i) != digest.Of(digest.SHA256, want) {
				t.Fatalf("round %d: %s: wrong bytes or digest", round, m.List.Dests[i].Name)
			}
			all = append(all, want...)
		}
		if len(all) == 0 {
			continue
		}
		if err := os.WriteFile(files.outputs[0].Name(), make([]byte, len(all)), 0o666); err != nil {
			t.Fatal(err)
		}
		sums, err := outputs.Sums(t.Context())
		if err != nil || len(sums) != 1 || sums[0].Sum != digest.Of(digest.SHA256, all) {
			t.Errorf("round %d: %v, %v", round, sums, err)
		}
	}
}

// streamed is data like tensortest.Stream whose streams hold memory.
type streamed struct{ stream }

type stream = tensortest.Stream

func (*streamed) StreamMemory() int64 { return 1 }

// As many sources as there are may be read in the order of a file if they need no memory, or are not open at once.
func TestFileOrderOfManySources(t *testing.T) {
	for _, tt := range []struct {
		name string
		data tensor.Data
		next int // uses of a source that follow one another
	}{
		{"stored", tensortest.Stored("", tensor.U8, []int64{2}, []byte("ab")).Data, 1},
		{"in turn", &streamed{stream{Content: []byte("ab")}}, 2},
	} {
		sources := make([]*tensor.Tensor, maxWorkers()+1)
		var l moves.List
		for k := range 2 * len(sources) {
			of := &sources[k/tt.next%len(sources)]
			if *of == nil {
				*of = &tensor.Tensor{Name: fmt.Sprint(k), DType: tensor.U8, Shape: []int64{2}, Data: tt.data}
			}
			l.Dests = append(l.Dests, moves.Dest{Name: fmt.Sprint(k), DType: tensor.U8, Shape: []int64{2}})
			l.Moves = append(l.Moves, moves.Move{Source: *of, View: tensor.RowMajor(2), Dest: k})
		}
		files := oneFile(t, rand.New(rand.NewPCG(1, 1)), publish.NewOutputFiles(digest.SHA256), l)
		if got := len(jobsOf(t, l, withoutCRC{files}, digest.SHA256, 100).jobs); got != 1 {
			t.Errorf("%s: %d jobs", tt.name, got)
		}
	}
}

// A source whose parts go to several places of a file stays open between them, so that it is decoded once. If too many sources would be open
// at the same time, the file is not filled in order.
func TestFileOrderOfInterleavedSources(t *testing.T) {
	for _, sources := range []int{1, 2, maxWorkers(), maxWorkers() + 1} {
		var l moves.List
		data := make([]*streamed, sources)
		want := make([][]byte, 2)
		for k := range data {
			data[k] = &streamed{stream{Content: []byte{byte(k), byte(k + 100)}}}
		}
		for half := range 2 {
			for k, d := range data {
				s := &tensor.Tensor{Name: fmt.Sprint(k), DType: tensor.U8, Shape: []int64{2}, Data: d}
				if half == 1 {
					s = l.Moves[k].Source
				}
				l.Dests = append(l.Dests, moves.Dest{Name: fmt.Sprint(half, k), DType: tensor.U8, Shape: []int64{1}})
				l.Moves = append(l.Moves, moves.Move{Source: s, View: tensor.RowMajor(2).Narrow(0, int64(half), 1), Dest: len(l.Dests) - 1})
				want[half] = append(want[half], d.Content[half])
			}
		}
		outputs := publish.NewOutputFiles(digest.SHA256)
		files := oneFile(t, rand.New(rand.NewPCG(1, 1)), outputs, l)
		inOrder := len(jobsOf(t, l, withoutCRC{files}, digest.SHA256, 100).jobs) == 1
		if inOrder != (sources <= maxWorkers()) {
			t.Errorf("%d sources: in order is %t", sources, inOrder)
		}
		if _, err := execute(t.Context(), l, withoutCRC{files}, Options{Digests: digest.SHA256}, testLimits[1]); err != nil {
			t.Fatal(err)
		}
		for k, d := range data {
			if n := d.Opened.Load(); n != 1 {
				t.Errorf("%d sources: %d was opened %d times", sources, k, n)
			}
		}
		got := make([]byte, 2*sources)
		if _, err := files.outputs[0].ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, slices.Concat(want...)) {
			t.Errorf("%d sources: %v, %v", sources, got, err)
		}
	}
}

// Where the order of a file is of no use or cannot be kept, several workers fill it.
func TestNotInFileOrder(t *testing.T) {
	stored := func(name string) *tensor.Tensor {
		return tensortest.Stored(name, tensor.U8, []int64{4}, []byte("abcd"))
	}
	list := func(sources ...*tensor.Tensor) (l moves.List) {
		for i, s := range sources {
			l.Dests = append(l.Dests, moves.Dest{Name: s.Name, DType: tensor.U8, Shape: s.Shape})
			l.Moves = append(l.Moves, moves.Move{Source: s, View: tensor.RowMajor(4), Dest: i})
		}
		return l
	}
	two := list(stored("a"), stored("b"))
	for _, tt := range []struct {
		name string
		list moves.List
		a    digest.Algorithms
		crc  bool
		want int // jobs
	}{
		{"SHA-256", two, digest.SHA256, false, 1},
		{"both", two, digest.SHA256 | digest.BLAKE3, false, 1},
		{"BLAKE3", two, digest.BLAKE3, false, 2},
		{"checksums that the file has before its tensors", two, digest.SHA256, true, 2},
		{"a sink", two, digest.SHA256, false, 2},
		{"sources in a file that is read once", list(inSequence("a", 0), inSequence("b", 4)), digest.SHA256, false, 2},
	} {
		files := oneFile(t, rand.New(rand.NewPCG(1, 1)), publish.NewOutputFiles(tt.a), tt.list)
		if tt.name == "a sink" {
			files.ranges[1].file = -1
		}
		var dst Destination = withoutCRC{files}
		if tt.crc {
			dst = files
		}
		if got := len(jobsOf(t, tt.list, dst, tt.a, 100).jobs); got != tt.want {
			t.Errorf("%s: %d jobs", tt.name, got)
		}
	}
}

// Files that are best read from beginning to end are read so, one after the other, whatever the order and the sizes of the
// tensors in them. Tensors that lie elsewhere may come at any time.
func TestSequentialFiles(t *testing.T) {
	var l moves.List
	add := func(data tensor.Data, n int64) {
		s := &tensor.Tensor{Name: fmt.Sprint(len(l.Dests)), DType: tensor.U8, Shape: []int64{n}, Data: data}
		l.Moves = append(l.Moves, moves.Move{Source: s, View: tensor.RowMajor(n), Dest: len(l.Dests)})
		l.Dests = append(l.Dests, moves.Dest{Name: s.Name, DType: tensor.U8, Shape: s.Shape})
	}
	var reads []string
	a := &watched{"a", true, bytes.NewReader(make([]byte, 1000)), &reads}
	b := &watched{"b", false, bytes.NewReader(make([]byte, 1000)), &reads}
	stored := func(store *watched, at, n int64) {
		add(&tensor.Strided{Store: store, Base: at, Length: n, DType: tensor.U8, View: tensor.RowMajor(n)}, n)
	}
	stored(b, 0, 20)
	stored(a, 60, 40)
	stored(b, 20, 90)
	add(&tensortest.Stream{Content: make([]byte, 500)}, 500)
	stored(a, 10, 50)
	stored(b, 110, 30)
	stored(a, 0, 10)
	files := newFiles(t, rand.New(rand.NewPCG(1, 1)), l)
	if _, err := execute(t.Context(), l, files, Options{}, testLimits[0]); err != nil {
		t.Fatal(err)
	}
	of := map[string][]int64{}
	var order []string
	for _, read := range reads {
		var file string
		var at int64
		fmt.Sscan(read, &file, &at)
		if of[file] == nil {
			order = append(order, file)
		} else if order[len(order)-1] != file {
			t.Errorf("file %s is read again after another: %v", file, reads)
		}
		of[file] = append(of[file], at)
	}
	if !slices.IsSorted(of["a"]) || !slices.IsSorted(of["b"]) || len(order) != 2 {
		t.Errorf("reads %v", reads)
	}
}

// watched is a file that records where it is read.
type watched struct {
	name   string
	answer bool
	*bytes.Reader
	reads *[]string
}

func (w *watched) Sequential() bool { return w.answer }

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	*w.reads = append(*w.reads, fmt.Sprint(w.name, " ", off))
	return w.Reader.ReadAt(p, off)
}

// One file is filled after the other, whatever the order of the tensors.
func TestFileOrderOfFiles(t *testing.T) {
	var l moves.List
	for i, name := range []string{"a", "b", "c", "d"} {
		l.Dests = append(l.Dests, moves.Dest{Name: name, DType: tensor.U8, Shape: []int64{4}})
		l.Moves = append(l.Moves, moves.Move{Source: tensortest.Stored(name, tensor.U8, []int64{4}, []byte("abcd")), View: tensor.RowMajor(4), Dest: i})
	}
	outputs := publish.NewOutputFiles(digest.SHA256)
	files := oneFile(t, rand.New(rand.NewPCG(1, 1)), outputs, l)
	second, err := outputs.Create(filepath.Join(t.TempDir(), "second"))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.Truncate(8); err != nil {
		t.Fatal(err)
	}
	files.outputs = append(files.outputs, second)
	files.ranges = []fileRange{{0, 4, 4}, {1, 4, 4}, {1, 0, 4}, {0, 0, 4}}
	if got := jobsOf(t, l, withoutCRC{files}, digest.SHA256, 100).order; !slices.Equal(got, []int32{3, 0, 2, 1}) {
		t.Errorf("moves in the order %v", got)
	}
}

// inSequence returns a tensor that lies in a file that is best read from its beginning to its end.
func inSequence(name string, at int64) *tensor.Tensor {
	return &tensor.Tensor{Name: name, DType: tensor.U8, Shape: []int64{4},
		Data: &tensor.Strided{Store: sequential{bytes.NewReader([]byte("abcdefgh"))}, Base: at, Length: 4, DType: tensor.U8, View: tensor.RowMajor(4)}}
}

type sequential struct{ *bytes.Reader }

func (sequential) Sequential() bool { return true }
