package savefile

import (
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
	file        io.ReaderAt
	root        string // the folder
	members     []*member
	byName      map[string]*member
	noChecksums bool // written without checksums: all are 0
}

// member is one file of a zip file.
type member struct {
	name     string
	file     io.ReaderAt
	deflated bool
	crc      uint32
	flags    uint16
	stored   int64 // bytes in the zip file
	size     int64 // bytes once inflated
	header   int64 // offset of the local header
	offset   int64 // of the stored bytes
	sum      checksum
	store    *tensor.CheckedStore // nil before it is needed
}

// Sizes and signatures of the parts of a zip file (APPNOTE.TXT of PKWARE).
const (
	EndSize, EndMark         = 22, "PK\x05\x06"
	LocatorSize, LocatorMark = 20, "PK\x06\x07"
	End64Size, End64Mark     = 56, "PK\x06\x06"
	CentralSize, CentralMark = 46, "PK\x01\x02"
	LocalSize, LocalMark     = 30, "PK\x03\x04"

	maxDirectory = 4 << 20 // about 40,000 members with names as torch gives them
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
	data := make([]byte, place.size)
	if err := tensor.ReadFullAt(file, data, place.offset); err != nil {
		return nil, err
	}
	a := &archive{file: file, byName: map[string]*member{}, noChecksums: true}
	text := string(data) // names are slices of it
	for at := 0; at < len(data); {
		m, n, err := parseCentral(data[at:], text[at:])
		if err != nil {
			return nil, annotateAt(err, "zip directory", place.offset+int64(at))
		}
		m.file = file
		a.members = append(a.members, m)
		a.noChecksums = a.noChecksums && m.crc == 0
		at += n
	}
	if uint64(len(a.members)) != place.entries {
		return nil, tensor.Bad("zip directory has %d members, but %d in its end record", len(a.members), place.entries)
	}
	if err := a.locate(place.offset); err != nil {
		return nil, err
	}
	return a, a.nameMembers()
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

// parseCentral reads one entry of the directory and returns its length.
func parseCentral(data []byte, text string) (*member, int, error) {
	if len(data) < CentralSize || text[:4] != CentralMark {
		return nil, 0, tensor.Bad("there is no entry")
	}
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	nameEnd := CentralSize + int(u16(data[28:]))
	extraEnd := nameEnd + int(u16(data[30:]))
	n := extraEnd + int(u16(data[32:]))
	if n > len(data) {
		return nil, 0, tensor.Bad("entry is truncated")
	}
	m := &member{name: text[CentralSize:nameEnd], flags: u16(data[8:]), crc: u32(data[16:])}
	if disk := u16(data[34:]); disk != 0 {
		return nil, 0, tensor.Bad("member %q is in part %d of several zip files", m.name, disk)
	}
	const folder = 0x10 // attribute of MS-DOS, which libraries take for a folder whatever its name is
	if data[38]&folder != 0 && !strings.HasSuffix(m.name, "/") {
		return nil, 0, tensor.Bad("member %q is marked as a folder", m.name)
	}
	const encrypted = 1<<0 | 1<<6 | 1<<13
	if m.flags&encrypted != 0 {
		return nil, 0, tensor.Bad("member %q is encrypted", m.name)
	}
	const patch = 1 << 5
	if m.flags&patch != 0 {
		return nil, 0, tensor.Bad("member %q is a patch of another file", m.name)
	}
	switch method := u16(data[10:]); method {
	case 0:
	case 8:
		m.deflated = true
	default:
		return nil, 0, tensor.Bad("member %q is compressed with method %d; only deflate (8) is supported", m.name, method)
	}
	sizes := []uint64{uint64(u32(data[24:])), uint64(u32(data[20:])), uint64(u32(data[42:]))}
	if err := widen(sizes, data[nameEnd:extraEnd]); err != nil {
		return nil, 0, tensor.Bad("member %q: %w", m.name, err)
	}
	m.size, m.stored, m.header = int64(sizes[0]), int64(sizes[1]), int64(sizes[2])
	if !m.deflated && m.size != m.stored {
		return nil, 0, tensor.Bad("member %q is uncompressed, but its sizes are %d and %d", m.name, m.stored, m.size)
	}
	const mostInflated = 1032 // largest factor by which deflated data grow
	if m.deflated && m.size/mostInflated > m.stored {
		return nil, 0, tensor.Bad("member %q cannot inflate from %d to %d bytes", m.name, m.stored, m.size)
	}
	return m, n, nil
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
	byOffset := slices.Clone(a.members)
	slices.SortFunc(byOffset, func(x, y *member) int {
		if x.header < y.header {
			return -1
		}
		return 1
	})
	var headers []tensor.Extent
	limits := make([]int64, len(byOffset)) // where the next member or the directory begins
	for i, m := range byOffset {
		limits[i] = directory
		if i+1 < len(byOffset) {
			limits[i] = byOffset[i+1].header
		}
		e := tensor.Extent{Store: m.file, Offset: m.header, Length: int64(LocalSize + len(m.name))}
		if whole := limits[i] - m.header; strings.HasSuffix(m.name, "/data.pkl") && whole <= mostAhead {
			e.Length = whole // it is read next
		}
		headers = append(headers, e)
	}
	tensor.PlanExtents(headers)
	for i, m := range byOffset {
		if err := m.readLocal(limits[i]); err != nil {
			return annotateAt(err, m.name, m.header)
		}
	}
	return nil
}

// readLocal checks the header before the bytes of the member, all of which must end before limit. Sizes
// and checksum come from the directory: in the header torch writes 0, and the values after the bytes.
func (m *member) readLocal(limit int64) error {
	room := limit - m.header
	head := make([]byte, LocalSize+len(m.name))
	if room < int64(len(head)) {
		return tensor.Bad("zip member overlaps another or is outside the file")
	}
	if err := tensor.ReadFullAt(m.file, head, m.header); err != nil {
		return err
	}
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	if string(head[:4]) != LocalMark || int(u16(head[26:])) != len(m.name) || string(head[LocalSize:]) != m.name {
		return tensor.Bad("zip directory and the header of the member have different names")
	}
	const sizesFollow = 1 << 3
	sum, stored := u32(head[14:]), u32(head[18:])
	same := sum == m.crc && (int64(stored) == m.stored || stored == math.MaxUint32)
	if (u16(head[8:]) == 8) != m.deflated || u16(head[6:])&sizesFollow == 0 && !same {
		return tensor.Bad("zip directory and the header of the member disagree")
	}
	m.offset = m.header + int64(len(head)) + int64(u16(head[28:]))
	if m.offset > limit || m.stored > limit-m.offset {
		return tensor.Bad("zip member of %d bytes overlaps another or is outside the file", m.stored)
	}
	return nil
}

// nameMembers finds the folder that holds data.pkl and removes it from all names. The names are only
// looked up, never used as file names.
func (a *archive) nameMembers() error {
	for _, m := range a.members {
		if err := checkMemberName(m.name); err != nil {
			return err
		}
		if folder, ok := strings.CutSuffix(m.name, "/data.pkl"); ok && !strings.Contains(folder, "/") {
			if a.root != "" && a.root != folder {
				return tensor.Bad("zip file holds two checkpoints, %q and %q", a.root, folder)
			}
			a.root = folder
		}
	}
	if a.root == "" {
		return tensor.Bad("zip file holds no data.pkl in a folder, so torch.save did not write it")
	}
	kept := a.members[:0]
	for _, m := range a.members {
		name, ok := strings.CutPrefix(m.name, a.root+"/")
		if !ok {
			return tensor.Bad("zip member %q is outside the folder %q", m.name, a.root)
		}
		if m.name = name; name == "" || strings.HasSuffix(name, "/") {
			continue // a folder, as other zip programs write it
		}
		if a.byName[name] != nil {
			return tensor.Bad("zip file has two members of one name").Within(name)
		}
		a.byName[name] = m
		kept = append(kept, m)
	}
	a.members = kept
	return nil
}

// checkMemberName refuses names that would lead out of the folder as file names.
func checkMemberName(name string) error {
	if strings.ContainsAny(name, "\\\x00") || strings.HasPrefix(name, "/") {
		return tensor.Bad("zip member has the unsafe name %q", name)
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return tensor.Bad("zip member has the unsafe name %q", name)
		}
	}
	return nil
}
