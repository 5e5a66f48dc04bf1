// Package foreign recognises files and directories that are not checkpoints griffin reads, such as
// GGUF files and archives, so that an error can say what they are and what to do.
package foreign

import (
	"bytes"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Format is a kind of file or directory.
type Format struct {
	Kind Kind
	Name string // completes "is …"
	Hint string // what to do, "" for nothing
}

// Kind tells apart the formats that callers treat differently.
type Kind uint8

// The kinds of formats.
const (
	Unknown   Kind = iota
	Other          // a format that griffin does not read
	Zip            // may be a PyTorch checkpoint
	JSON           // may be a shard index
	Tokenizer      // a SentencePiece model
)

// ReasonTokenizer is the reason for refusing a SentencePiece model.
const ReasonTokenizer tensor.Reason = "tokenizer"

// Hints that apply to several formats.
const (
	hintExport   = "export the weights to safetensors first"
	hintUnpack   = "unpack it and give the file or directory that was in it"
	hintReserved = "the download or copy may not have finished: some programs reserve the space of a file before they write it"
	hintOriginal = "give the Orbax, Flax, PyTorch or safetensors checkpoint that this was made from"
)

// signatures are the formats that have fixed bytes at a fixed offset.
var signatures = []struct {
	offset int
	bytes  string
	name   string
	hint   string
}{
	{0, "version https://git-lfs.github.com/spec/", "a Git LFS pointer instead of the file itself", "fetch the file with: git lfs pull"},
	{0, "GGUF", "a GGUF file", hintOriginal},
	{0, "lmgg", "a GGML file", hintOriginal},
	{0, "fmgg", "a GGML file", hintOriginal},
	{0, "tjgg", "a GGML file", hintOriginal},
	{4, "TFL3", "a TensorFlow Lite model", hintOriginal},
	{0, "\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights?)", hintExport},
	{0, "\x93NUMPY", "a single numpy array", "a checkpoint holds arrays and their names"},
	{0, "model_checkpoint_path: ", "the state file of a TensorFlow checkpoint", hintExport},
	{0, "\x1f\x8b", "gzip-compressed data (an archive?)", hintUnpack},
	{0, "BZh", "bzip2-compressed data (an archive?)", hintUnpack},
	{0, "\xfd7zXZ\x00", "xz-compressed data (an archive?)", hintUnpack},
	{0, "\x28\xb5\x2f\xfd", "zstd-compressed data (an archive?)", hintUnpack},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive", hintUnpack},
	{0, "Rar!\x1a\x07", "a RAR archive", hintUnpack},
	{257, "ustar", "a tar archive", hintUnpack + "; if it is a checkpoint of PyTorch before 0.4, load it with torch and save it again"},
	{0, "\x0c\xdb\x3a\x2a", "one file of an OCDBT database", "give the directory that holds the checkpoint"},
	{0, "\x0c\xdb\x20\xde", "one file of an OCDBT database", "give the directory that holds the checkpoint"},
	{0, "\x0c\xdb\x12\x34", "one file of an OCDBT database", "give the directory that holds the checkpoint"},
	{0, "\x7fELF", "a program", ""},
}

// fileNames are the formats that a file's name gives away in a directory. Patterns are those of
// path.Match.
var fileNames = []struct{ pattern, name, hint string }{
	{"saved_model.pb", "a TensorFlow SavedModel", hintExport},
	{"*.data-00000-of-*", "a TensorFlow checkpoint", hintExport},
	{"*.gguf", "a directory of GGUF files", hintOriginal},
	{"*.onnx", "a directory with an ONNX model", hintOriginal},
	{"*.h5", "a directory with HDF5 weights", hintExport},
	{"*.keras", "a directory with a Keras model", hintExport},
	{"*.npz", "a directory with numpy archives", hintExport},
	{"*.tar", "a directory with an archive", hintUnpack},
	{"*.tar.gz", "a directory with an archive", hintUnpack},
	{"*.zip", "a directory with an archive", hintUnpack},
}

// HeadSize is how many of a file's first bytes File needs at most.
const HeadSize = 512

// Head returns the first 512 bytes of r, fewer if r is shorter.
func Head(r io.ReaderAt) ([]byte, error) {
	head := make([]byte, HeadSize)
	n, err := r.ReadAt(head, 0)
	if err == io.EOF {
		err = nil
	}
	return head[:n], err
}

// File recognises a file by its first bytes. The zero Format stands for a file that it does not
// know.
func File(head []byte) Format {
	if len(head) == 0 {
		return Format{Other, "an empty file", "the download or copy that made it may have failed"}
	}
	if len(head) == HeadSize && len(bytes.Trim(head, "\x00")) == 0 {
		return Format{Other, "a file that begins with zeros", hintReserved}
	}
	for _, s := range signatures {
		if len(head) >= s.offset && bytes.HasPrefix(head[s.offset:], []byte(s.bytes)) {
			return Format{Other, s.name, s.hint}
		}
	}
	switch text := strings.ToLower(string(bytes.TrimLeft(head, " \t\r\n"))); {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return zipFormat(head)
	case strings.HasPrefix(text, "<!doctype html") || strings.HasPrefix(text, "<html"):
		return Format{Other, "a web page instead of the file itself", "the download may need a login or an accepted licence"}
	case strings.HasPrefix(text, "{") || strings.HasPrefix(text, "["):
		return Format{JSON, "a JSON file", "give the weights, or the directory that holds them"}
	case isSentencePiece(head):
		return Format{Tokenizer, "a SentencePiece tokenizer model", "give the weights"}
	}
	return protobufFormat(head)
}

// Directory recognises a directory by the names of its files.
func Directory(names []string) Format {
	if len(names) == 0 {
		return Format{Other, "an empty directory", ""}
	}
	for _, f := range fileNames {
		for _, name := range names {
			if match, _ := path.Match(f.pattern, name); match {
				return Format{Other, f.name, f.hint}
			}
		}
	}
	return Format{}
}

// Error returns the error that refuses the file or directory at path. The Format is not zero.
func (f Format) Error(path string) *tensor.FormatError {
	bad := tensor.Bad("is %s", f.Name).In(path)
	bad.Hint = f.Hint
	if f.Kind == Tokenizer {
		bad.Because(ReasonTokenizer)
	}
	return bad
}

// zipFormat recognises a zip archive by the name of its first member.
func zipFormat(head []byte) Format {
	const nameLength, name = 26, 30
	if len(head) < name {
		return Format{Other, "the beginning of a zip archive", ""}
	}
	first := head[name:]
	first = first[:min(len(first), int(head[nameLength])|int(head[nameLength+1])<<8)]
	switch {
	case bytes.HasSuffix(first, []byte(".npy")):
		return Format{Other, "a numpy .npz archive", hintExport}
	case string(first) == "metadata.json" || string(first) == "config.json":
		return Format{Other, "a Keras model archive", hintExport}
	}
	return Format{Zip, "a zip archive", hintUnpack}
}

// isSentencePiece reports whether head is a protobuf list of pieces that begins with a usual one.
func isSentencePiece(head []byte) bool {
	if len(head) < 12 || head[0] != 0x0a || head[2] != 0x0a {
		return false
	}
	piece := string(head[4:])
	return strings.HasPrefix(piece, "<unk>") || strings.HasPrefix(piece, "<pad>") || strings.HasPrefix(piece, "<s>")
}

// protobufFormat recognises two protobuf messages whose first field is a small version number and
// whose second is a string or message.
func protobufFormat(head []byte) Format {
	if len(head) < 4 || head[0] != 0x08 || head[2] != 0x12 {
		return Format{}
	}
	switch version := head[1]; {
	case version == 1:
		return Format{Other, "a TensorFlow SavedModel", hintExport}
	case version > 1 && version < 32:
		return Format{Other, "an ONNX model", hintOriginal}
	}
	return Format{}
}

// Explain returns the error for a file r at path that could not be read as some format: err with
// the path or, if the file is in a format that File knows, an error that says so and wraps err.
// Errors that are not a *tensor.FormatError are returned as they are.
func Explain(err error, path string, r io.ReaderAt) error {
	if !errors.As(err, new(*tensor.FormatError)) {
		return err
	}
	if head, headErr := Head(r); headErr == nil {
		if format := File(head); format.Kind != Unknown {
			other := format.Error(path)
			other.Err = err
			return other
		}
	}
	return tensor.Annotate(err, tensor.Location{File: path})
}
