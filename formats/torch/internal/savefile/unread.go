package savefile

import (
	"bytes"
	"encoding/binary"
	"math"
	"path"
)

// Unread is a member of a zip file whose content Read does not look at, such as a storage.
type Unread struct {
	Start, End int64 // of its content, and of what follows up to the next member
	CRC        int64 // offset of its checksum in the directory, of 4 bytes
}

// UnreadIn returns the members of a file that Read has read whose content it has not looked at, in their order. Of another file that
// differs in their bytes and checksums only, Read returns the same. UnreadIn returns false for a file that torch has not laid out.
func UnreadIn(file []byte) ([]Unread, bool) {
	const sizesFollow = 1 << 3
	place, err := findDirectory(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, false
	}
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	var all []Unread
	end := place.offset + place.size
	for at, header := place.offset, int64(0); at < end; {
		entry := file[at:]
		next := at + CentralSize + int64(u16(entry[28:])) + int64(u16(entry[30:])) + int64(u16(entry[32:]))
		following := place.offset // the next header
		if next < end {
			following = int64(u32(file[next+42:]))
		}
		if int64(u32(entry[42:])) != header || following == math.MaxUint32 || following < header+LocalSize || following > place.offset {
			return nil, false
		}
		local := file[header:]
		start := header + LocalSize + int64(u16(local[26:])) + int64(u16(local[28:]))
		switch name := string(entry[CentralSize:][:u16(entry[28:])]); path.Base(name) {
		case "data.pkl", "version", "byteorder":
		default:
			if u16(local[6:])&sizesFollow == 0 { // the header has the checksum too
				return nil, false
			}
			all = append(all, Unread{start, following, at + 16})
		}
		at, header = next, following
	}
	return all, true
}
