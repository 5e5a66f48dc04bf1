package dcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"unsafe"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// writer writes .metadata as Python's pickler does: names that occur again come from the memo.
type writer struct {
	bytes.Buffer
	memo  map[string]int
	count int // entries of the memo, of which the map has those that are read again
}

func (w *writer) put(s string) { w.WriteString(s) }

// text writes a text, which the memo keeps.
func (w *writer) text(s string) {
	if at, ok := w.memo[s]; ok {
		w.get(at)
		return
	}
	w.put("\x8c" + string([]byte{byte(len(s))}) + s + "\x94")
	w.keep(s)
}

func (w *writer) keep(key string) {
	w.memo[key] = w.count
	w.count++
}

func (w *writer) get(at int) { w.put("j" + string(binary.LittleEndian.AppendUint32(nil, uint32(at)))) }

// class writes a class, which the memo keeps.
func (w *writer) class(module, name string) {
	key := module + " " + name
	if at, ok := w.memo[key]; ok {
		w.get(at)
		return
	}
	w.text(module)
	w.text(name)
	w.put("\x93\x94")
	w.keep(key)
}

func (w *writer) number(n int) { w.put("J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n)))) }

// size writes a torch.Size of two axes. The memo keeps the tuples too, which nothing reads again.
func (w *writer) size(a, b int) {
	w.class("torch", "Size")
	w.number(a)
	w.number(b)
	w.put("\x86\x94\x85\x94R\x94")
	w.count += 3
}

const metadataModule = "torch.distributed.checkpoint.metadata"

// start begins an instance of a class with a dict as its state; end ends it.
func (w *writer) start(module, name string) {
	w.class(module, name)
	w.put(")\x81}(")
}

func (w *writer) end() { w.put("ub") }

// writeMetadata writes the metadata of tensors [ranks, 4], each cut into one row for each rank, with that
// of an optimizer, twice as large, beside it.
func writeMetadata(tensors, ranks int) []byte {
	w := &writer{memo: map[string]int{}}
	w.put("\x80\x04")
	w.start(metadataModule, "Metadata")
	w.text("state_dict_metadata")
	w.put("}")
	names := []string{}
	for i := range tensors {
		names = append(names, fmt.Sprintf("model.layers.%d.weight", i), fmt.Sprintf("optimizer.state.%d.exp_avg", i), fmt.Sprintf("optimizer.state.%d.exp_avg_sq", i))
	}
	batches(w, names, func(name string) {
		w.text(name)
		w.start(metadataModule, "TensorStorageMetadata")
		w.text("properties")
		w.class(metadataModule, "TensorProperties")
		w.put(")\x81")
		w.class("torch", "float32")
		w.put("N\x86b")
		w.text("size")
		w.size(ranks, 4)
		w.text("chunks")
		w.put("](")
		for r := range ranks {
			w.start(metadataModule, "ChunkStorageMetadata")
			w.text("offsets")
			w.size(r, 0)
			w.text("sizes")
			w.size(1, 4)
			w.end()
		}
		w.put("e")
		w.end()
	})
	w.text("planner_data")
	w.put("}")
	batches(w, names, func(name string) {
		w.text(name)
		first, rest, _ := strings.Cut(name, ".")
		w.text(first)
		w.text(rest)
		w.put("\x86")
	})
	w.text("storage_data")
	w.put("}")
	for r := range ranks {
		batches(w, names, func(name string) {
			w.start(metadataModule, "MetadataIndex")
			w.text("fqn")
			w.text(name)
			w.text("offset")
			w.size(r, 0)
			w.end()
			w.start("torch.distributed.checkpoint.filesystem", "_StorageInfo")
			w.text("relative_path")
			w.text(fmt.Sprintf("__%d_0.distcp", r))
			w.text("offset")
			w.number(1000)
			w.text("length")
			w.number(1577)
			w.end()
		})
	}
	w.end()
	w.put(".")
	return w.Bytes()
}

// batches sets items of a dict 1000 at a time, as Python's pickler does.
func batches(w *writer, names []string, item func(name string)) {
	for i, name := range names {
		if i%1000 == 0 {
			w.put("(")
		}
		item(name)
		if i%1000 == 999 || i == len(names)-1 {
			w.put("u")
		}
	}
}

// TestManyRanks reads the metadata of 384 tensors on 512 ranks with an optimizer: 590,000 chunks.
func TestManyRanks(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const tensors, ranks = 384, 512
	data := writeMetadata(tensors, ranks)
	m, err := readMetadata(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	model := 0
	for _, e := range m.tensors {
		if e.grid != nil {
			model++
			last := m.places.at(e.first + ranks - 1)
			if e.placed() != ranks || last.length() != 1577 || m.files[last.file()] != "__511_0.distcp" {
				t.Fatalf("%s has %d places", e.name, e.placed())
			}
		}
	}
	if model != tensors || len(m.files) != ranks {
		t.Errorf("%d tensors of the model in %d files", model, len(m.files))
	}
	size := len(data)
	data = nil
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	t.Logf("metadata of %d MB leaves %d MB of heap", size>>20, stats.HeapAlloc>>20)
	if stats.HeapAlloc > 40<<20 {
		t.Errorf("%d bytes of heap", stats.HeapAlloc)
	}
	runtime.KeepAlive(m)
}

// TestBillionChunks has a list of chunks that refers to one of them again and again.
func TestBillionChunks(t *testing.T) {
	w := &writer{memo: map[string]int{}}
	w.put("\x80\x04")
	w.start(metadataModule, "Metadata")
	w.text("state_dict_metadata")
	w.put("}(")
	w.text("w")
	w.start(metadataModule, "TensorStorageMetadata")
	w.text("chunks")
	w.put("](")
	w.class(metadataModule, "ChunkStorageMetadata")
	w.put(")\x81\x94}(")
	chunk := w.count
	w.count++
	w.text("offsets")
	w.size(0, 0)
	w.text("sizes")
	w.size(0, 0)
	w.end()
	for range 2_000_000 {
		w.get(chunk)
	}
	w.put("e.")
	data := w.Bytes()
	_, err := readMetadata(bytes.NewReader(data), int64(len(data)))
	if err == nil || !strings.Contains(err.Error(), "more than 96 MiB") {
		t.Errorf("%v", err)
	}
}

// TestTooManyChunks has few bytes for many tensors, which all have the same list of chunks.
func TestTooManyChunks(t *testing.T) {
	const chunks = 1024
	read := func(tensors int) error {
		w := &writer{memo: map[string]int{}}
		w.put("\x80\x04")
		w.start(metadataModule, "Metadata")
		w.text("state_dict_metadata")
		w.put("}(")
		names := make([]string, tensors)
		for i := range names {
			names[i] = fmt.Sprint("w", i)
		}
		storage := 0
		for i, name := range names {
			w.text(name)
			if i > 0 {
				w.get(storage)
				continue
			}
			w.class(metadataModule, "TensorStorageMetadata")
			w.put(")\x81\x94}(")
			storage = w.count
			w.count++
			w.text("properties")
			w.class(metadataModule, "TensorProperties")
			w.put(")\x81")
			w.class("torch", "float32")
			w.put("N\x86b")
			w.text("size")
			w.size(chunks, 4)
			w.text("chunks")
			w.put("](")
			for r := range chunks {
				w.start(metadataModule, "ChunkStorageMetadata")
				w.text("offsets")
				w.size(r, 0)
				w.text("sizes")
				w.size(1, 4)
				w.end()
			}
			w.put("e")
			w.end()
		}
		w.put("u")
		w.text("storage_data")
		w.put("}")
		batches(w, names, func(name string) {
			w.start(metadataModule, "MetadataIndex")
			w.text("fqn")
			w.text(name)
			w.text("offset")
			w.size(0, 0)
			w.end()
			w.start("torch.distributed.checkpoint.filesystem", "_StorageInfo")
			w.text("relative_path")
			w.text("__0_0.distcp")
			w.text("offset")
			w.number(0)
			w.text("length")
			w.number(1577)
			w.end()
		})
		w.end()
		w.put(".")
		m, err := readMetadata(bytes.NewReader(w.Bytes()), int64(w.Len()))
		if err == nil && m.tensors[0].grid != m.tensors[tensors-1].grid {
			t.Error("tensors that are cut alike do not share how they are")
		}
		return err
	}
	if err := read(maxChunks / chunks); err != nil {
		t.Error(err)
	}
	if err := read(maxChunks/chunks + 1); err == nil || tensor.ReasonOf(err) != tensor.TooLarge || !strings.Contains(err.Error(), "more than 2097152 chunks") {
		t.Errorf("%v", err)
	}
}

// TestPlace: a place keeps the longest chunk in the last file.
func TestPlace(t *testing.T) {
	for _, length := range []int64{1, maxLength} {
		for _, file := range []int{0, 1<<fileBits - 1} {
			if p := newPlace(1<<62, length, file); p.offset != 1<<62 || p.length() != length || p.file() != file || p.unknown() {
				t.Errorf("%d bytes of file %d became %d of %d", length, file, p.length(), p.file())
			}
		}
	}
	m := &metadata{byName: map[string]*entry{}, fileOf: map[string]int{}}
	m.byName["w"] = &entry{name: "w", grid: &grid{shape: []int64{1}, chunks: 1, boxes: []int64{0, 1}}, properties: &properties{dtype: tensor.F32}}
	var all places // of two full blocks
	for range 2 {
		first := all.add(perBlock)
		*all.at(first) = newPlace(1, 2, 3)
		*all.at(first + perBlock - 1) = newPlace(4, 5, 6)
	}
	if all.at(1).offset != 1 || all.at(perBlock).offset != 4 || all.at(perBlock+1).offset != 1 || all.at(2*perBlock).offset != 4 || !all.at(2).unknown() {
		t.Error("places of full blocks")
	}
	for length, want := range map[int64]bool{maxLength: true, maxLength + 1: false, 0: false} {
		if _, err := m.addLocation(&index{"w", []int64{0}}, &location{path: "a", length: length}); (err == nil) != want {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

// The memory that is counted against the limit is at least that of the texts and numbers that are kept.
func TestMemoryIsCounted(t *testing.T) {
	text := func(n int) string { return strings.Repeat("x", n) }
	state := func(all ...any) *pickle.Dict {
		d := &pickle.Dict{}
		for i := 0; i < len(all); i += 2 {
			d.Entries = append(d.Entries, pickle.Entry{Key: all[i], Value: all[i+1]})
		}
		return d
	}
	numbers := func(n int) []int64 { return make([]int64, n) }
	ten := &pickle.List{}
	for i := range 10 {
		ten.Items = append(ten.Items, &chunkStorage{[]int64{int64(i), 0}, []int64{1, 4}})
	}
	const ofEntry = int64(unsafe.Sizeof(entry{}))
	m := emptyMetadata()
	m.addRows(t, "known", 50)
	storage := &tensorStorage{}
	for _, tt := range []struct {
		name  string
		count func() (int64, error)
		least int64
	}{
		{"a version", func() (int64, error) { return new(root).SetState(state("version", text(999))) }, 999},
		{"a chunk", func() (int64, error) {
			return new(chunkStorage).SetState(state("offsets", numbers(64), "sizes", numbers(64)))
		}, 2 * 8 * 64},
		{"the place of a chunk", func() (int64, error) {
			return new(index).SetState(state("fqn", text(1000), "offset", numbers(64)))
		}, 1000 + 8*64},
		{"a tensor", func() (int64, error) {
			return storage.SetState(state("properties", &properties{dtype: tensor.F32}, "size", []int64{10, 4}, "chunks", ten))
		}, perGrid + 8*(2+4*10) + 4*10},
		{"the same of a name", func() (int64, error) { return m.addTensor(text(2000), storage) }, ofEntry + 2000 + perGrid + 8*(2+4*10) + 4*10},
		{"a tensor that cannot be read", func() (int64, error) {
			bad := properties{problem: tensor.Bad("%s", text(400))}
			return m.addTensor("unreadable", &tensorStorage{&bad, &grid{shape: []int64{1}, chunks: 1, boxes: []int64{0, 1}}})
		}, ofEntry + 400 + perGrid + 8*3},
		{"keys", func() (int64, error) {
			return m.addPath("k", &pickle.Tuple{Items: []any{text(3000), text(500), "x"}}), nil
		}, ofEntry + 3500},
		{"places", func() (int64, error) {
			return m.addLocation(&index{"known", []int64{0, 0}}, &location{path: text(700), length: 1})
		}, 2*700 + int64(unsafe.Sizeof(place{}))*50},
		{"the place of another chunk", func() (int64, error) {
			return m.addLocation(&index{"known", []int64{1, 0}}, &location{path: text(700), length: 1})
		}, 0},
	} {
		if got, err := tt.count(); err != nil || got < tt.least || got > tt.least+400 {
			t.Errorf("%s: %d bytes, want %d or some more; %v", tt.name, got, tt.least, err)
		}
	}
}

// A tensor of which no chunk is stored has no elements, whatever others have.
func TestNoPlaces(t *testing.T) {
	m := emptyMetadata()
	lost, w := m.addRows(t, "lost", 1), m.addRows(t, "w", 1)
	if _, err := m.addLocation(&index{"w", []int64{0, 0}}, &location{path: "a", offset: 0, length: 5}); err != nil {
		t.Fatal(err)
	}
	*m.places.at(0) = newPlace(0, 5, 0) // of nobody
	if lost.placed() != 0 || w.placed() != 1 || (&entry{first: 1}).placed() != 0 {
		t.Errorf("%d, %d", lost.placed(), w.placed())
	}
	files := &files{names: m.files, places: m.places, pool: storage.NewPool(fstest.MapFS{}, 1)}
	if _, err := m.open(lost, files); err == nil || !strings.Contains(err.Error(), "no chunk has the elements [0:1, 0:4]") {
		t.Errorf("%v", err)
	}
	if _, err := m.open(w, files); err != nil {
		t.Errorf("%v", err)
	}
}

// A file is too short if it ends before any of its chunks does, not only the last one that .metadata lists.
func TestShortFile(t *testing.T) {
	m := emptyMetadata()
	m.addRows(t, "first", 2)
	m.addRows(t, "second", 1)
	for _, l := range []struct {
		name           string
		row            int64
		offset, length int64
	}{{"first", 0, 10, 20}, {"first", 1, 100, 50}, {"second", 0, 0, 10}} {
		if _, err := m.addLocation(&index{l.name, []int64{l.row, 0}}, &location{path: "a", offset: l.offset, length: l.length}); err != nil {
			t.Fatal(err)
		}
	}
	for size, want := range map[int]string{149: `a: tensor "first": file of a rank has 149 bytes, where a chunk ends at 150`, 150: ""} {
		err := m.checkFiles(fstest.MapFS{"a": {Data: make([]byte, size)}}, ".")
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v, want %q", size, err, want)
		}
	}
}

// Objects whose state is not as it should be are an error, and no panic.
func TestStates(t *testing.T) {
	pair := func(items ...any) *pickle.Tuple { return &pickle.Tuple{Items: items} }
	for _, tt := range []struct {
		state any
		want  tensor.DType
	}{
		{nil, 0}, {&pickle.Dict{}, 0}, {pair(), 0}, {pair(tensor.F32), 0},
		{pair(tensor.F32, nil), tensor.F32}, {pair(tensor.F16, "torch.strided", true), tensor.F16},
		{&pickle.Dict{Entries: []pickle.Entry{{Key: "dtype", Value: tensor.BF16}}}, tensor.BF16},
		{pair(nil, &pickle.Dict{Entries: []pickle.Entry{{Key: "dtype", Value: tensor.BF16}}}), tensor.BF16},
	} {
		p := &properties{}
		if _, err := p.SetState(tt.state); (err == nil) != (tt.want != 0) || p.dtype != tt.want || p.problem != nil {
			t.Errorf("%+v: %+v, %v", tt.state, p, err)
		}
	}
	for _, tt := range []struct {
		args []any
		want any
	}{{nil, nil}, {[]any{}, nil}, {[]any{int64(1)}, nil}, {[]any{"a", "b"}, "a"}} {
		if got, err := firstText(tt.args); got != tt.want || err != nil {
			t.Errorf("%v: %v, %v", tt.args, got, err)
		}
	}
	for axes, ok := range map[int]bool{64: true, 65: false} { // the most that torch has
		_, err := new(tensorStorage).SetState(&pickle.Dict{Entries: []pickle.Entry{{Key: "properties", Value: &properties{dtype: tensor.F32}}, {Key: "size", Value: make([]int64, axes)}, {Key: "chunks", Value: &pickle.List{}}}})
		if (err == nil) != ok {
			t.Errorf("%d axes: %v", axes, err)
		}
	}
}
