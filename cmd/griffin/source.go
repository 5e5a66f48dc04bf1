package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// settingsFlags declare what the shapes of an original checkpoint do not show. Every command that
// needs a complete model has them.
func settingsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "preset", Usage: "take the settings of model `NAME`: " + strings.Join(model.Griffin.PresetNames(), ", "), DefaultText: "recognised by its shapes"},
		&cli.Int64Flag{Name: "attention-window", Usage: "attention window of the original: a token attends to itself and the last `N` tokens", DefaultText: "from the preset"},
		&cli.Float64Flag{Name: "logits-soft-cap", Usage: "logits are tanh(x/`X`)*X; 0 means no cap", DefaultText: "from the preset"},
		&cli.BoolFlag{Name: "embedding-scale", Usage: "whether embeddings are multiplied by sqrt(width): =true or =false", DefaultText: "from the preset"},
	}
}

// settings returns what settingsFlags were given. A flag that was not given is nil.
func settings(c *cli.Context) model.Settings {
	s := model.Settings{Preset: c.String("preset")}
	if c.IsSet("attention-window") {
		n := c.Int64("attention-window")
		s.AttentionWindow = &n
	}
	if c.IsSet("logits-soft-cap") {
		x := c.Float64("logits-soft-cap")
		s.LogitsSoftCap = &x
	}
	if c.IsSet("embedding-scale") {
		b := c.Bool("embedding-scale")
		s.EmbeddingScale = &b
	}
	return s
}

func stepFlag() cli.Flag {
	return &cli.Int64Flag{Name: "step", Value: -1, DefaultText: "newest, but a Trainer's run and numbered files need N", Usage: "open step `N` of a training run's directory"}
}

func weightsFlag() cli.Flag {
	return &cli.StringFlag{Name: "weights", DefaultText: "master", Usage: "DeepSpeed: read the weights of `KIND`: master (of the optimizer, float32) or compute (of the model)"}
}

func skipFlag() cli.Flag {
	return &cli.BoolFlag{Name: "skip-unreadable", Usage: "leave out the tensors of PyTorch files that griffin cannot read, such as sparse and quantized ones"}
}

func modelFlag() cli.Flag {
	return &cli.StringFlag{Name: "model", Usage: "select the model under `NAME` of several in the checkpoint, such as ema_params (. for the top level)"}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print the result as JSON"}
}

// digestFlag chooses the hash function of the digests that a command records.
func digestFlag(where string) cli.Flag {
	return &cli.StringFlag{Name: "digest", Value: digest.Default.String(), Usage: where + " with `ALGORITHM`: " + strings.Join(digest.Names(), ", ")}
}

// digestOption returns the hash function that digestFlag names.
func digestOption(c *cli.Context) (digest.Algorithms, error) {
	a, err := digest.Parse(c.String("digest"))
	if err != nil {
		return 0, usagef("--digest: %v", err)
	}
	return a, nil
}

// stepOption returns the step that a flag selects, nil if it is not set.
func stepOption(c *cli.Context, flag string) (*int64, error) {
	if !c.IsSet(flag) {
		return nil, nil
	}
	n := c.Int64(flag)
	if n < 0 {
		return nil, usagef("--%s %d: a step is not negative", flag, n)
	}
	return &n, nil
}

// openOptions returns what stepFlag, weightsFlag and skipFlag select.
func openOptions(c *cli.Context) (formats.Options, error) {
	o := formats.Options{SkipUnreadable: c.Bool("skip-unreadable")}
	switch kind := c.String("weights"); {
	case !c.IsSet("weights"):
	case kind == "master":
		o.Weights = formats.MasterWeights
	case kind == "compute":
		o.Weights = formats.ComputeWeights
	default:
		return o, usagef("--weights %s: there are master and compute", kind)
	}
	var err error
	o.Step, err = stepOption(c, "step")
	return o, err
}

// openSource opens a checkpoint of any format, as the flags of openOptions select.
func openSource(c *cli.Context, path string) (*tensor.Checkpoint, error) {
	o, err := openOptions(c)
	if err != nil {
		return nil, err
	}
	if err := checkInputs(c); err != nil {
		return nil, err
	}
	return formats.Open(path, o)
}

// openOther opens the checkpoint at the second path of a command whose --step is for the first.
func openOther(c *cli.Context, path string) (*tensor.Checkpoint, error) {
	checkpoint, err := formats.Open(path, formats.Options{SkipUnreadable: c.Bool("skip-unreadable")})
	if bad := (*tensor.FormatError)(nil); errors.As(err, &bad) && bad.Reason == formats.ReasonSteps {
		err = &otherError{err, bad.Hint}
		if step, _ := stepOption(c, "step"); step != nil {
			if same, openErr := formats.Open(path, formats.Options{Step: step}); openErr == nil {
				defer same.Close()
				err = &otherError{err, "--step is for the first path; give that step of the second, " + text.Printable(same.Path)}
			}
		}
	}
	return checkpoint, err
}

// otherError reports that something has to be chosen in the second checkpoint of a command whose flags choose in the first.
type otherError struct {
	error
	hint string
}

func (e *otherError) Unwrap() error { return e.error }

// ofOther says of an error about several models in the second checkpoint of a command that --model is for the first.
func ofOther(err error) error {
	if tensor.ReasonOf(err) != model.ReasonSeveralModels {
		return err
	}
	return &otherError{err, "--model is for the first path: give this one first, or what griffin convert --model NAME makes of it"}
}

// openModel opens a checkpoint and the model in it, with the settings that the flags give.
func openModel(c *cli.Context, path string) (*runtime.Model, error) {
	checkpoint, err := openSource(c, path)
	if err != nil {
		return nil, err
	}
	m, err := runtime.Open(c.Context, checkpoint, runtime.Options{Settings: settings(c), Name: c.String("model")})
	if err != nil {
		checkpoint.Close()
		return nil, err
	}
	noteOverruled(c, m)
	return m, nil
}

// noteOverruled says which of the given settings are not those that the conversion.json of a checkpoint records.
func noteOverruled(c *cli.Context, m *runtime.Model) {
	if m.Overruled != "" {
		note(c, "%s: %s", storage.WithoutQuery(m.Checkpoint.Path), m.Overruled)
	}
}

// noteLogits says if all logits of a model are zero as they are computed, or if the attention window may be another.
func noteLogits(c *cli.Context, m *runtime.Model, s reference.Semantics) {
	path := storage.WithoutQuery(m.Checkpoint.Path)
	if why := runtime.ZeroLogits(m, s); why != "" {
		note(c, "%s: %s; --semantics original computes without a cap", path, why)
	}
	if m.WindowDoubt != "" && s == reference.Original {
		note(c, "%s: %s", path, withWindowFlag(m.WindowDoubt))
	}
}

// withWindowFlag names the flag in what says that an attention window may not be the original's.
func withWindowFlag(doubt string) string {
	return strings.Replace(doubt, ", give attention window ", ", give --attention-window ", 1)
}

// quantizedText says what a quantised copy is; "" for a model that is none.
func quantizedText(m *runtime.Model) string {
	if m.Quantized == nil {
		return ""
	}
	return m.Quantized.String()
}

// printQuantized says of a model at a path what quantizedText says, if it is a quantised copy.
func printQuantized(w io.Writer, path, form string) error {
	if form == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s is a quantised copy, run dequantised: %s\n", text.Printable(storage.WithoutQuery(path)), form)
	return err
}

func partialFlag() cli.Flag {
	return &cli.BoolFlag{Name: "partial-adapter", Usage: "with --adapter: accept an adapter that lacks tensors of some of its target modules"}
}

// openAdapter opens the adapter that --adapter names, nil if it is not set.
func openAdapter(c *cli.Context) (*peft.Adapter, error) {
	path := c.String("adapter")
	if path == "" {
		if c.Bool("partial-adapter") {
			return nil, usagef("--partial-adapter is for --adapter").advise("add --adapter DIR, or leave out --partial-adapter")
		}
		return nil, nil
	}
	if err := checkInputs(c); err != nil {
		return nil, err
	}
	source, dir, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return peft.Read(source, dir)
}
