package savefile

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// archive/zip reads as many zip files as possible. The zip file of a checkpoint comes from one of a few
// programs, and two readers must not see two different models in it. So this reader requires that the
// directory ends the file and holds each name once, that all members are before the directory and none
// overlaps another, and that the header of each member agrees with the directory.

// archive is the directory of a zip file. Names are relative to the folder that holds all members.
type archive struct {
	*container
	root    string // the folder
	members []member
	byName  []int32 // indexes of members, sorted by name
}

// container is the file that members are in.
type container struct {
	file        io.ReaderAt
	path        string // for errors, "" if it is not known
	noChecksums bool   // written without checksums: all are 0
	bigEndian   bool
	checks      checks
}

// member is one file of a zip file, or one storage of a legacy file. There can be 200,000, so that it is kept small.
type member struct {
	*container
	name     string // in the folder; of a storage in a legacy file its key
	offset   int64  // of the stored bytes; before they are located, of the local header
	stored   int64  // bytes in the file
	size     int64  // bytes once inflated
	crc      uint32
	checked  uint32 // a checkState, read and written atomically
	class    storageClass
	deflated bool
	isUsed   bool // it is a storage to which the pickle refers
}

// Sizes and signatures of the parts of a zip file (APPNOTE.TXT of PKWARE).
const (
	EndSize, EndMark         = 22, "PK\x05\x06"
	LocatorSize, LocatorMark = 20, "PK\x06\x07"
	End64Size, End64Mark     = 56, "PK\x06\x06"
	CentralSize, CentralMark = 46, "PK\x01\x02"
	LocalSize, LocalMark     = 30, "PK\x03\x04"

	maxDirectory = 32 << 20 // enough for tensor.MaxTensors members in a folder with a name of 80 bytes
	maxMembers   = 1 << 18
	mostAhead    = 1 << 20 // of data.pkl, if it is fetched together with the headers
)

// directoryRange is the range of the directory and the number of its entries.
type directoryRange struct {
	entries      uint64
	offset, size int64
}

// readArchive reads the directory of a zip file of size bytes. Its memory is proportional to the directory.
func readArchive(file io.ReaderAt, size int64) (*archive, error) {
	place, err := findDirectory(file, size)
	if err != nil {
		return nil, err
	}
	if err := checkDirectory(place.size); err != nil {
		return nil, err
	}
	a := &archive{container: &container{file: file}}
	if err := a.readDirectory(place); err != nil {
		return nil, err
	}
	if err := a.locate(place.offset); err != nil {
		return nil, err
	}
	return a, a.sortNames()
}

// readDirectory reads the entries of the directory.
func (a *archive) readDirectory(place directoryRange) error {
	window := int64(1 << 20) // bytes of the directory in memory
	if a.isSlow() {
		window = place.size
	}
	in := bufio.NewReaderSize(io.NewSectionReader(a.file, place.offset, place.size), int(min(window, place.size)))
	a.members = make([]member, 0, min(place.entries, uint64(place.size/CentralSize), maxMembers))
	a.noChecksums = true
	names := nameList{left: place.size}
	for at := int64(0); at < place.size; {
		m, n, err := parseCentral(in)
		if err == nil {
			m.name, err = names.add(m.name)
		}
		if err == nil && len(a.members) == maxMembers {
			err = tensor.Bad("zip file has more than %d members", maxMembers).Because(tensor.TooLarge)
		}
		if err != nil {
			return annotateAt(err, "zip directory", place.offset+at)
		}
		m.container = a.container
		a.members = append(a.members, m)
		a.noChecksums = a.noChecksums && m.crc == 0
		at += int64(n)
	}
	if uint64(len(a.members)) != place.entries {
		return tensor.Bad("zip directory has %d members, but %d in its end record", len(a.members), place.entries)
	}
	a.root = names.root
	return names.problem()
}

// checkDirectory refuses a directory of more than maxDirectory bytes.
func checkDirectory(size int64) error {
	if size > maxDirectory {
		return tensor.Bad("zip directory of %d bytes exceeds %d MiB", size, maxDirectory>>20)
	}
	return nil
}

// findDirectory reads the end record and, if there is one, the zip64 end record before it.
func findDirectory(file io.ReaderAt, size int64) (directoryRange, error) {
	var place directoryRange
	tail, at, err := readEnd(file, size)
	if err != nil {
		return place, err
	}
	base := size - int64(len(tail))
	end := tail[at:]
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	entries, length, offset := uint64(u16(end[10:])), uint64(u32(end[12:])), uint64(u32(end[16:]))
	if u16(end[4:]) != 0 || u16(end[6:]) != 0 || u16(end[8:]) != u16(end[10:]) {
		return place, tensor.Bad("zip file is one of several parts").At(base + int64(at))
	}
	limit := base + int64(at) // end of the directory
	if at >= LocatorSize && string(tail[at-LocatorSize:][:4]) == LocatorMark {
		record, where, err := readEnd64(file, tail[at-LocatorSize:at], limit-LocatorSize)
		if err != nil {
			return place, err
		}
		u64 := binary.LittleEndian.Uint64
		if u32(tail[at-LocatorSize+4:]) != 0 || u32(tail[at-LocatorSize+16:]) != 1 || u32(record[16:]) != 0 || u32(record[20:]) != 0 || u64(record[24:]) != u64(record[32:]) {
			return place, tensor.Bad("zip file is one of several parts").At(where)
		}
		for _, field := range []struct {
			from      *uint64
			saturated uint64
			wide      uint64
		}{{&entries, math.MaxUint16, u64(record[32:])}, {&length, math.MaxUint32, u64(record[40:])}, {&offset, math.MaxUint32, u64(record[48:])}} {
			if *field.from != field.saturated && *field.from != field.wide {
				return place, tensor.Bad("zip file's two end records disagree").At(where)
			}
			*field.from = field.wide
		}
		limit = where
	}
	if offset > uint64(limit) || length != uint64(limit)-offset {
		return place, tensor.Bad("zip directory of %d bytes at offset %d does not end where the end record begins, at %d", length, offset, limit).
			Advise("the file is truncated, or bytes were inserted")
	}
	return directoryRange{entries, int64(offset), int64(length)}, nil
}

// readEnd reads the last bytes of a file and returns the offset of the end record in them. torch writes no
// comment after that record, so that few bytes are nearly always enough.
func readEnd(file io.ReaderAt, size int64) (tail []byte, at int, err error) {
	for _, n := range []int64{EndSize + LocatorSize, EndSize + math.MaxUint16 + LocatorSize} {
		tail = make([]byte, min(size, n))
		if err = tensor.ReadFullAt(file, tail, size-int64(len(tail))); err != nil {
			return nil, 0, err
		}
		if at, err = findEnd(tail); err == nil {
			break
		}
	}
	return tail, at, err
}

// findEnd returns the offset of the end record in the last bytes of a file. Its comment must end with the
// file.
func findEnd(tail []byte) (int, error) {
	found := -1
	for at := len(tail) - EndSize; at >= 0; at-- {
		if string(tail[at:at+4]) != EndMark {
			continue
		}
		if comment := int(binary.LittleEndian.Uint16(tail[at+20:])); at+EndSize+comment == len(tail) {
			return at, nil
		}
		if found < 0 {
			found = at
		}
	}
	if found >= 0 {
		return 0, tensor.Bad("%d bytes that are not part of the zip file follow its end", len(tail)-found-EndSize)
	}
	return 0, tensor.Bad("zip file has no directory at its end").Advise("the file is truncated: download or copy it again")
}

// readEnd64 reads the zip64 end record that a locator refers to. It ends where the locator begins.
func readEnd64(file io.ReaderAt, locator []byte, limit int64) (record []byte, at int64, err error) {
	where := binary.LittleEndian.Uint64(locator[8:])
	if limit < End64Size || where > uint64(limit-End64Size) {
		return nil, 0, tensor.Bad("zip64 end record at offset %d is outside the file", where).At(limit)
	}
	record = make([]byte, End64Size)
	if err := tensor.ReadFullAt(file, record, int64(where)); err != nil {
		return nil, 0, err
	}
	if string(record[:4]) != End64Mark || binary.LittleEndian.Uint64(record[4:]) != uint64(limit)-where-12 {
		return nil, 0, tensor.Bad("zip64 end record is corrupt").At(int64(where))
	}
	return record, int64(where), nil
}

// parseCentral reads one entry of the directory and returns its length. The name of the member is the whole one.
func parseCentral(in *bufio.Reader) (m member, n int, err error) {
	data, err := in.Peek(CentralSize)
	if err != nil && err != io.EOF {
		return m, 0, err
	}
	if len(data) < CentralSize || string(data[:4]) != CentralMark {
		return m, 0, tensor.Bad("there is no entry")
	}
	u16 := binary.LittleEndian.Uint16
	nameEnd := CentralSize + int(u16(data[28:]))
	extraEnd := nameEnd + int(u16(data[30:]))
	n = extraEnd + int(u16(data[32:]))
	if data, err = in.Peek(n); err == io.EOF || err == bufio.ErrBufferFull {
		return m, 0, tensor.Bad("entry is truncated")
	}
	if err != nil {
		return m, 0, err
	}
	m, err = parseEntry(data, nameEnd, extraEnd)
	in.Discard(n)
	return m, n, err
}

// parseEntry parses an entry whose name and extra field end there.
func parseEntry(data []byte, nameEnd, extraEnd int) (member, error) {
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	m := member{name: string(data[CentralSize:nameEnd]), crc: u32(data[16:])}
	flags := u16(data[8:])
	if disk := u16(data[34:]); disk != 0 {
		return m, tensor.Bad("member %q is in part %d of several zip files", m.name, disk)
	}
	const folder = 0x10 // attribute of MS-DOS, which libraries take for a folder whatever its name is
	if data[38]&folder != 0 && !strings.HasSuffix(m.name, "/") {
		return m, tensor.Bad("member %q is marked as a folder", m.name)
	}
	const encrypted = 1<<0 | 1<<6 | 1<<13
	if flags&encrypted != 0 {
		return m, tensor.Bad("member %q is encrypted", m.name)
	}
	const patch = 1 << 5
	if flags&patch != 0 {
		return m, tensor.Bad("member %q is a patch of another file", m.name)
	}
	switch method := u16(data[10:]); method {
	case 0:
	case 8:
		m.deflated = true
	default:
		return m, tensor.Bad("member %q is compressed with method %d; only deflate (8) is supported", m.name, method)
	}
	sizes := []uint64{uint64(u32(data[24:])), uint64(u32(data[20:])), uint64(u32(data[42:]))}
	if err := widen(sizes, data[nameEnd:extraEnd]); err != nil {
		return m, tensor.Bad("member %q: %w", m.name, err)
	}
	m.size, m.stored, m.offset = int64(sizes[0]), int64(sizes[1]), int64(sizes[2])
	if !m.deflated && m.size != m.stored {
		return m, tensor.Bad("member %q is uncompressed, but its sizes are %d and %d", m.name, m.stored, m.size)
	}
	const mostInflated = 1032 // largest factor by which deflated data grow
	if m.deflated && m.size/mostInflated > m.stored {
		return m, tensor.Bad("member %q cannot inflate from %d to %d bytes", m.name, m.stored, m.size)
	}
	return m, nil
}

// widen replaces the sizes that are 0xffffffff by 64-bit ones from the extra fields.
func widen(sizes []uint64, extra []byte) error {
	const zip64 = 1
	var wide []byte
	for rest := extra; len(rest) >= 4; {
		n := int(binary.LittleEndian.Uint16(rest[2:]))
		if n > len(rest)-4 {
			return tensor.Bad("extra field is truncated")
		}
		if binary.LittleEndian.Uint16(rest) == zip64 {
			wide = rest[4 : 4+n]
			break
		}
		rest = rest[4+n:]
	}
	for i, size := range sizes {
		if size != math.MaxUint32 {
			continue
		}
		if len(wide) < 8 {
			return tensor.Bad("64-bit size is missing")
		}
		sizes[i] = binary.LittleEndian.Uint64(wide)
		if sizes[i] > math.MaxInt64 {
			return tensor.Bad("size overflows")
		}
		wide = wide[8:]
	}
	return nil
}

// locate finds the offset of the bytes of each member. It refuses members that overlap each other or the
// directory.
func (a *archive) locate(directory int64) error {
	order := make([]int32, len(a.members)) // by offset
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(x, y int32) int { return cmp.Compare(a.members[x].offset, a.members[y].offset) })
	limit := func(i int) int64 { // where the next member or the directory begins
		if i+1 < len(order) {
			return a.members[order[i+1]].offset
		}
		return directory
	}
	if a.isSlow() {
		headers := make([]tensor.Extent, len(order))
		for i, k := range order {
			m := &a.members[k]
			headers[i] = tensor.Extent{Store: a.file, Offset: m.offset, Length: a.headerSize(m)}
			if whole := limit(i) - m.offset; m.name == "data.pkl" && whole <= mostAhead {
				headers[i].Length = whole // it is read next
			}
		}
		tensor.PlanExtents(headers)
	}
	headers := headerReader{file: a.file, end: directory, slow: a.isSlow()}
	for i, k := range order {
		m := &a.members[k]
		header := m.offset
		if err := a.readLocal(m, &headers, limit(i)); err != nil {
			return annotateAt(err, a.root+"/"+m.name, header)
		}
	}
	return nil
}

// headerSize returns the size of a member's local header without its extra field.
func (a *archive) headerSize(m *member) int64 {
	return int64(LocalSize + len(a.root) + 1 + len(m.name))
}

// headerReader reads local headers in their order. Those of small members it reads together.
type headerReader struct {
	file   io.ReaderAt
	end    int64 // of all members
	slow   bool
	buffer []byte
	start  int64 // of buffer in the file
}

// read returns the n bytes at offset. The next header is at next.
func (h *headerReader) read(offset, n, next int64) ([]byte, error) {
	const near, many = 4 << 10, 64 << 10
	if at := offset - h.start; at >= 0 && at+n <= int64(len(h.buffer)) {
		return h.buffer[at : at+n], nil
	}
	length := n
	if !h.slow && next-offset <= near {
		length = max(n, min(many, h.end-offset))
	}
	if int64(cap(h.buffer)) < length {
		h.buffer = make([]byte, length)
	}
	got, err := h.file.ReadAt(h.buffer[:length], offset)
	h.buffer, h.start = h.buffer[:got], offset
	if int64(got) >= n {
		return h.buffer[:n], nil
	}
	if err == nil || err == io.EOF {
		err = tensor.Bad("file ends %d bytes short", n-int64(got)).At(offset + int64(got))
	}
	return nil, err
}

// readLocal checks the header before the bytes of the member, all of which must end before limit, and sets the offset of
// the bytes. Sizes and checksum come from the directory: in the header torch writes 0, and the values after the bytes.
func (a *archive) readLocal(m *member, headers *headerReader, limit int64) error {
	room, length := limit-m.offset, a.headerSize(m)
	if room < length {
		return tensor.Bad("zip member overlaps another or is outside the file")
	}
	head, err := headers.read(m.offset, length, limit)
	if err != nil {
		return err
	}
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	name, nameOK := bytes.CutPrefix(head[LocalSize:], []byte(a.root))
	if string(head[:4]) != LocalMark || int64(u16(head[26:])) != length-LocalSize || !nameOK || name[0] != '/' || string(name[1:]) != m.name {
		return tensor.Bad("zip directory and the header of the member have different names")
	}
	const sizesFollow = 1 << 3
	sum, stored := u32(head[14:]), u32(head[18:])
	same := sum == m.crc && (int64(stored) == m.stored || stored == math.MaxUint32)
	if (u16(head[8:]) == 8) != m.deflated || u16(head[6:])&sizesFollow == 0 && !same {
		return tensor.Bad("zip directory and the header of the member disagree")
	}
	m.offset += length + int64(u16(head[28:]))
	if m.offset > limit || m.stored > limit-m.offset {
		return tensor.Bad("zip member of %d bytes overlaps another or is outside the file", m.stored)
	}
	return nil
}

// sortNames removes the entries of folders, as other zip programs write them, and sorts the names of the others.
func (a *archive) sortNames() error {
	a.members = slices.DeleteFunc(a.members, func(m member) bool { return m.name == "" || strings.HasSuffix(m.name, "/") })
	a.byName = make([]int32, len(a.members))
	for i := range a.byName {
		a.byName[i] = int32(i)
	}
	slices.SortFunc(a.byName, func(x, y int32) int { return strings.Compare(a.members[x].name, a.members[y].name) })
	for k := 1; k < len(a.byName); k++ {
		if name := a.members[a.byName[k]].name; name == a.members[a.byName[k-1]].name {
			return tensor.Bad("zip file has two members of one name").Within(name)
		}
	}
	return nil
}

// find returns the member of a name in the folder, or nil.
func (a *archive) find(name string) *member {
	k, found := slices.BinarySearchFunc(a.byName, name, func(i int32, name string) int { return strings.Compare(a.members[i].name, name) })
	if !found {
		return nil
	}
	return &a.members[a.byName[k]]
}
