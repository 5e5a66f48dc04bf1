package zarr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// container writes data as a blosc container whose streams are stored as they are, in blocks of
// at most 1024 bytes for elements of 4. Its last block, if shorter, is not split.
func container(data []byte, shuffle bool) []byte {
	const size = 4
	block := 1024
	if n := len(data); n < block && n > 0 {
		block = max(n/size*size, min(n, size))
	}
	flags := byte(0x20)
	if shuffle {
		flags |= bloscShuffle
	}
	var starts, body []byte
	blocks := (len(data) + block - 1) / block
	for at := 0; at < len(data); at += block {
		raw := bytes.Clone(data[at:min(at+block, len(data))])
		streams := 1
		if len(raw) == block && block/size >= 128 {
			streams = size
		}
		if shuffle {
			n := len(raw) / size
			for i := range n * size {
				raw[i%size*n+i/size] = data[at+i]
			}
		}
		starts = binary.LittleEndian.AppendUint32(starts, uint32(bloscHeaderSize+4*blocks+len(body)))
		for i := range streams {
			part := raw[i*len(raw)/streams : (i+1)*len(raw)/streams]
			body = append(binary.LittleEndian.AppendUint32(body, uint32(len(part))), part...)
		}
	}
	header := []byte{2, 1, flags, size}
	for _, n := range []int{len(data), block, bloscHeaderSize + len(starts) + len(body)} {
		header = binary.LittleEndian.AppendUint32(header, uint32(n))
	}
	return append(append(header, starts...), body...)
}

func TestBloscBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, size := range []int{0, 1, 4, 1023, 1024, 2600, 2603, 4096} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		for _, shuffle := range []bool{false, true} {
			packed := container(data, shuffle)
			for _, src := range []io.Reader{io.NewSectionReader(bytes.NewReader(packed), 0, int64(len(packed))), bytes.NewReader(packed)} {
				if got, err := io.ReadAll(newBlosc(src, int64(size))); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes: %d, %v", size, len(got), err)
				}
			}
		}
	}
}

func TestBrokenBlosc(t *testing.T) {
	sound := container(make([]byte, 2600), true)
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(sound)
		copy(c[at:], b)
		return c
	}
	for name, packed := range map[string][]byte{
		"nothing": nil, "cut": sound[:len(sound)-1], "trailing": append(bytes.Clone(sound), 0), "version 1": change(0, 1), "reserved flag": change(2, 0x28),
		"unknown codec": change(2, 0xa1, 4, 0, 0, 0, 0, 0, 0, 0, 0), "elements of nothing": change(3, 0), "more data": change(4, 0xff, 0xff, 0xff, 0x7f), "no blocks": change(8, 0, 0, 0, 0),
		"huge blocks": change(8, 0xff, 0xff, 0xff, 0xff), "block outside": change(16, 0xff, 0xff, 0xff, 0xff), "negative stream": change(28, 0xff, 0xff, 0xff, 0xff),
		"blocks larger than the data": change(8, 0x29, 0x0a), "stored blocks larger than the data": append([]byte{2, 1, 2, 1, 4, 0, 0, 0, 5, 0, 0, 0, 20, 0, 0, 0}, make([]byte, 4)...),
		"long stream": change(28, 0, 0, 1, 0), "stored of another size": change(2, 0x22),
	} {
		var bad *tensor.FormatError
		got, err := io.ReadAll(newBlosc(bytes.NewReader(packed), 2600))
		if !errors.As(err, &bad) && !(err == nil && len(got) != 2600) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestBloscLZ(t *testing.T) {
	for _, tt := range []struct {
		src  []byte
		want string // "" for refused
	}{
		{[]byte{2, 'a', 'b', 'c'}, "abc"},
		{[]byte{0xe2, 'a', 'b', 'c'}, "abc"},            // the first is always literal
		{[]byte{2, 'a', 'b', 'c', 1 << 5, 2}, "abcabc"}, // 3 bytes at distance 3
		{[]byte{0, 'a', 7 << 5, 1, 0}, "aaaaaaaaaaa"},   // 9+1 bytes at distance 1
		{[]byte{0, 'a', 1 << 5, 0, 0, 'b'}, "aaaab"},
		{[]byte{0, 'a', 1 << 5, 1}, ""},         // before the data
		{[]byte{0, 'a', 7 << 5, 200, 0}, ""},    // more than fits
		{[]byte{2, 'a', 'b'}, ""},               // cut in a literal
		{[]byte{0, 'a', 1 << 5}, ""},            // cut in a distance
		{[]byte{0, 'a', 7 << 5, 255}, ""},       // cut in a count
		{[]byte{0, 'a', 1<<5 | 31, 255, 0}, ""}, // cut in a far distance
	} {
		dst := make([]byte, 20)
		n, err := expandBloscLZ(dst, tt.src)
		if (err != nil) != (tt.want == "") || err == nil && string(dst[:n]) != tt.want {
			t.Errorf("%v: %q, %v; want %q", tt.src, dst[:n], err, tt.want)
		}
	}
}

func FuzzBlosc(f *testing.F) {
	f.Add(container(make([]byte, 2600), true))
	for _, codec := range []byte{0, 1, 2, 3, 4} {
		c := container(make([]byte, 2600), false)
		c[2] = codec << 5
		c[28] = 5 // a stream that is not stored
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		io.Copy(io.Discard, io.LimitReader(newBlosc(bytes.NewReader(packed), -1), 1<<22))
	})
}
