// Package run works through the steps of a training run: it lists them, gives each of several tasks its share, converts a
// step unless its result is there and complete, and pairs the steps of a run with the results. Tasks need no coordinator:
// a scheduler starts them, and each finds its share from its index.
package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Run is the directory of a training run, or a directory of checkpoints.
type Run struct {
	Path       string         // or address
	Steps      []formats.Step // ascending, those that are written
	Unfinished []formats.Step // ascending, those that count as being written
}

// Open lists the steps in a directory or at an address. A directory without steps is a *tensor.FormatError.
func Open(path string) (*Run, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	steps, err := formats.Steps(source, name)
	if err != nil {
		return nil, err
	}
	r := &Run{Path: path}
	for _, s := range steps {
		if s.Unfinished != "" {
			r.Unfinished = append(r.Unfinished, s)
		} else {
			r.Steps = append(r.Steps, s)
		}
	}
	return r, nil
}

// Checkpoint opens a step. Each call opens the directory again, so that files of other steps may come and go meanwhile.
func (r *Run) Checkpoint(s formats.Step, o formats.Options) (*tensor.Checkpoint, error) {
	source, name, err := storage.Locate(r.Path)
	if err != nil {
		return nil, err
	}
	return formats.OpenStep(source, name, s, o)
}

// Numbered returns the step with a number, also one that is unfinished. None, or several, are a *tensor.FormatError.
func (r *Run) Numbered(n int64) (formats.Step, error) {
	s, err := formats.NumberedStep(slices.Concat(r.Steps, r.Unfinished), n)
	return s, tensor.Annotate(err, tensor.Location{File: storage.WithoutQuery(r.Path)})
}

// Pair returns the step that belongs to a step of another run: the one of the same name, extensions of files aside, or
// else the only one of the same number.
func (r *Run) Pair(s formats.Step) (formats.Step, bool) {
	var sameNumber []formats.Step
	for _, each := range r.Steps {
		if each.Base() == s.Base() {
			return each, true
		}
		if s.Number >= 0 && each.Number == s.Number {
			sameNumber = append(sameNumber, each)
		}
	}
	if len(sameNumber) == 1 {
		return sameNumber[0], true
	}
	return formats.Step{}, false
}

// Destination returns the path or address of the result of a step: OUT/STEP, for files OUT/STEP.pt.
func Destination(out string, s formats.Step, to convert.Target) string {
	name := s.Base()
	if to == convert.ToTorch {
		name += ".pt"
	}
	return join(out, name)
}

// join appends a name to a path, or to an address before its query.
func join(out, name string) string {
	if _, ok := storage.Scheme(out); !ok {
		return filepath.Join(out, name)
	}
	address, query, has := strings.Cut(out, "?")
	address = strings.TrimRight(address, "/") + "/" + name
	if has {
		address += "?" + query
	}
	return address
}

// Convert converts a step to its Destination below out. It returns nil if the result is there and complete, also if
// another task has completed it meanwhile, and a *convert.OccupiedError if something else is there. With o.Overwrite it
// converts anyway.
func (r *Run) Convert(ctx context.Context, s formats.Step, out string, from formats.Options, o convert.Options) (*convert.Result, error) {
	src, err := r.Checkpoint(s, from)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	dst := Destination(out, s, o.To)
	if !o.Overwrite {
		if complete, err := convert.IsComplete(ctx, src, dst, o); complete || err != nil {
			return nil, err
		}
	}
	result, err := convert.Convert(ctx, src, dst, o)
	if errors.Is(err, fs.ErrExist) && !o.Overwrite {
		if complete, why := convert.IsComplete(ctx, src, dst, o); complete || why != nil {
			return nil, why
		}
	}
	return result, err
}

// Error reports that steps failed while others went on.
type Error struct {
	Steps  int // that were worked on
	Failed []Failure
}

// Failure is the error of a step.
type Failure struct {
	Step formats.Step
	Err  error
}

func (e *Error) Error() string {
	var names []string
	for _, f := range e.Failed {
		names = append(names, f.Step.Name)
	}
	if e.Steps == 1 {
		return fmt.Sprintf("step %s failed", names[0])
	}
	return fmt.Sprintf("%d of %d steps failed: %s", len(e.Failed), e.Steps, tensor.JoinNames(names))
}

// Each calls do for every step. It goes on after a step that fails, which it reports to failed, and returns an *Error at
// the end. What would fail in every further step ends it at once: an interruption, a full disk, and a fault of the program.
func Each(ctx context.Context, steps []formats.Step, do func(formats.Step) error, failed func(formats.Step, error)) error {
	all := &Error{Steps: len(steps)}
	for _, s := range steps {
		err := do(s)
		if err == nil {
			continue
		}
		if ctx.Err() != nil || isFatal(err) {
			return err
		}
		failed(s, err)
		all.Failed = append(all.Failed, Failure{s, err})
	}
	if len(all.Failed) > 0 {
		return all
	}
	return nil
}
