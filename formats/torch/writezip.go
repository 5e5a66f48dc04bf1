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
	name    string // with the folder
	plain   string // without
	content string // "" for the elements of a tensor and the serialization id
	crc     uint32 // of content; that of other records is known at the end
	header  int64  // offset of the local header
	data    int64  // offset of the bytes
	size    int64
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

// add appends a record, at the offset that torch gives it.
func (l *Layout) add(folder, name, content string, size int64) {
	r := record{name: folder + "/" + name, plain: name, content: content, size: size, crc: crc32.ChecksumIEEE([]byte(content))}
	if n := len(l.records); n > 0 {
		r.header = l.records[n-1].end()
	}
	r.data = r.header + savefile.LocalSize + int64(len(r.name)) + int64(len(r.wideLocal())) + 4
	r.data += -r.data & (recordAlign - 1)
	l.records = append(l.records, r)
}

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

// localHeader returns the header before the record's bytes, including the padding.
func (r *record) localHeader() []byte {
	b := append(make([]byte, 0, r.data-r.header), savefile.LocalMark...)
	b = binary.LittleEndian.AppendUint16(b, 0) // version
	b = binary.LittleEndian.AppendUint16(b, r.flags())
	b = append(b, make([]byte, 2+4+4+4+4)...) // method, time, checksum, sizes
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.name)))
	wide := r.wideLocal()
	extra := int(r.data-r.header) - savefile.LocalSize - len(r.name)
	b = binary.LittleEndian.AppendUint16(b, uint16(extra))
	b = append(append(b, r.name...), wide...)
	padding := extra - len(wide) - 4
	b = binary.LittleEndian.AppendUint16(b, paddingTag)
	b = binary.LittleEndian.AppendUint16(b, uint16(padding))
	for range padding {
		b = append(b, 'Z')
	}
	return b
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
func (r *record) centralEntry(b []byte) []byte {
	wide := wideField(r.size, r.size, r.header)
	b = append(b, savefile.CentralMark...)
	b = append(b, 0, 0, 0, 0) // versions
	b = binary.LittleEndian.AppendUint16(b, r.flags())
	b = append(b, make([]byte, 2+4)...) // method, time
	b = binary.LittleEndian.AppendUint32(b, r.crc)
	b = binary.LittleEndian.AppendUint32(b, uint32(min(r.size, wideAt)))
	b = binary.LittleEndian.AppendUint32(b, uint32(min(r.size, wideAt)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.name)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(wide)))
	b = append(b, make([]byte, 2+2+2+4)...) // comment, disk, attributes
	b = binary.LittleEndian.AppendUint32(b, uint32(min(r.header, wideAt)))
	return append(append(b, r.name...), wide...)
}

// directorySize returns the size of the directory and the end records in bytes.
func (l *Layout) directorySize() int64 {
	n := int64(savefile.End64Size + savefile.LocatorSize + savefile.EndSize)
	for i := range l.records {
		r := &l.records[i]
		n += savefile.CentralSize + int64(len(r.name)) + int64(len(wideField(r.size, r.size, r.header)))
	}
	return n
}

// directory returns the end of a file: the directory of its records, which begins at offset at, and the
// end records.
func directory(records []record, at int64) []byte {
	var b []byte
	for i := range records {
		b = records[i].centralEntry(b)
	}
	size, entries := uint64(len(b)), uint64(len(records))
	end64 := at + int64(len(b))
	b = append(b, savefile.End64Mark...)
	b = binary.LittleEndian.AppendUint64(b, savefile.End64Size-12)
	b = binary.LittleEndian.AppendUint16(b, madeBy64)
	b = binary.LittleEndian.AppendUint16(b, directoryVersion)
	b = append(b, make([]byte, 4+4)...) // disks
	for _, v := range []uint64{entries, entries, size, uint64(at)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = append(b, savefile.LocatorMark...)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(end64))
	b = append(b, 1, 0, 0, 0)
	b = append(b, savefile.EndMark...)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(min(entries, math.MaxUint16)))
	b = binary.LittleEndian.AppendUint16(b, uint16(min(entries, math.MaxUint16)))
	b = binary.LittleEndian.AppendUint32(b, uint32(min(size, wideAt)))
	b = binary.LittleEndian.AppendUint32(b, uint32(min(at, wideAt)))
	return append(b, 0, 0) // comment
}
