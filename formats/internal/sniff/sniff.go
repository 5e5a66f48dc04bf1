// Package sniff tells by its first bytes what a file is that griffin does not read, so that the
// refusal can say so and what to do instead.
package sniff

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// HeadSize is how much of a file Guess needs at most.
const HeadSize = 512

// Head returns the first HeadSize bytes of r, or fewer where it is shorter.
func Head(r io.ReaderAt) ([]byte, error) {
	head := make([]byte, HeadSize)
	n, err := r.ReadAt(head, 0)
	if err == io.EOF {
		err = nil
	}
	return head[:n], err
}

// Hints that hold for many a file.
const (
	ExportHint   = "export the weights to safetensors first"
	UnpackHint   = "unpack it and give the file or directory that was in it"
	OriginalHint = "griffin converts original checkpoints: give the Orbax, Flax, PyTorch or safetensors one that this was made from"
)

// What Guess says of files that may be a checkpoint after all.
const (
	Zip       = "a zip archive"
	JSON      = "a JSON file"
	Tokenizer = "a SentencePiece tokenizer model"
)

// magics are the files that bytes at a fixed place give away.
var magics = []struct {
	offset int
	bytes  string
	what   string
	hint   string
}{
	{0, "version https://git-lfs.github.com/spec/", "a Git LFS pointer instead of the file itself", "fetch the file with: git lfs pull"},
	{0, "GGUF", "a GGUF file", OriginalHint},
	{0, "lmgg", "a GGML file", OriginalHint},
	{0, "fmgg", "a GGML file", OriginalHint},
	{0, "tjgg", "a GGML file", OriginalHint},
	{4, "TFL3", "a TensorFlow Lite model", OriginalHint},
	{0, "\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights?)", ExportHint},
	{0, "\x93NUMPY", "a single numpy array", "griffin reads checkpoints, of which each holds the arrays and their names"},
	{0, "model_checkpoint_path: ", "the state file of a TensorFlow checkpoint", ExportHint},
	{0, "\x1f\x8b", "gzip-compressed data (an archive?)", UnpackHint},
	{0, "BZh", "bzip2-compressed data (an archive?)", UnpackHint},
	{0, "\xfd7zXZ\x00", "xz-compressed data (an archive?)", UnpackHint},
	{0, "\x28\xb5\x2f\xfd", "zstd-compressed data (an archive?)", UnpackHint},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive", UnpackHint},
	{0, "Rar!\x1a\x07", "a RAR archive", UnpackHint},
	{257, "ustar", "a tar archive", UnpackHint + "; if it is a checkpoint of PyTorch before 0.4, load it with torch and save it again"},
	{0, "\x0c\xdb\x3a\x2a", "one file of an OCDBT database", "give the directory that holds the checkpoint"},
	{0, "\x0c\xdb\x20\xde", "one file of an OCDBT database", "give the directory that holds the checkpoint"},
	{0, "\x0c\xdb\x12\x34", "one file of an OCDBT database", "give the directory that holds the checkpoint"},
	{0, "\x7fELF", "a program", ""},
}

// Guess says what a file looks like that begins with head, as in "is ...", and what to do about
// it. It returns "" where it has no idea.
func Guess(head []byte) (what, hint string) {
	if len(head) == 0 {
		return "an empty file", "the download or copy that made it may have failed"
	}
	for _, m := range magics {
		if len(head) >= m.offset && bytes.HasPrefix(head[m.offset:], []byte(m.bytes)) {
			return m.what, m.hint
		}
	}
	switch text := strings.ToLower(string(bytes.TrimLeft(head, " \t\r\n"))); {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return guessZip(head)
	case strings.HasPrefix(text, "<!doctype html") || strings.HasPrefix(text, "<html"):
		return "a web page instead of the file itself", "the download may need a login or an accepted licence"
	case strings.HasPrefix(text, "{") || strings.HasPrefix(text, "["):
		return JSON, "give the weights, or the directory that holds them"
	case isSentencePiece(head):
		return Tokenizer, "give the weights"
	}
	return guessProtobuf(head)
}

// guessZip goes by the name of the first member.
func guessZip(head []byte) (what, hint string) {
	const nameLength, name = 26, 30
	if len(head) < name {
		return "the beginning of a zip archive", ""
	}
	first := head[name:]
	first = first[:min(len(first), int(head[nameLength])|int(head[nameLength+1])<<8)]
	switch {
	case bytes.HasSuffix(first, []byte(".npy")):
		return "a numpy .npz archive", ExportHint
	case string(first) == "metadata.json" || string(first) == "config.json":
		return "a Keras model archive", ExportHint
	}
	return Zip, UnpackHint
}

// isSentencePiece reports whether head is a protobuf list of pieces that begins with a usual one.
func isSentencePiece(head []byte) bool {
	if len(head) < 12 || head[0] != 0x0a || head[2] != 0x0a {
		return false
	}
	piece := string(head[4:])
	return strings.HasPrefix(piece, "<unk>") || strings.HasPrefix(piece, "<pad>") || strings.HasPrefix(piece, "<s>")
}

// guessProtobuf knows the two whose first field is a small version number and whose second is a
// string or message.
func guessProtobuf(head []byte) (what, hint string) {
	if len(head) < 4 || head[0] != 0x08 || head[2] != 0x12 {
		return "", ""
	}
	switch version := head[1]; {
	case version == 1:
		return "a TensorFlow SavedModel", ExportHint
	case version > 1 && version < 32:
		return "an ONNX model", OriginalHint
	}
	return "", ""
}

// Explain completes err, which reading the file r at path as some format gave: it names the file,
// and where the file is plainly something else, says that instead.
func Explain(err error, path string, r io.ReaderAt) error {
	var bad *tensor.FormatError
	if !errors.As(err, &bad) {
		return err
	}
	if head, headErr := Head(r); headErr == nil {
		if what, hint := Guess(head); what != "" {
			other := tensor.Bad("is %s", what).In(path)
			other.Hint, other.Err = hint, err
			return other
		}
	}
	bad.In(path)
	return err
}

// Kind names the kind of something that is not a regular file.
func Kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}
