package savefile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// pickled returns the pickle of {"w": tensor, …}: each tensor a matrix of float32 over the storage
// of its index, transposed if the name says so.
func pickled(rows, cols int, names ...string) string {
	number := func(n int) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	text := func(s string) string { return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s }
	var p strings.Builder
	p.WriteString("\x80\x02}(")
	for i, name := range names {
		shape, stride := number(rows)+number(cols), number(cols)+number(1)
		if strings.HasSuffix(name, ".T") {
			shape, stride = number(cols)+number(rows), number(1)+number(cols)
		}
		p.WriteString(text(name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" +
			text(fmt.Sprint(i)) + text("cpu") + number(rows*cols) + "tQK\x00(" + shape + "t(" + stride + "t\x89ccollections\nOrderedDict\n)RtR")
	}
	p.WriteString("u.")
	return p.String()
}

// part is one member of a zip file under test.
type part struct {
	name    string
	content string
	deflate bool
}

// zipped packs parts as Go's archive/zip does.
func zipped(t testing.TB, parts ...part) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, p := range parts {
		method := zip.Store
		if p.deflate {
			method = zip.Deflate
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: p.name, Method: method})
		if err == nil {
			_, err = io.WriteString(w, p.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// goodParts are a sound checkpoint of one 2 by 3 matrix.
func goodParts() []part {
	return []part{
		{"a/data.pkl", pickled(2, 3, "w"), false},
		{"a/data/0", strings.Repeat("\x00\x00\x80\x3f", 6), false},
		{"a/version", "3\n", false},
	}
}

// manyParts have names that fill the largest directory.
func manyParts() []part {
	var parts []part
	for i := range 560 {
		parts = append(parts, part{fmt.Sprintf("a/%d%s", i, strings.Repeat("x", 60_000)), "", false})
	}
	return parts
}

func openBytes(data []byte) (*tensor.Checkpoint, error) {
	return openReader(bytes.NewReader(data), int64(len(data)), Options{})
}

func openReader(r io.ReaderAt, size int64, options Options) (*tensor.Checkpoint, error) {
	f, err := Read("", r, size)
	if err != nil {
		return nil, err
	}
	return f.Checkpoint("", options)
}

// TestContainer changes one thing of a sound file at a time.
func TestContainer(t *testing.T) {
	with := func(more ...part) func(*testing.T) []byte {
		return func(t *testing.T) []byte { return zipped(t, append(goodParts(), more...)...) }
	}
	without := func(i int) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			p := goodParts()
			return zipped(t, append(p[:i], p[i+1:]...)...)
		}
	}
	instead := func(i int, p part) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			parts := goodParts()
			parts[i] = p
			return zipped(t, parts...)
		}
	}
	// patched writes bytes at an offset from the last place where mark stands.
	patched := func(mark string, offset int, with string) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			data := zipped(t, goodParts()...)
			copy(data[bytes.LastIndex(data, []byte(mark))+offset:], with)
			return data
		}
	}
	for name, c := range map[string]struct {
		file func(*testing.T) []byte
		want string // of the error, "" for none
	}{
		"sound":                   {with(), ""},
		"folder entries":          {with(part{"a/", "", false}, part{"a/data/", "", false}), ""},
		"further members":         {with(part{"a/.data/serialization_id", "1", false}), ""},
		"big endian":              {with(part{"a/byteorder", "big", false}), ""},
		"byte order unknown":      {with(part{"a/byteorder", "middle", false}), `byte order "middle"`},
		"byte order long":         {with(part{"a/byteorder", strings.Repeat("little", 20), false}), "at most 64"},
		"no pickle":               {without(0), "holds no data.pkl"},
		"not a storage":           {without(1), "storage 0 is not in the file"},
		"no version":              {without(2), "holds no version"},
		"version 11":              {instead(2, part{"a/version", "11\n", false}), `version "11\n"`},
		"version 0":               {instead(2, part{"a/version", "0", false}), "of version"},
		"no folder":               {instead(0, part{"data.pkl", pickled(2, 3, "w"), false}), "holds no data.pkl"},
		"outside the folder":      {with(part{"b/x", "", false}), `"b/x" is outside`},
		"two folders":             {with(part{"b/data.pkl", "", false}), "two checkpoints"},
		"same name twice":         {with(part{"a/data/0", strings.Repeat("\x00", 24), false}), "two members of one name"},
		"dots in a name":          {with(part{"a/../b", "", false}), "unsafe name"},
		"absolute name":           {with(part{"/a/b", "", false}), "unsafe name"},
		"backslash":               {with(part{`a/b\c`, "", false}), "unsafe name"},
		"script":                  {with(part{"a/code/x.py", "", false}), "TorchScript"},
		"bytes before":            {func(t *testing.T) []byte { return append([]byte(LocalMark), with()(t)...) }, "does not end where"},
		"bytes after":             {func(t *testing.T) []byte { return append(with()(t), 0) }, "1 bytes that are not part"},
		"bytes after the pickle":  {instead(0, part{"a/data.pkl", pickled(2, 3, "w") + "x", false}), "1 bytes follow the pickle"},
		"pickle cut":              {instead(0, part{"a/data.pkl", pickled(2, 3, "w")[:50], false}), "truncated"},
		"pickle too large":        {instead(0, part{"a/data.pkl", strings.Repeat("N", MaxPickle+1), true}), "at most 67108864"},
		"storage short":           {instead(1, part{"a/data/0", strings.Repeat("\x00", 20), false}), "20 bytes in the file, but 24 in the pickle"},
		"end record of two disks": {patched(EndMark, 4, "\x01"), "one of several parts"},
		"member of another disk":  {patched(CentralMark, 34, "\x01"), "part 1 of several"},
		"member is a folder":      {patched(CentralMark, 38, "\x10"), "marked as a folder"},
		"wrong number of entries": {patched(EndMark, 8, "\x02\x00\x02\x00"), "has 3 members, but 2 in its end record"},
		"directory elsewhere":     {patched(EndMark, 16, "\x01"), "does not end where"},
		"entry mark wrong":        {patched(CentralMark, 0, "XX"), "there is no entry"},
		"entry cut":               {patched(CentralMark, 28, "\xff"), "entry is truncated"},
		"encrypted":               {patched(CentralMark, 8, "\x01"), "encrypted"},
		"patch of another file":   {patched(CentralMark, 8, "\x20"), "patch of another file"},
		"unknown method":          {patched(CentralMark, 10, "\x0c"), "method 12"},
		"sizes differ":            {patched(CentralMark, 24, "\x03"), "sizes are 2 and 3"},
		"inflates too far":        {patched(CentralMark, 10, "\x08\x00"+strings.Repeat("\x00", 8)+"\x00\x00\x00\x00\x00\x00\x00\x01"), "cannot inflate"},
		"header outside":          {patched(CentralMark, 42, "\xff\xff\xff\x00"), "outside the file"},
		"header overlaps":         {patched(CentralMark, 42, "\x00\x00\x00\x00"), "overlaps another"},
		"size needs zip64":        {patched(CentralMark, 42, "\xff\xff\xff\xff"), "64-bit size is missing"},
		"local name differs":      {patched(LocalMark, 30, "b"), "have different names"},
		"local method differs":    {patched(LocalMark, 8, "\x08"), "disagree"},
		"local sizes differ":      {patched(LocalMark, 6, "\x00\x00"), "disagree"},
		"local extra too long":    {patched(LocalMark, 28, "\xff\xff"), "overlaps another or is outside"},
		"directory too large":     {with(manyParts()...), "exceeds 32 MiB"},
		"wrong name in pickle":    {patched("X\x01\x00\x00\x00w", 5, "v"), "data.pkl: checksum"},
		"wrong checksum":          {patched("\x00\x00\x80\x3f", 0, "\x01"), "checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := openBytes(c.file(t))
			checkError(t, err, c.want)
		})
	}
}

// TestZip64 changes the records that only large files need, in a file that has them.
func TestZip64(t *testing.T) {
	sound, err := os.ReadFile("../../testdata/sound/hand_zip64.pt")
	if err != nil {
		t.Fatal(err)
	}
	wide := "\x01\x00\x18\x00\x18\x00\x00\x00\x00\x00\x00\x00\x18" // the extra field of data/0
	for name, c := range map[string]struct {
		mark   string
		offset int
		with   string
		want   string
	}{
		"sound":             {EndMark, 0, EndMark, ""},
		"records disagree":  {EndMark, 12, "\x01\x02\x03\x04", "end records disagree"},
		"record elsewhere":  {LocatorMark, 8, "\xff\xff", "outside the file"},
		"record mark wrong": {End64Mark, 0, "XX", "record is corrupt"},
		"record of disk 1":  {End64Mark, 16, "\x01", "several parts"},
		"directory on 1":    {End64Mark, 20, "\x01", "several parts"},
		"fewer on this":     {End64Mark, 24, "\x01", "several parts"},
		"locator of disk 1": {LocatorMark, 4, "\x01", "several parts"},
		"two disks":         {LocatorMark, 16, "\x02", "several parts"},
		"no disks":          {LocatorMark, 16, "\x00", "several parts"},
		"record longer":     {End64Mark, 4, "\x2d", "record is corrupt"},
		"size overflows":    {wide, 4, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "size overflows"},
		"extra cut":         {wide, 2, "\x99", "extra field is truncated"},
		"extra too short":   {wide, 2, "\x07", "64-bit size is missing"},
	} {
		data := slices.Clone(sound)
		copy(data[bytes.LastIndex(data, []byte(c.mark))+c.offset:], c.with)
		_, err := openBytes(data)
		t.Run(name, func(t *testing.T) { checkError(t, err, c.want) })
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var bad *tensor.FormatError
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want a format error with %q", err, want)
	}
}

// TestLyingDeflate has members that inflate to more or less than the directory says, which shows
// only when they are read.
func TestLyingDeflate(t *testing.T) {
	for size, want := range map[string]string{
		"\x18": "",
		"\x19": "inflates to 1 bytes less than its size",
		"\x17": "inflates to more than its 23 bytes",
	} {
		parts := goodParts()
		parts[1].deflate = true
		data := zipped(t, parts...)
		at := bytes.LastIndex(data, []byte("a/data/0")) - CentralSize
		copy(data[at+24:], size)
		a, err := readArchive(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.find("data/0").readAll(100, false)
		checkError(t, err, want)
		_, err = io.Copy(io.Discard, a.find("data/0").open())
		checkError(t, err, want)
	}
}

// countingReader counts how often the range of a large member is read.
type countingReader struct {
	io.ReaderAt
	mu    sync.Mutex
	read  map[int64]int // times that a byte offset was within a read
	watch int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	if off <= c.watch && c.watch < off+int64(len(p)) {
		c.read[c.watch]++
	}
	c.mu.Unlock()
	return c.ReaderAt.ReadAt(p, off)
}

// TestLargeMembers has storages of more than are checked when a file is opened.
func TestLargeMembers(t *testing.T) {
	const rows, cols = 600, 500
	content := strings.Repeat("\x01\x02\x03\x04", rows*cols)
	pickle := strings.Replace(pickled(rows, cols, "w", "w.T"), "X\x01\x00\x00\x001X", "X\x01\x00\x00\x000X", 1)
	data := zipped(t, part{"a/data.pkl", pickle, false}, part{"a/data/0", content, false}, part{"a/version", "3", false})
	middle := int64(bytes.Index(data, []byte(content)) + len(content)/2)
	r := &countingReader{ReaderAt: bytes.NewReader(data), read: map[int64]int{}, watch: middle}
	c, err := openReader(r, int64(len(data)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.read[middle] != 0 {
		t.Error("the storage was read when the file was opened")
	}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			if err := c.Tensors()[i%2].Data.(tensor.Checker).Check(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if r.read[middle] != 1 {
		t.Errorf("two tensors' shared storage was read %d times by 8 checks", r.read[middle])
	}
	checkSummed(t, c.Tensor("w").Data, data)
	data[middle] ^= 1
	if c, err = openBytes(data); err != nil {
		t.Fatal(err)
	}
	checkError(t, c.Tensor("w.T").Data.(tensor.Checker).Check(), "data/0: checksum")
}

// checkSummed holds what an engine that reads the bytes by itself is told.
func checkSummed(t *testing.T, d tensor.Data, file []byte) {
	t.Helper()
	offset, length, sum := d.(tensor.Checksummed).Checksum()
	if got := crc32.ChecksumIEEE(file[offset:][:length]); got != sum {
		t.Errorf("checksum of the %d bytes at %d is %08x, want %08x", length, offset, got, sum)
	}
}

// TestLargeDeflated has a deflated storage that is too large to hold: it can be read from end to
// end, but not in another order.
func TestLargeDeflated(t *testing.T) {
	const rows, cols = 4 << 10, 5 << 10
	content := strings.Repeat("\x00", 4*rows*cols)
	data := zipped(t, part{"a/data.pkl", pickled(rows, cols, "w", "v.T"), true}, part{"a/data/0", content, true},
		part{"a/data/1", content, true}, part{"a/version", "3", true})
	c, err := openBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Tensor("w").Data.Stream(100)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); n != 4*rows*cols-100 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	_, err = c.Tensor("v.T").Data.Stream(0)
	checkError(t, err, "data/1: zip member of 83886080 bytes; at most 67108864")
	if _, ok, _ := tensor.Layout(c.Tensor("w")); ok {
		t.Error("a deflated tensor says that it lies in a file")
	}
}

// planned is a file that is slow to reach. It records what is planned.
type planned struct {
	io.ReaderAt
	extents []tensor.Extent
}

func (p *planned) Plan(extents []tensor.Extent) { p.extents = append(p.extents, extents...) }

// data.pkl is fetched together with the headers of the members, which are the extents of the first plan, and no two overlap.
func TestPickleIsPlannedWithHeaders(t *testing.T) {
	pickle := pickled(2, 2, "w")
	content := zipped(t, part{name: "archive/data.pkl", content: pickle}, part{name: "archive/version", content: "3"}, part{name: "archive/data/0", content: strings.Repeat("x", 16)})
	file := &planned{ReaderAt: bytes.NewReader(content)}
	a, err := readArchive(file, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	m := a.find("data.pkl")
	if first := file.extents[0]; len(file.extents) != 3 || first.Offset > m.offset || first.Offset+first.Length < m.offset+m.stored {
		t.Errorf("data.pkl is %d bytes at %d, and planned is %v", m.stored, m.offset, file.extents)
	}
	for i, e := range file.extents[1:] {
		if before := file.extents[i]; before.Offset+before.Length > e.Offset {
			t.Errorf("%v overlaps %v", before, e)
		}
	}
}
