// Package formats opens checkpoints in every format that griffin reads: safetensors, PyTorch, Orbax
// and Flax, and the adapters of PEFT, as single files, in shards, or as directories.
//
// Open detects the format. What it returns is the same for all formats: a Checkpoint of package
// tensor, whose types have names here too. A program that knows the format of its files can use the
// package of that format directly.
package formats

import (
	"io/fs"

	"github.com/griffin-ckpt/griffin/formats/internal/foreign"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch"
)

// The types that all formats share.
type (
	Checkpoint  = tensor.Checkpoint
	Detail      = tensor.Detail
	Tensor      = tensor.Tensor
	DType       = tensor.DType
	Data        = tensor.Data
	FormatError = tensor.FormatError
)

// ReasonTokenizer is the reason for refusing a SentencePiece model, which is not a checkpoint but
// belongs to one.
const ReasonTokenizer = foreign.ReasonTokenizer

// ReasonSteps is the reason for refusing the directory of a training run if no step was selected.
const ReasonSteps tensor.Reason = "steps"

// ReasonNoSteps is the reason for refusing a directory that has no steps, or a file, where those of a training run are asked for.
const ReasonNoSteps tensor.Reason = "no steps"

// ReasonOneKind is the reason for refusing Options.Weights: the checkpoint has weights of one kind only, so that there is nothing to choose.
const ReasonOneKind tensor.Reason = "one kind of weights"

// ReasonUnreadable is the reason for refusing a tensor that griffin cannot read. Options can leave it out.
const ReasonUnreadable = torch.ReasonUnreadable

// Options select what to open.
type Options struct {
	// Step is the step to open of a directory that holds several, as CheckpointManager of Orbax and
	// training programs write them. Nil means the newest.
	Step *int64

	// Weights is which weights to read of a checkpoint that keeps two kinds.
	Weights Weights

	// SkipUnreadable leaves out the tensors that griffin cannot read, such as sparse and quantized ones
	// in files of PyTorch. Notes of the checkpoint name them. Otherwise they are an error.
	SkipUnreadable bool
}

// torch returns the options for package torch.
func (o Options) torch() torch.Options { return torch.Options{SkipUnreadable: o.SkipUnreadable} }

// Open opens the checkpoint at a path of the local file system, a file or a directory, as OpenSource
// does.
func Open(path string, options Options) (*Checkpoint, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return OpenSource(source, name, options)
}

// OpenSource opens the checkpoint called name in a source, a file or a directory. Package storage
// says what a source is. Only headers are read; a tensor is read when its data is, so the checkpoint
// has to stay open until then.
//
// The format of a file is detected from its content, not from its name. If a directory holds a
// checkpoint in several formats, safetensors is taken before PyTorch, and PyTorch before the others;
// Notes of the checkpoint say what was left. A directory that is no checkpoint itself, but holds several, such as the files a.pt and b.safetensors, or
// directories of Orbax and of transformers, is refused with tensor.SeveralFiles, or with ReasonSteps if they are numbered; the hint lists their paths. A
// single file, or a single directory of Orbax, is taken. Input that cannot be read is a *FormatError that says what it looks like.
func OpenSource(source fs.FS, name string, options Options) (*Checkpoint, error) {
	c, err := open(source, name, options)
	if failure := storage.Failure(source); failure != nil {
		if err == nil {
			_ = c.Close()
		}
		return nil, failure // there may be more than was found
	}
	return c, err
}

func open(source fs.FS, name string, options Options) (*Checkpoint, error) {
	info, err := fs.Stat(source, name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return openDirectory(source, name, options)
	case options.Step != nil && info.Mode().IsRegular():
		return nil, noSteps(storage.Path(source, name), *options.Step)
	case options.Weights != AnyWeights && info.Mode().IsRegular():
		return nil, oneKind(storage.Path(source, name))
	}
	return openPart(source, name, options)
}

func noSteps(path string, step int64) error {
	return tensor.Bad("step %d is asked for, but only directories of Orbax and of trainings have steps", step).In(path).Because(tensor.NoStep).Advise("give the checkpoint itself, without a step")
}

// oneKind returns the error about a choice between weights of which there is one kind.
func oneKind(path string) error {
	return tensor.Bad("master or compute weights are asked for, but only checkpoints of DeepSpeed keep both").In(path).Because(ReasonOneKind)
}

// unknown returns the error for a file or directory of unknown format.
func unknown(path string) error {
	return tensor.Bad("is not a checkpoint that griffin can read").In(path).Advise(formatsHint)
}

const formatsHint = "griffin reads safetensors, PyTorch (.pt, .pth, .bin), Orbax directories and Flax msgpack files"
