package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/nearest"
	"github.com/griffin-ckpt/griffin/cmd/internal/terminal"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/npy"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show the format, the model and the tensors of a checkpoint",
		UsageText: "griffin inspect [flags] PATH",
		Description: "PATH is a checkpoint of any supported format and of any model. Only headers are read, unless --digest,\n" +
			"--stats or --dump asks for elements.\n\n" +
			"Examples:\n\n" +
			"  griffin inspect 2b-it/                                 # a table of the tensors\n" +
			"  griffin inspect --tree runs/train --step 40000         # one step of a training run\n" +
			"  griffin inspect --all-steps runs/train                 # every step of it\n" +
			"  griffin inspect --json --digest 2b.pt                  # SHA-256 of every tensor\n" +
			"  griffin inspect --stats 2b.pt                          # range, mean, zeros, NaN and a histogram of every tensor\n" +
			"  griffin inspect --dump 'final_norm.scale' --out s.npy 2b.pt\n" +
			"  griffin inspect --dump 'embedder.input_embedding[:16, 0]' --out e.npy 2b.pt",
		Flags: []cli.Flag{
			stepFlag(),
			allStepsFlag("show every step of the training run PATH"),
			taskFlag(),
			weightsFlag(),
			skipFlag(),
			modelFlag(),
			&cli.BoolFlag{Name: "tree", Usage: "show the names of the tensors as a tree"},
			&cli.BoolFlag{Name: "all", Usage: "show every tensor by itself, not equal tensors of several layers as one row"},
			inspectDigestFlag(),
			&cli.BoolFlag{Name: "stats", Usage: "read everything and print each tensor's zeros, NaN and Inf, and the range, mean, standard deviation and a histogram of its finite values"},
			&cli.StringFlag{Name: "report", Usage: "with --stats: write the statistics as an HTML page to `FILE`"},
			&cli.StringFlag{Name: "dump", Usage: "write tensor `NAME`, or a slice of it such as 'NAME[0:4, :, 2]', as .npy (bfloat16 as float32)"},
			&cli.StringFlag{Name: "out", Usage: "with --dump: write to `FILE`", DefaultText: "standard output"},
			jsonFlag(),
		},
		OnUsageError: onUsageError,
		Action:       runInspect,
	}
}

func runInspect(c *cli.Context) error {
	debug.SetMemoryLimit(listLimit)
	if err := checkStepsFlags(c, "dump", "out", "report"); err != nil {
		return err
	}
	if c.NArg() != 1 {
		return wrongPaths(c, "inspect takes one checkpoint").advise("griffin inspect --help shows examples")
	}
	switch {
	case c.IsSet("out") && !c.IsSet("dump"):
		return usagef("--out needs --dump").advise("add --dump NAME")
	}
	if err := refuseBeside(c, "dump", "it writes one tensor as .npy", "json", "model", "stats", "report", "digest", "tree", "all"); err != nil {
		return err
	}
	for _, flag := range []string{"report", "out"} {
		if flag == "out" && c.String(flag) == "-" {
			continue // standard output, as without the flag
		}
		if err := checkOutputFlag(c, flag); err != nil {
			return err
		}
	}
	for _, flag := range []string{"stats", "digest"} {
		if c.Bool("tree") && c.IsSet(flag) && !c.Bool("json") {
			return usagef("--tree shows names, types and shapes, and --%s is about values", flag).advise("leave out one of them")
		}
	}
	if c.IsSet("report") && !c.Bool("stats") {
		return usagef("--report needs --stats").advise("add --stats")
	}
	if c.Bool("all-steps") {
		return inspectSteps(c)
	}
	ckpt, err := openSource(c, c.Args().First())
	if err != nil {
		return err
	}
	defer ckpt.Close()
	if c.IsSet("dump") {
		return dump(ckpt, c.String("dump"), c.String("out"), c.App.Writer)
	}
	r, err := inspect(c, ckpt)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c.App.Writer, schemaInspection, r)
	} else {
		err = r.print(c.App.Writer, inspectionFormOf(c))
	}
	if err != nil || c.String("report") == "" {
		return err
	}
	return r.writeReport(c, c.String("report"), ckpt)
}

// inspect describes a checkpoint as the flags ask for.
func inspect(c *cli.Context, ckpt *tensor.Checkpoint) (*inspection, error) {
	r, err := newInspection(ckpt, c.String("model"))
	if err != nil {
		return nil, err
	}
	var shown, used digest.Algorithms
	if c.IsSet("digest") {
		shown = c.Generic("digest").(*inspectDigest).algorithms
	}
	if c.IsSet("report") {
		used = digest.Default
	}
	switch {
	case c.Bool("stats"):
		err = r.describeValues(c.Context, ckpt, shown, used, c.App.ErrWriter)
	case shown != 0:
		err = r.digest(c.Context, ckpt, shown, c.App.ErrWriter)
	}
	return r, err
}

// inspection is the result of inspect, and its JSON form.
type inspection struct {
	Path       string            `json:"path"`
	Format     string            `json:"format"`
	Details    []detail          `json:"details"`
	Model      *modelSummary     `json:"model"` // null if no model was recognised
	ModelNote  string            `json:"model_note,omitempty"`
	modelHint  string            // what ModelNote says, and what to do about it
	Quantized  *quantizedSummary `json:"quantized,omitempty"` // of a quantised copy
	Parameters int64             `json:"parameters"`          // of a quantised copy those that its codes stand for
	Bytes      int64             `json:"bytes"`
	DTypes     []dtypeTotal      `json:"dtypes"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Notes      []string          `json:"notes"`
	Tensors    []tensorEntry     `json:"tensors"`
}

type detail struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type dtypeTotal struct {
	DType      string `json:"dtype"`
	Tensors    int    `json:"tensors"`
	Parameters int64  `json:"parameters"`
	Bytes      int64  `json:"bytes"`
}

type tensorEntry struct {
	Name  string  `json:"name"`
	DType string  `json:"dtype"`
	Shape []int64 `json:"shape"`
	Bytes int64   `json:"bytes"`
	digest.Sum

	Stats *packedStats `json:"stats,omitempty"`

	read digest.Sum // what the page of the values needs

	made   string // in the plan of a conversion: the rule that makes it, and the tensors of the source that it is made of
	origin string // made, with * for the tensor's own layer in names; it is equal in all layers of a row
	layers int    // of a row that stands for the tensors of several layers, else 0
	order  string // the name by which a row is sorted
}

// packedStats are the statistics of a tensor, packed because there may be very many. Their JSON is that of stats.Stats.
type packedStats struct {
	dtype  tensor.DType
	packed stats.Packed
}

// get returns the statistics.
func (p *packedStats) get() *stats.Stats { return p.packed.Stats(p.dtype) }

// MarshalJSON implements json.Marshaler.
func (p *packedStats) MarshalJSON() ([]byte, error) { return json.Marshal(p.get()) }

// newInspection describes a checkpoint. name selects one of several models; "" is for the only one.
func newInspection(ckpt *tensor.Checkpoint, name string) (*inspection, error) {
	r := &inspection{Path: ckpt.Path, Format: ckpt.Format, Metadata: ckpt.Metadata,
		Details: []detail{}, Notes: append([]string{}, ckpt.Notes...), Tensors: []tensorEntry{}, DTypes: []dtypeTotal{}}
	for _, d := range ckpt.Details {
		r.Details = append(r.Details, detail(d))
	}
	totals := map[tensor.DType]int{}
	for _, t := range ckpt.Tensors() {
		shape := append([]int64{}, t.Shape...)
		r.Tensors = append(r.Tensors, tensorEntry{Name: t.Name, DType: t.DType.String(), Shape: shape, Bytes: t.Bytes()})
		r.Parameters += t.Elements()
		r.Bytes += t.Bytes()
		i, ok := totals[t.DType]
		if !ok {
			i = len(r.DTypes)
			totals[t.DType] = i
			r.DTypes = append(r.DTypes, dtypeTotal{DType: t.DType.String()})
		}
		r.DTypes[i].Tensors++
		r.DTypes[i].Parameters += t.Elements()
		r.DTypes[i].Bytes += t.Bytes()
	}
	copied, err := quantized.Open(ckpt)
	if err != nil && name != "" {
		return nil, err
	}
	if err != nil {
		r.ModelNote = "a quantised copy that cannot be read: " + message(err)
		return r, nil
	}
	if copied != nil {
		r.Quantized, r.Parameters = summariseQuantized(copied)
		ckpt = copied.Checkpoint
	} else if method, err := quantized.Claimed(ckpt); err == nil && method != "" {
		r.Notes = append(r.Notes, unfounded(method))
	}
	found, err := model.Recognize(ckpt, model.Options{Name: name})
	if err != nil && name != "" {
		return nil, err
	}
	if err != nil {
		r.ModelNote, r.modelHint = message(err), notRecognised(err)
		return r, nil
	}
	r.Model = summarise(found, copied != nil)
	if copied != nil {
		r.Model.Name = "quantised copy of " + r.Model.Name
		r.Notes = append(r.Notes, model.SensitiveNotes(found, copied)...)
		if problems, ok := found.Problems().(*model.MismatchError); ok {
			r.Notes = append(r.Notes, problems.Summary())
		}
	}
	return r, nil
}

// notRecognised says why no model was recognised in the checkpoint whose path stands above, and what to do about it.
func notRecognised(err error) string {
	var bad *tensor.FormatError
	if !errors.As(err, &bad) {
		return message(err)
	}
	what := *bad
	what.File = ""
	switch bad.Reason {
	case model.ReasonSeveralModels, model.ReasonAdapter:
		return what.Error() + "; " + formatHint(bad)
	}
	return what.Error()
}

// inspectDigestFlag asks for digests. Without a value they are SHA-256, which people compare with what other programs
// compute.
func inspectDigestFlag() cli.Flag {
	return optionalValue{&cli.GenericFlag{Name: "digest", Value: &inspectDigest{}, DefaultText: "none",
		Usage: "read everything and print the SHA-256 of each tensor's row-major little-endian elements; =blake3: their BLAKE3"}}
}

// optionalValue is a flag whose value, if any, follows "=".
type optionalValue struct{ *cli.GenericFlag }

// TakesValue implements cli.DocGenerationFlag.
func (optionalValue) TakesValue() bool { return false }

// String implements cli.Flag.
func (f optionalValue) String() string { return cli.FlagStringer(f) }

// inspectDigest is the value of inspectDigestFlag. It implements cli.Generic.
type inspectDigest struct{ algorithms digest.Algorithms }

// Set implements flag.Value.
func (d *inspectDigest) Set(value string) (err error) {
	if value == "true" { // the flag stands alone
		value = digest.SHA256.String()
	}
	d.algorithms, err = digest.Parse(value)
	return err
}

// String implements flag.Value.
func (d *inspectDigest) String() string { return d.algorithms.String() }

// IsBoolFlag tells package flag that a value is optional.
func (d *inspectDigest) IsBoolFlag() bool { return true }

// digest reads every tensor and fills in its digest.
func (r *inspection) digest(ctx context.Context, ckpt *tensor.Checkpoint, a digest.Algorithms, stderr io.Writer) error {
	return r.readAll(ctx, ckpt, stderr, func(ctx context.Context, t *tensor.Tensor, entry *tensorEntry) error {
		sum, err := tensor.Digest(ctx, t, a)
		entry.Sum = sum
		return err
	})
}

// readAll calls do for every tensor, several at a time, and shows progress.
func (r *inspection) readAll(ctx context.Context, ckpt *tensor.Checkpoint, stderr io.Writer, do func(context.Context, *tensor.Tensor, *tensorEntry) error) error {
	bar := terminal.NewProgress(stderr, "reading", r.Bytes)
	defer bar.Done()
	tensor.PlanReads(ckpt.Tensors()...)
	group, ctx := task.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range ckpt.Tensors() {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := do(ctx, t, &r.Tensors[i]); err != nil {
				return err
			}
			bar.Add(t.Bytes())
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return storage.Unchanged(ckpt.Source)
}

// dump writes one tensor, or a slice of it, as .npy: to a file, or to standard output if out is "" or "-".
func dump(ckpt *tensor.Checkpoint, name, out string, stdout io.Writer) error {
	t, err := findTensor(ckpt, name)
	if err != nil {
		return err
	}
	write := func(w io.Writer) error {
		if err := npy.Write(w, t); err != nil {
			return err
		}
		return storage.Unchanged(ckpt.Source)
	}
	if out == "" || out == "-" {
		if terminal.Is(stdout) {
			return usagef("an .npy file cannot be shown on a terminal").advise("add --out FILE.npy")
		}
		return write(stdout)
	}
	err = publish.Replace(out, npy.Size(t), func(w io.WriterAt) error { return write(io.NewOffsetWriter(w, 0)) })
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: %s %s\n", out, t.DType, tensor.ShapeString(t.Shape))
	return err
}

// findTensor returns the tensor with the full name, or a slice of it if the name ends in a NumPy index
// in brackets.
func findTensor(ckpt *tensor.Checkpoint, name string) (*tensor.Tensor, error) {
	if t := ckpt.Tensor(name); t != nil {
		return t, nil
	}
	if open := strings.LastIndexByte(name, '['); open > 0 && strings.HasSuffix(name, "]") {
		if t := ckpt.Tensor(name[:open]); t != nil {
			part, err := tensor.Slice(t, name[open+1:len(name)-1])
			if err != nil {
				return nil, usagef("--dump: %v", err)
			}
			return part, nil
		}
		name = name[:open]
	} else if open > 0 && ckpt.Tensor(name[:open]) != nil {
		return nil, usagef("--dump: the slice %s has no closing bracket", name[open:]).advise("write 'NAME[0:4, :, 2]'")
	}
	err := usagef("--dump: no tensor %q in %s", name, ckpt.Path)
	var names, below, within []string
	for _, t := range ckpt.Tensors() {
		names = append(names, t.Name)
		if strings.HasPrefix(t.Name, strings.TrimSuffix(name, ".")+".") {
			below = append(below, t.Name)
		}
		if name != "" && strings.Contains(strings.ToLower(t.Name), strings.ToLower(name)) {
			within = append(within, t.Name)
		}
	}
	switch near := nearest.Tensor(name, names); {
	case len(below) > 1:
		return nil, err.advise("%d names begin with it, %s; griffin inspect --all %s lists them", len(below), someOf(below), ckpt.Path)
	case len(within) > 1:
		return nil, err.advise("%d names contain it, %s; griffin inspect --all %s lists them", len(within), someOf(within), ckpt.Path)
	case near != "" || len(within) == 1:
		return nil, err.advise("did you mean %q?", append(within, near)[0])
	}
	return nil, err.advise("griffin inspect %s lists the names", ckpt.Path)
}

// someOf returns names of tensors in natural order, or the first of many.
func someOf(all []string) string {
	const most = 8
	slices.SortFunc(all, tensor.CompareNames)
	if len(all) > most {
		return "such as " + strings.Join(all[:most/2], ", ")
	}
	return strings.Join(all, ", ")
}
