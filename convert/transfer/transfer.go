// Package transfer moves the elements of a list of moves from the tensors of a checkpoint into the
// files of another, on all processors, in bounded memory: it transposes, converts and hashes on the
// way. Each source is read once.
package transfer

import (
	"cmp"
	"context"
	"errors"
	"maps"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// Options are what a caller may want of Execute beside the files.
type Options struct {
	// Progress, if not nil, is called with the number of bytes written so far, never concurrently.
	Progress func(done int64)

	// Digests are the digests that are computed of what is written; 0 for digest.Default. With SHA-256, files of several
	// tensors are filled in their order, by one worker, where that is possible.
	Digests digest.Algorithms

	// DigestSources asks for the digests of all sources. They are computed from what is read anyway; for
	// SHA-256 a source that is not read in order is read again.
	DigestSources bool

	// SourceMemory is how many bytes reading the files of the sources holds at most beside what Execute
	// itself does. They are part of the 256 MiB.
	SourceMemory int64

	// DestMemory is how many bytes the Destination holds at most, with as many writers as there are workers.
	DestMemory int64
}

// Result is what Execute wrote and read.
type Result struct {
	Written []tensor.Written // one for each Dest of the list

	// Digests has those of all Dests and, if Options.DigestSources is set, of all sources.
	Digests *moves.Digests
}

// Execute fills a destination with what the moves of a list give, makes the files durable and
// finishes them. Its memory is below 256 MiB, whatever the size of the tensors. Sources are checked
// against the checksums that their formats keep.
//
// Execute returns a *tensor.FormatError if a source is corrupt or cannot be converted to the dtype of
// its destination. After an error the files are incomplete.
func Execute(ctx context.Context, l moves.List, dst Destination, o Options) (*Result, error) {
	return execute(ctx, l, dst, o, limitsOf(l, dst, o.SourceMemory+o.DestMemory))
}

func execute(ctx context.Context, l moves.List, dst Destination, o Options, limits limits) (*Result, error) {
	o.Digests = cmp.Or(o.Digests, digest.Default)
	digests := map[*tensor.Tensor]*source.Digest{}
	if o.DigestSources {
		copied := maps.Collect(l.Copied()) // their digests are those of the copies
		for _, t := range l.Sources() {
			if _, ok := copied[t]; !ok {
				digests[t] = source.NewDigest(t, o.Digests)
			}
		}
	}
	result := &Result{Digests: moves.NewDigests(l)}
	var err error
	result.Written, err = move(ctx, l, dst, o, limits, digests, result.Digests)
	if err != nil {
		return nil, err
	}
	sums, err := source.Sums(ctx, digests)
	if err != nil {
		return nil, err
	}
	for t, sum := range sums {
		result.Digests.SetSource(t, sum)
	}
	if o.DigestSources {
		result.Digests.SetCopied(l)
	}
	return result, nil
}

// move moves all elements and finishes the destination. It feeds the digests of sources, and sets those of Dests.
func move(ctx context.Context, l moves.List, dst Destination, o Options, limits limits, digests map[*tensor.Tensor]*source.Digest, sums *moves.Digests) ([]tensor.Written, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	defer task.Overlap()() // reads and writes of files
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e := &engine{ctx: ctx, fail: cancel, limits: limits, memory: newBufferPool(limits.buffers), algorithms: o.Digests, digests: digests, sums: sums,
		written: make([]tensor.Written, len(l.Dests)), progress: o.Progress}
	err := e.openTargets(l, dst)
	if err == nil {
		err = e.run(l, dst)
	}
	err = errors.Join(err, e.memory.close(), e.closeOutputs())
	written := e.written
	if err == nil {
		err = dst.Finish(written) // when nothing refers to the engine any more, which takes much with very many tensors
	}
	if err != nil {
		return nil, err
	}
	return written, nil
}
