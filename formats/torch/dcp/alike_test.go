package dcp

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// parsed returns the elements of a chunk as they are read without knowing any other, nil if that fails.
func parsed(t *testing.T, file []byte) *tensor.Tensor {
	t.Helper()
	f, err := savefile.Read("", bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil
	}
	ref, ok := f.Root.(*savefile.Ref)
	if !ok {
		return nil
	}
	x, err := f.Tensor(ref)
	if err != nil {
		return nil
	}
	return x
}

// content returns the elements of a tensor, nil if they cannot be read.
func content(x *tensor.Tensor) []byte {
	if x == nil {
		return nil
	}
	all := make([]byte, x.Bytes())
	if _, err := x.ReadAt(all, 0); err != nil && err != io.EOF {
		return nil
	}
	return all
}

// sampleChunk returns a chunk of a sample, and where its elements and their checksum are.
func sampleChunk(t *testing.T) (file []byte, elements, crc int) {
	t.Helper()
	all, err := os.ReadFile("testdata/fsdp2/__0_0.distcp")
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.Index(all, []byte("PK\x05\x06"))
	file = all[:end+22]
	x := parsed(t, file)
	if x == nil {
		t.Fatal("the sample is not a chunk")
	}
	layout, _, err := tensor.Layout(x)
	if err != nil {
		t.Fatal(err)
	}
	sum := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(content(x)))
	return file, int(layout.Base), bytes.LastIndex(file, sum)
}

// TestAlike changes each byte of a chunk. What is taken for a chunk like the one before has the elements that parsing it gives.
func TestAlike(t *testing.T) {
	file, elements, crc := sampleChunk(t)
	var known alike
	if known.tensor(file) != nil {
		t.Fatal("a chunk is like one that nobody has seen")
	}
	known.add(file, parsed(t, file))
	if got := content(known.tensor(file)); got == nil || !bytes.Equal(got, content(parsed(t, file))) {
		t.Fatal("a chunk is not like itself")
	}
	same := 0
	for at := range file {
		for _, change := range []byte{1, 0x80} {
			other := slices.Clone(file)
			other[at] ^= change
			if x := known.tensor(other); x != nil {
				same++
				if want := parsed(t, other); want == nil || !bytes.Equal(content(x), content(want)) {
					t.Errorf("byte %d: a chunk that cannot be read, or has other elements, is taken for one like the sample", at)
				}
			}
		}
	}
	if same < 100 { // padding, the unused member, and what follows the members
		t.Errorf("only %d chunks are like the sample", same)
	}
	other := slices.Clone(file)
	other[elements] ^= 1
	if known.tensor(other) != nil {
		t.Error("a chunk with a wrong checksum is taken for one like the sample")
	}
	size := len(content(parsed(t, file)))
	binary.LittleEndian.PutUint32(other[crc:], crc32.ChecksumIEEE(other[elements:][:size]))
	if got := content(known.tensor(other)); !bytes.Equal(got, other[elements:][:size]) {
		t.Errorf("a chunk with other elements gives %v", got)
	}
}
