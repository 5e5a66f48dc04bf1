package foreign

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func zipOf(first string) string {
	return "PK\x03\x04\x14\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 16) + string([]byte{byte(len(first)), 0, 0, 0}) + first + "rest"
}

func TestFile(t *testing.T) {
	for _, tt := range []struct{ head, what string }{
		{"", "an empty file"},
		{"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer instead of the file itself"},
		{"GGUF\x03\x00\x00\x00", "a GGUF file"},
		{"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"},
		{"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights?)"},
		{"\x93NUMPY\x01\x00", "a single numpy array"},
		{zipOf("a.npy"), "a numpy .npz archive"},
		{zipOf("metadata.json"), "a Keras model archive"},
		{zipOf("a.txt"), "a zip archive"},
		{"PK\x03\x04", "the beginning of a zip archive"},
		{strings.Repeat("\x00", 257) + "ustar\x0000", "a tar archive"},
		{"\x1f\x8b\x08\x00", "gzip-compressed data (an archive?)"},
		{"\x0c\xdb\x3a\x2a", "one file of an OCDBT database"},
		{" \n<!DOCTYPE HTML>", "a web page instead of the file itself"},
		{" {\"a\": 1}", "a JSON file"},
		{"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00", "a SentencePiece tokenizer model"},
		{"\x08\x01\x12\xf0\x01", "a TensorFlow SavedModel"},
		{"\x08\x08\x12\x07pytorch", "an ONNX model"},
		{"\x08\x99\x12\x07", ""},
		{"hello", ""},
		{"\x00", ""},
	} {
		if got := File([]byte(tt.head)); got.Name != tt.what {
			t.Errorf("%.20q is %q; want %q", tt.head, got.Name, tt.what)
		}
	}
}

func TestExplain(t *testing.T) {
	cause := tensor.Bad("too long").At(0)
	err := Explain(cause, "w.bin", strings.NewReader("GGUF"))
	if !errors.Is(err, error(cause)) || !strings.HasPrefix(err.Error(), "w.bin: is a GGUF file") {
		t.Errorf("%v", err)
	}
	if err := Explain(tensor.Bad("too long").At(0), "w.bin", strings.NewReader("?")); err.Error() != "w.bin: offset 0: too long" {
		t.Errorf("%v", err)
	}
	if err := Explain(fs.ErrPermission, "w.bin", strings.NewReader("GGUF")); err != fs.ErrPermission {
		t.Errorf("%v", err)
	}
}
