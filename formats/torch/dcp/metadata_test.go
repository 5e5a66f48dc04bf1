package dcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
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
	for length, want := range map[int64]bool{maxLength: true, maxLength + 1: false, 0: false} {
		if _, err := m.addLocation(&index{"w", []int64{0}}, &location{path: "a", length: length}); (err == nil) != want {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}
