// Package formats opens checkpoints of every format that griffin reads: safetensors, PyTorch,
// Orbax and Flax, as single files, sharded, or as directories.
//
// Open is the way in. What it returns is the same for all formats, and is declared in package
// tensor; the names here stand for those. A program that knows its format may use the package of
// that format directly.
package formats

import (
	"os"

	"github.com/griffin-ckpt/griffin/formats/internal/sniff"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The types that every format speaks.
type (
	Checkpoint  = tensor.Checkpoint
	Detail      = tensor.Detail
	Tensor      = tensor.Tensor
	DType       = tensor.DType
	Data        = tensor.Data
	FormatError = tensor.FormatError
)

// Options say what to open where a path leaves that open.
type Options struct {
	// Step is the step to read of a directory that holds several, as Orbax's CheckpointManager
	// writes them. Nil stands for the newest.
	Step *int64
}

// Open opens the checkpoint at path: a file, or a directory. It reads headers only; tensors are
// read when their data is, so the checkpoint has to stay open until then.
//
// Which format a file has is told by its content, never by its name. In a directory that holds a
// checkpoint in several formats, safetensors is taken before PyTorch's, and that before others;
// Notes of the checkpoint then say so. What cannot be read is a *FormatError that says what it
// looks like.
func Open(path string, options Options) (*Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		return openDirectory(path, options)
	case !info.Mode().IsRegular():
		return nil, tensor.Bad("is a %s, not a file or directory", sniff.Kind(info.Mode())).In(path)
	case options.Step != nil:
		return nil, noSteps(path, *options.Step)
	}
	return openFile(path, info.Size())
}

func noSteps(path string, step int64) error {
	return tensor.Bad("step %d is asked for, but only directories of Orbax have steps", step).In(path)
}

// unknown is the error for a file or directory that looks like what, or like nothing.
func unknown(path, what, hint string) error {
	if what != "" {
		bad := tensor.Bad("is %s", what).In(path)
		if what == sniff.Tokenizer {
			bad.Because(ReasonTokenizer)
		}
		bad.Hint = hint
		return bad
	}
	if hint == "" {
		hint = knownHint
	}
	bad := tensor.Bad("is no checkpoint that griffin can read").In(path)
	bad.Hint = hint
	return bad
}

const knownHint = "griffin reads safetensors, PyTorch (.pt, .pth, .bin), Orbax directories and Flax msgpack files"

// ReasonTokenizer is the reason for refusing a SentencePiece model, which is not a checkpoint but
// belongs to one.
const ReasonTokenizer tensor.Reason = "tokenizer"
