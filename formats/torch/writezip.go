package torch

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// record is a member of the zip file. Members are uncompressed, and since torch streams its files, each is
// followed by a descriptor with its checksum and size.
type record struct {
	plain    string // name without the folder
	content  string // "" for the pickle, the elements of a tensor and the serialization id
	isTensor bool
	crc      uint32 // that of tensors and of the serialization id is known at the end
	header   int64  // offset of the local header
	data     int64  // offset of the bytes
	size     int64
}

func recordOf(name, content string) record {
	return record{plain: name, content: content, size: int64(len(content)), crc: crc32.ChecksumIEEE([]byte(content))}
}

const (
	recordAlign                = 64
	wideAt                     = math.MaxUint32 // sizes and offsets from here on need 64 bits
	flagUTF8, flagSumFollows   = 1 << 11, 1 << 3
	zip64Tag                   = 1
	paddingTag                 = 'F' | 'B'<<8
	descriptorMark             = "PK\x07\x08"
	directoryVersion, madeBy64 = 45, 3<<8 | 30
)

// place gives a record the place that torch gives it if the record before it ends at that offset, and returns its end.
func (l *Layout) place(r *record, at int64) int64 {
	r.header = at
	r.data = r.header + l.headerSize(r) + int64(len(r.wideLocal())) + 4
	r.data += -r.data & (recordAlign - 1)
	return r.end()
}

// headerSize returns the size of the record's local header without its extra fields.
func (l *Layout) headerSize(r *record) int64 { return savefile.LocalSize + l.nameSize(r) }

// nameSize returns the length of the record's name.
func (l *Layout) nameSize(r *record) int64 { return int64(len(l.folder) + 1 + len(r.plain)) }

// wide reports whether the offset or the size of the record needs 64 bits.
func (r *record) wide() bool { return r.size >= wideAt || r.header >= wideAt }

// end returns the offset after the descriptor, which records without bytes do not have.
func (r *record) end() int64 { return r.data + r.size + int64(len(r.descriptor())) }

// wideLocal returns the field of 64-bit numbers in the local header.
func (r *record) wideLocal() []byte {
	var stored int64 // torch does not know it yet
	return wideField(r.size, stored, r.header)
}

// wideField returns the extra field with the numbers that need 64 bits, nil if there are none.
func wideField(size, stored, header int64) []byte {
	var field []byte
	if size >= wideAt {
		field = binary.LittleEndian.AppendUint64(field, uint64(size))
		field = binary.LittleEndian.AppendUint64(field, uint64(stored))
	}
	if header >= wideAt {
		field = binary.LittleEndian.AppendUint64(field, uint64(header))
	}
	if field == nil {
		return nil
	}
	tag := binary.LittleEndian.AppendUint16(nil, zip64Tag)
	return append(binary.LittleEndian.AppendUint16(tag, uint16(len(field))), field...)
}

func (r *record) flags() uint16 {
	if r.size == 0 {
		return flagUTF8
	}
	return flagUTF8 | flagSumFollows
}

// localHeader appends the header before the record's bytes, including the padding.
func (l *Layout) localHeader(b []byte, r *record) []byte {
	b = append(b, savefile.LocalMark...)
	b = binary.LittleEndian.AppendUint16(b, 0) // version
	b = binary.LittleEndian.AppendUint16(b, r.flags())
	b = append(b, make([]byte, 2+4+4+4+4)...) // method, time, checksum, sizes
	b = binary.LittleEndian.AppendUint16(b, uint16(l.nameSize(r)))
	wide := r.wideLocal()
	extra := int(r.data - r.header - l.headerSize(r))
	b = binary.LittleEndian.AppendUint16(b, uint16(extra))
	b = append(l.appendName(b, r), wide...)
	padding := extra - len(wide) - 4
	b = binary.LittleEndian.AppendUint16(b, paddingTag)
	b = binary.LittleEndian.AppendUint16(b, uint16(padding))
	for range padding {
		b = append(b, 'Z')
	}
	return b
}

func (l *Layout) appendName(b []byte, r *record) []byte {
	return append(append(append(b, l.folder...), '/'), r.plain...)
}

// descriptor returns the descriptor after the record's bytes.
func (r *record) descriptor() []byte {
	if r.size == 0 {
		return nil
	}
	b := binary.LittleEndian.AppendUint32([]byte(descriptorMark), r.crc)
	if r.wide() {
		b = binary.LittleEndian.AppendUint64(b, uint64(r.size))
		return binary.LittleEndian.AppendUint64(b, uint64(r.size))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(r.size))
	return binary.LittleEndian.AppendUint32(b, uint32(r.size))
}

// centralEntry appends the entry of the record in the directory.
func (l *Layout) centralEntry(b []byte, r *record) []byte {
	wide := wideField(r.size, r.size, r.header)
	b = append(b, savefile.CentralMark...)
	b = append(b, 0, 0, 0, 0) // versions
	b = binary.LittleEndian.AppendUint16(b, r.flags())
	b = append(b, make([]byte, 2+4)...) // method, time
	b = binary.LittleEndian.AppendUint32(b, r.crc)
	b = binary.LittleEndian.AppendUint32(b, uint32(min(r.size, wideAt)))
	b = binary.LittleEndian.AppendUint32(b, uint32(min(r.size, wideAt)))
	b = binary.LittleEndian.AppendUint16(b, uint16(l.nameSize(r)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(wide)))
	b = append(b, make([]byte, 2+2+2+4)...) // comment, disk, attributes
	b = binary.LittleEndian.AppendUint32(b, uint32(min(r.header, wideAt)))
	return append(l.appendName(b, r), wide...)
}

// directorySize returns the size of the directory and the end records in bytes.
func (l *Layout) directorySize() int64 {
	n := int64(savefile.End64Size + savefile.LocatorSize + savefile.EndSize)
	for k := range l.count() {
		r := l.record(k)
		n += savefile.CentralSize + l.nameSize(&r) + int64(len(wideField(r.size, r.size, r.header)))
	}
	return n
}

// endRecords appends the records after the entries of the directory, which end at offset at.
func (l *Layout) endRecords(b []byte, at int64) []byte {
	size, entries := uint64(at-l.tail), uint64(l.count())
	b = append(b, savefile.End64Mark...)
	b = binary.LittleEndian.AppendUint64(b, savefile.End64Size-12)
	b = binary.LittleEndian.AppendUint16(b, madeBy64)
	b = binary.LittleEndian.AppendUint16(b, directoryVersion)
	b = append(b, make([]byte, 4+4)...) // disks
	for _, v := range []uint64{entries, entries, size, uint64(l.tail)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = append(b, savefile.LocatorMark...)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = append(b, 1, 0, 0, 0)
	b = append(b, savefile.EndMark...)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(min(entries, math.MaxUint16)))
	b = binary.LittleEndian.AppendUint16(b, uint16(min(entries, math.MaxUint16)))
	b = binary.LittleEndian.AppendUint32(b, uint32(min(size, wideAt)))
	b = binary.LittleEndian.AppendUint32(b, uint32(min(l.tail, wideAt)))
	return append(b, 0, 0) // comment
}
