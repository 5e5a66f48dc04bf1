package main

import (
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/run"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "check that two checkpoints are the same model, or that a model computes what was recorded",
		UsageText: "griffin verify [flags] SRC CONVERTED\n   griffin verify [flags] CKPT --golden FILE\n   griffin verify [flags] SRC CONVERTED --golden FILE\n   griffin verify [flags] --explain-runtime CKPT",
		Description: "CONVERTED is compared with SRC, the checkpoint that it was converted from. Both may have any format and\n" +
			"layout. --step and --model choose in SRC. These are checked:\n\n" +
			"  structure      names, shapes and dtypes of all tensors\n" +
			"  configuration  every field of config.json, and what conversion.json states\n" +
			"  weights        every element, bit for bit; if the dtype changed, against correct rounding\n" +
			"  quantised      what a quantised copy is, and how far each matrix had to be from SRC; never the same model\n" +
			"  logits         with --golden: what the model computes, against a recorded fixture\n\n" +
			"With --weights-only, structure and weights alone decide. It needs no settings.\n\n" +
			"Exit status: 0 the same model (with --weights-only: the same weights), 1 not the same model, or\n" +
			"not proven because of the settings that were given, of files that disagree or of the fixture, or\n" +
			"the same model beside a conversion.json that does not describe it; others as for all commands. A\n" +
			"page that fails while it is written, as on a full disk, does not change it.\n\n" +
			"Examples:\n\n" +
			"  griffin verify 2b-it.pt recurrentgemma-2b-it\n" +
			"  griffin verify --all-steps runs/train out                       # as griffin convert --all-steps wrote them\n" +
			"  griffin verify --weights-only runs/train recurrentgemma-mine --step 40000\n" +
			"  griffin verify recurrentgemma-2b-it back.pt                     # from Hugging Face back to the original\n" +
			"  griffin verify 2b-it.pt --golden jax.safetensors\n" +
			"  griffin verify 2b-it.pt recurrentgemma-2b-it --golden jax.safetensors --report report.html --card card.json\n" +
			"  griffin verify --explain-runtime recurrentgemma-2b-it\n" +
			"  griffin verify mine.pt out --attention-window 1024 --logits-soft-cap 30 --embedding-scale=true",
		Flags: append(settingsFlags(), append(verdictFlags(),
			&cli.StringFlag{Name: "golden", Usage: "compare logits and hidden states with the fixture `FILE` (see griffin golden)"},
			&cli.BoolFlag{Name: "weights-only", Usage: "compare only structure and weights, not the configuration, and need no settings"},
			&cli.StringFlag{Name: "runtime", Value: runtime.Transformers5.Name, Usage: "report where a Hugging Face directory that `RUNTIME` runs diverges from the original: " + strings.Join(runtime.Names(), ", ")},
			&cli.BoolFlag{Name: "explain-runtime", Usage: "only print what each runtime computes with one checkpoint, or with the directory that convert makes of an original, by length of the prompt, cache and packed rows"},
			&cli.StringFlag{Name: "semantics", DefaultText: "the implementation that recorded the fixture", Usage: "with --golden: compute what `IMPLEMENTATION` computes, where implementations differ: " + strings.Join(reference.SemanticsNames[:], ", ")},
			digestFlag("write the digests of --card, --report and --json"),
			stepFlag(),
			allStepsFlag("verify every step of the training run SRC against the result of that step in CONVERTED"),
			taskFlag(),
			weightsFlag(),
			skipFlag(),
			modelFlag(),
			&cli.StringFlag{Name: "adapter", Usage: "merge the PEFT adapter in `DIR` into SRC before comparing"},
			partialFlag(),
			jsonFlag(),
		)...),
		OnUsageError: onUsageError,
		Action:       runVerify,
	}
}

func runVerify(c *cli.Context) error {
	if err := checkStepsFlags(c, "golden", "report", "card", "explain-runtime"); err != nil {
		return err
	}
	if err := refuseBeside(c, "weights-only", "it compares only structure and weights", "golden", "runtime"); err != nil {
		return err
	}
	if c.Bool("explain-runtime") {
		if err := refuseBeside(c, "explain-runtime", "it only prints what runtimes compute with one checkpoint", "golden", "semantics", "report", "card", "digest", "adapter", "partial-adapter", "weights-only"); err != nil {
			return err
		}
		return explainRuntime(c)
	}
	o, err := verifyOptions(c)
	if err != nil {
		return err
	}
	if err := checkVerdictFiles(c); err != nil {
		return err
	}
	if c.Bool("all-steps") {
		return verifySteps(c, o)
	}
	verdict, err := verdictOf(c, o)
	if err != nil {
		return err
	}
	if err := printVerdict(c, verdict); err != nil {
		return err
	}
	writeVerdictFiles(c, verdict)
	if !verdict.Same {
		return errDifferent
	}
	return nil
}

// verdictOf opens the checkpoints and verifies them.
func verdictOf(c *cli.Context, o verify.Options) (*verify.Verdict, error) {
	source, err := openSource(c, c.Args().Get(0))
	if err != nil {
		return nil, err
	}
	defer source.Close()
	var converted *tensor.Checkpoint
	if c.NArg() == 2 {
		if converted, err = openOther(c, c.Args().Get(1)); err != nil {
			return nil, err
		}
		defer converted.Close()
	}
	return verdictBetween(c, o, source, converted)
}

// verdictBetween verifies checkpoints that are open. converted may be nil.
func verdictBetween(c *cli.Context, o verify.Options, source, converted *tensor.Checkpoint) (*verify.Verdict, error) {
	var err error
	if o.Adapter, err = openAdapter(c); err != nil {
		return nil, err
	}
	if o.Adapter != nil {
		defer o.Adapter.Close()
	}
	if o.Golden == "" {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(listLimit))
	} else {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(forwardHeapLimit))
	}
	var bar stages
	defer bar.done()
	o.Progress = func(stage string, done, total int64) { bar.set(c.App.ErrWriter, stage, done, total) }
	v, err := verify.Verify(c.Context, source, converted, o)
	if bad := (*tensor.FormatError)(nil); errors.As(err, &bad) && converted != nil && bad.File == converted.Path && (c.IsSet("model") || source.Path != converted.Path) {
		err = ofOther(err)
	}
	return v, err
}

// verifyOptions returns the options that the paths and flags give.
func verifyOptions(c *cli.Context) (verify.Options, error) {
	o := verify.Options{Settings: settings(c), Golden: c.String("golden"), WeightsOnly: c.Bool("weights-only"), Model: c.String("model"), PartialAdapter: c.Bool("partial-adapter"), Facts: writesVerdictFiles(c)}
	const advice = "griffin verify --help shows examples"
	one := c.NArg() == 1
	switch {
	case c.NArg() != 1 && c.NArg() != 2:
		return o, wrongPaths(c, "verify takes a source and its conversion").advise(advice)
	case one && o.Golden == "" && c.IsSet("runtime"):
		return o, usagef("--runtime needs a source and its conversion, got 1 path").
			advise("griffin verify --explain-runtime --runtime %s %s shows what it computes with one checkpoint", c.String("runtime"), c.Args().First())
	case one && c.IsSet("runtime"):
		return o, usagef("--runtime needs a source and its conversion, got 1 path").
			advise("--semantics %s compares the checkpoint with the fixture as that runtime computes it", c.String("runtime"))
	case one && o.Golden == "":
		return o, usagef("verify takes a source and its conversion, got 1 path").advise("add --golden FILE to compare one checkpoint with a fixture")
	case one && o.WeightsOnly:
		return o, usagef("--weights-only needs a source and its conversion, got 1 path").advise(advice)
	}
	var err error
	if c.IsSet("runtime") {
		if o.Runtime, err = runtime.Parse(c.String("runtime")); err != nil {
			return o, usagef("--runtime: %v", err)
		}
	}
	if o.Semantics, err = semanticsOption(c); err != nil {
		return o, err
	}
	if o.Digest, err = digestOption(c); err != nil {
		return o, err
	}
	if o.Semantics != nil && o.Golden == "" {
		return o, usagef("--semantics needs --golden").advise("add --golden FILE")
	}
	return o, nil
}

// printVerdict prints a verdict, and if --runtime is set what the runtime computes.
func printVerdict(c *cli.Context, v *verify.Verdict) error {
	if !c.Bool("json") && !c.Bool("quiet") {
		hintVerdict(c, v)
	}
	if c.Bool("json") && !c.Bool("all-steps") {
		return printJSON(c.App.Writer, schemaVerdict, v)
	}
	err := printOutcomes(c.App.Writer, func(w io.Writer) error { return verify.WriteText(w, v, "--json") })
	if err != nil || v.Runtime == nil || !c.IsSet("runtime") {
		return err
	}
	facts := slices.DeleteFunc(slices.Clone(v.Runtime.Facts), func(f runtime.Fact) bool { return f.Runtime != v.Runtime.Runtime })
	fmt.Fprintln(c.App.Writer)
	return printFacts(c.App.Writer, facts)
}

// givenFlag is the flag that gave a setting.
func givenFlag(c *cli.Context, setting, value string) string {
	flag := strings.ReplaceAll(setting, "_", "-")
	if !c.IsSet(flag) {
		return "--preset " + c.String("preset")
	}
	return fmt.Sprintf("--%s=%s", flag, value)
}

// hintVerdict says what to do about a verdict.
func hintVerdict(c *cli.Context, v *verify.Verdict) {
	hints := slices.Concat(checkpointHints(c, v), recordingHints(c, v), configHints(c, v))
	for _, stale := range verify.StaleRecords(v) {
		todo := "convert again to write a conversion.json that is right"
		if stale.OfSource {
			todo = "remove the conversion.json of the source, or put that of its own conversion in its place"
		}
		hints = append(hints, "the models are the same: "+todo)
	}
	slices.Sort(hints)
	for _, hint := range slices.Compact(hints) {
		fmt.Fprintln(c.App.ErrWriter, "hint: "+text.Printable(hint))
	}
}

// checkpointHints say which other checkpoint or step may be meant, or what to make of this one.
func checkpointHints(c *cli.Context, v *verify.Verdict) (hints []string) {
	if v.MissingAdapter != "" && !v.Same {
		hints = append(hints, fmt.Sprintf("if the source is the model before the adapter (%s) was merged, --adapter DIR merges it before comparing", text.Printable(v.MissingAdapter)))
	}
	switch {
	case v.Converted != nil && !v.Structure.OK && formats.IsShard(path.Base(v.Converted.Path)):
		hints = append(hints, "the conversion is one of several files of a checkpoint: give the directory that holds them")
	case verify.OnlyMisnamed(v):
		hints = append(hints, fmt.Sprintf("griffin convert %s NEW writes a directory with the names that transformers finds", c.Args().Get(c.NArg()-1)))
	case v.Part != "":
		hints = append(hints, "griffin diff --only PATTERN compares the tensors that match the pattern, and asks for no others")
	}
	if hint := stepHint(c, v); hint != "" {
		hints = append(hints, hint)
	}
	return hints
}

// recordingHints name the flags that the recording contradicts.
func recordingHints(c *cli.Context, v *verify.Verdict) (hints []string) {
	for _, l := range v.Logits {
		for _, f := range l.Faults {
			s := f.Setting
			if s == nil || !s.Given {
				continue
			}
			given, recorded := givenFlag(c, string(s.Name), s.Value), s.Made()
			if strings.HasPrefix(given, "--preset") {
				recorded = "with another " + inWords(string(s.Name)) + ", " + s.Recorded
			}
			hints = append(hints, fmt.Sprintf("%s is given, but the recording was made %s", given, recorded))
		}
	}
	return hints
}

// configHints name the flags that the conversion contradicts, or that decide between its files.
func configHints(c *cli.Context, v *verify.Verdict) (hints []string) {
	if v.Config == nil {
		return nil
	}
	for _, f := range v.Config.Findings.All() {
		switch flag := strings.ReplaceAll(f.Field, "_", "-"); {
		case f.Kind == verify.GivenSetting:
			has := map[bool]string{true: "was made with", false: "has"}[f.Of == "recording"]
			hints = append(hints, fmt.Sprintf("%s is given, but the %s %s %s", givenFlag(c, f.Field, f.Got), f.Of, has, f.Want))
		case f.Kind == verify.OpenSetting && f.Of == "source":
			hints = append(hints, fmt.Sprintf("if the original has %s %s, give --%s %s", inWords(f.Field), f.Want, flag, f.Want))
		case f.Kind == verify.OpenSetting:
			hints = append(hints, fmt.Sprintf("give the %s of the source: --%s=%s or --%s=%s", inWords(f.Field), flag, f.Got, flag, f.Want))
		}
		if _, name, ok := strings.Cut(f.Field, "conversion.json: settings."); ok && v.Settings != nil && slices.Contains(v.Settings.Recorded, name) {
			hints = append(hints, fmt.Sprintf("only the conversion.json beside the source has %s %s; if that is wrong, give --%s=%s", inWords(name), f.Want, strings.ReplaceAll(name, "_", "-"), f.Got))
		}
	}
	return hints
}

// inWords is the name of a setting in a sentence.
func inWords(name string) string { return strings.ReplaceAll(name, "_", " ") }

// stepHint says how to choose the step of the source that was converted, if the weights are not those of the one that was taken; "" if no other one
// is known.
func stepHint(c *cli.Context, v *verify.Verdict) string {
	if v.Source == nil || v.Source.Step == "" || v.Weights == nil || v.Weights.OK || c.Bool("all-steps") {
		return ""
	}
	all, err := run.Open(c.Args().First())
	if err != nil {
		return ""
	}
	for _, s := range all.Steps {
		step := strconv.FormatInt(s.Number, 10)
		if made := v.Made; made == nil || s.Name != made.Name && step != made.Step {
			continue
		}
		if step == v.Source.Step {
			return ""
		}
		return fmt.Sprintf("--step %s takes the step that was converted, as conversion.json records", step)
	}
	if c.IsSet("step") || len(all.Steps) == 1 {
		return ""
	}
	return fmt.Sprintf("without --step, step %s was taken; --step N takes another", v.Source.Step)
}

// verdictFiles are the files that verify writes, by flag.
var verdictFiles = []struct {
	flag  string
	write func(path string, v *verify.Verdict, command []string) error
}{
	{"report", func(path string, v *verify.Verdict, command []string) error {
		return report.WriteVerdict(path, v, origin())
	}},
	{"card", report.WriteCard},
}

func verdictFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "report", Usage: "write an HTML page with plots to `FILE`"},
		&cli.StringFlag{Name: "card", Usage: "write the verification card, a JSON record to publish beside the model, to `FILE`"},
	}
}

// checkVerdictFiles refuses files that cannot be written, before anything is read.
func checkVerdictFiles(c *cli.Context) error {
	for _, f := range verdictFiles {
		if err := checkOutputFlag(c, f.flag); err != nil {
			return err
		}
	}
	if r := c.String("report"); r != "" && filepath.Clean(r) == filepath.Clean(c.String("card")) {
		return usagef("--report and --card name the same file")
	}
	return nil
}

// writesVerdictFiles reports whether verify is to write any files.
func writesVerdictFiles(c *cli.Context) bool {
	return c.String("report") != "" || c.String("card") != ""
}

// writeVerdictFiles writes the files that the flags name, whatever the verdict is.
func writeVerdictFiles(c *cli.Context, v *verify.Verdict) {
	for _, f := range verdictFiles {
		if path := c.String(f.flag); path != "" {
			reportUnwritten(c, f.flag, f.write(path, v, commandLine()), v.Same)
		}
	}
}

// reportUnwritten prints why a page of a verdict that is printed already could not be written. The exit status stays that of
// the verdict.
func reportUnwritten(c *cli.Context, flag string, err error, same bool) {
	if err == nil {
		return
	}
	f := failureOf(err)
	f.Error = "--" + flag + ": " + f.Error
	f.ExitStatus = exitOK
	if !same {
		f.ExitStatus = exitDiffers
	}
	f.show(c.App.ErrWriter, c.Bool("json"))
}

// explainRuntime prints what each runtime computes with a model. It reads no weights but those of an
// output head.
func explainRuntime(c *cli.Context) error {
	if c.NArg() != 1 {
		return wrongPaths(c, "--explain-runtime takes one checkpoint")
	}
	m, err := openModel(c, c.Args().First())
	if err != nil {
		return err
	}
	defer m.Checkpoint.Close()
	if err := m.CheckHead(c.Context); err != nil {
		return err
	}
	explained, err := m.Explain()
	if err != nil {
		return err
	}
	if c.IsSet("runtime") {
		if _, err := runtime.Parse(c.String("runtime")); err != nil {
			return usagef("--runtime: %v", err)
		}
		explained = slices.DeleteFunc(explained, func(e runtime.Explanation) bool { return e.Runtime != c.String("runtime") })
	}
	unnamed, err := runtime.NamesNotFound(m.Found)
	if err != nil {
		return err
	}
	ofConversion := m.Found.Layout != model.HuggingFace && unnamed == ""
	if c.Bool("json") {
		return printJSON(c.App.Writer, schemaRuntimes, explanations{explained, ofConversion})
	}
	if ofConversion {
		fmt.Fprintf(c.App.Writer, "%s is an original, which transformers, mlx-lm and candle do not load: the tables are of the Hugging Face directory that griffin convert makes of it\n\n",
			text.Printable(storage.WithoutQuery(m.Checkpoint.Path)))
	}
	if w := m.Window(); w != nil {
		fmt.Fprintf(c.App.Writer, "%s\n\n", w.Summary)
	} else if m.WindowDoubt != "" {
		fmt.Fprintf(c.App.Writer, "%s\n\n", withWindowFlag(m.WindowDoubt))
	}
	if err := printExplanations(c.App.Writer, explained); err != nil {
		return err
	}
	if err := printFacts(c.App.Writer, runtime.Facts(explained)); err != nil {
		return err
	}
	var able []string // runtimes that a larger window helps
	for _, e := range explained {
		if e.Loads && !e.NotCompared && (e.Runtime == runtime.Transformers5.Name || e.Runtime == runtime.MLX.Name) {
			able = append(able, e.Runtime)
		}
	}
	if w := m.Original.AttentionWindow; m.Quantized == nil && m.Config.Has(model.Attention) && m.Config.AttentionWindow == w && len(able) > 0 {
		verb, condition := "attends", ""
		if len(able) > 1 {
			verb = "attend"
		}
		if m.WindowDoubt != "" {
			condition = fmt.Sprintf("if %d is the original's attention window, ", w)
		}
		fmt.Fprintf(c.App.Writer, "\n%sgriffin convert --match-runtime transformers5 writes attention_window_size %d, with which %s %s to the same tokens as the original\n", condition, w+1, strings.Join(able, " and "), verb)
	}
	return nil
}

// printExplanations prints a table of whether runtimes load a directory, and where and why they compute something else.
func printExplanations(to io.Writer, all []runtime.Explanation) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUNTIME\tLOADS\tDIVERGES\tWHY")
	for _, e := range all {
		loads, diverges := "yes", "never"
		switch {
		case !e.Loads:
			loads, diverges = "no", "-"
		case e.NotCompared:
			diverges = "not compared"
		case e.DivergesAt != nil:
			diverges = fmt.Sprintf("from position %d on", *e.DivergesAt)
		}
		why := "-"
		if len(e.Reasons) > 0 {
			why = text.Printable(strings.Join(e.Reasons, "; "))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Runtime, loads, diverges, why)
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// printFacts prints a table of facts.
func printFacts(to io.Writer, facts []runtime.Fact) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUNTIME\tPROMPT\tCACHE\tAS THE ORIGINAL\tWHAT IT DOES")
	for _, f := range facts {
		same := "no"
		if f.AsOrig {
			same = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.Runtime, f.Prompt, f.Cache, same, f.Does)
	}
	return w.Flush()
}
