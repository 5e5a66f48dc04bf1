package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/run"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/diff"
)

func allStepsFlag(usage string) cli.Flag {
	return &cli.BoolFlag{Name: "all-steps", Usage: usage}
}

func taskFlag() cli.Flag {
	return &cli.StringFlag{Name: "task", DefaultText: "all steps", Usage: "with --all-steps: work on the share of `TASK`: I/N (I from 0), auto in a Slurm array, auto/N also in an Indexed Job of Kubernetes with N completions"}
}

// checkStepsFlags refuses --task without --all-steps, and with --all-steps the flags that are for one checkpoint.
func checkStepsFlags(c *cli.Context, single ...string) error {
	if !c.Bool("all-steps") && !c.IsSet("against-step") {
		if c.IsSet("task") {
			return usagef("--task needs --all-steps").advise("add --all-steps to share the steps of a training run among tasks")
		}
		return nil
	}
	all := "all-steps"
	if c.IsSet("against-step") {
		all = "against-step"
	}
	for _, flag := range append(single, "step") {
		if c.IsSet(flag) {
			return usagef("--%s is for one result, and --%s has one for each step of a run", flag, all).advise("leave one of them out")
		}
	}
	return nil
}

// taskHints say how to name a task.
var taskHints = map[run.TaskReason]string{
	run.TaskMalformed:  "--task takes I/N with I from 0 to N-1, auto in a Slurm array, or auto/N",
	run.TaskNoArray:    "auto is for the tasks of sbatch --array=0-19; elsewhere name the task: --task I/N",
	run.TaskNoIndex:    "auto/N is for the tasks of a Slurm array and for the pods of a Job with completionMode: Indexed; elsewhere name the task: --task I/N",
	run.TaskNeedsCount: "write --task auto/N, where N is the completions of the Job",
	run.TaskGaps:       "give the array indices without gaps, such as --array=0-19, or name the task: --task I/N",
	run.TaskVariable:   "name the task: --task I/N",
}

// openSteps opens the run at a path and returns the steps of the task that --task names.
func openSteps(c *cli.Context, path string) (*run.Run, []formats.Step, error) {
	var task run.Task
	var err error
	if c.IsSet("task") {
		if task, err = run.ParseTask(c.String("task"), os.LookupEnv); err != nil {
			return nil, nil, fmt.Errorf("--%w", err) // "task 2/2: …"
		}
	}
	if err := checkInputs(c); err != nil {
		return nil, nil, err
	}
	r, err := run.Open(path)
	if err != nil {
		return nil, nil, err
	}
	noteUnfinished(c, r)
	return r, task.Share(r.Steps), nil
}

// noteUnfinished names the steps that are left out because they count as being written, those of one reason in a line.
func noteUnfinished(c *cli.Context, r *run.Run) {
	names := map[string][]string{}
	for _, s := range r.Unfinished {
		names[s.Unfinished] = append(names[s.Unfinished], text.Printable(s.Name))
	}
	for _, reason := range slices.Sorted(maps.Keys(names)) {
		these := "step " + names[reason][0] + " is"
		if len(names[reason]) > 1 {
			these = "steps " + tensor.JoinNames(names[reason]) + " are"
		}
		note(c, "%s: %s left out: %s", storage.WithoutQuery(r.Path), these, reason)
	}
}

// stepResult is what a command has to say about a step.
type stepResult struct {
	status  string                   // what was done: "converted"
	kind    string                   // status with what it allowed, for the summary: "converted, not exact"; "" for status
	verdict string                   // of a comparison, as it is printed
	value   any                      // for JSON: a document, or nil
	print   func(to io.Writer) error // as text
	unlike  bool                     // the result is printed, and the step counts as different
}

// stepLine is the JSON form of the result of a step. One line is printed for each.
type stepLine struct {
	Step       string `json:"step"`             // name
	Number     *int64 `json:"number,omitempty"` // nil if the name has none
	Status     string `json:"status"`
	Verdict    string `json:"verdict,omitempty"` // of verify and diff: Status with what it allowed
	Error      string `json:"error,omitempty"`
	Hint       string `json:"hint,omitempty"`
	ExitStatus int    `json:"exit_status"`
	Result     any    `json:"result,omitempty"`
}

// eachStep does one thing for each step and prints its result. It goes on after steps that fail.
func eachStep(c *cli.Context, steps []formats.Step, do func(formats.Step) (*stepResult, error)) error {
	out := &lines{w: c.App.Writer}
	did := statusCounts{n: map[string]int{}}
	printLine := func(s formats.Step, line stepLine) {
		line.Step = s.Name
		if s.Number >= 0 {
			line.Number = &s.Number
		}
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		_ = e.Encode(document{schemaStep, line}) // out keeps the error
	}
	differs := false
	err := run.Each(c.Context, steps, func(s formats.Step) error {
		r, err := do(s)
		if err != nil {
			return ofPathFlag(c, err)
		}
		did.add(cmp.Or(r.kind, r.status))
		status := exitOK
		if r.unlike {
			differs, status = true, exitDiffers
		}
		if c.Bool("json") {
			printLine(s, stepLine{Status: r.status, Verdict: r.verdict, Result: r.value, ExitStatus: status})
			return out.err
		}
		out.printf("step %s\n", text.Printable(s.Name))
		if err := r.print(out); err != nil {
			return err
		}
		out.printf("\n")
		return nil
	}, func(s formats.Step, err error) {
		did.add("failed")
		reportError(c.App.ErrWriter, fmt.Errorf("step %s: %w", s.Name, err), c.Bool("json"))
		if c.Bool("json") {
			printLine(s, stepLine{Status: "failed", Error: message(err), Hint: hintOf(err), ExitStatus: exitCode(err)})
		}
	})
	if !c.Bool("json") {
		out.printf("%s: %s\n", text.Count(int64(len(steps)), "step"), did.summary(len(steps)))
	}
	if err == nil && out.err == nil && differs {
		return errDifferent
	}
	return errors.Join(err, out.err)
}

// statusCounts counts what was done with steps.
type statusCounts struct {
	order []string // each status when it came first
	n     map[string]int
}

func (did *statusCounts) add(status string) {
	if did.n[status] == 0 {
		did.order = append(did.order, status)
	}
	did.n[status]++
}

// summary lists them with their numbers, unless there is one step.
func (did *statusCounts) summary(steps int) string {
	var parts []string
	for _, status := range did.order {
		parts = append(parts, fmt.Sprintf("%d %s", did.n[status], status))
	}
	if steps == 1 {
		parts = did.order
	}
	comma := ", "
	if slices.ContainsFunc(parts, func(part string) bool { return strings.ContainsAny(part, ",;") }) {
		comma = "; "
	}
	return strings.Join(append(parts, none(steps)...), comma)
}

// none explains a summary of no steps.
func none(steps int) []string {
	if steps > 0 {
		return nil
	}
	return []string{"the run has fewer steps than there are tasks"}
}

// exitCodeOfSteps returns the highest exit status of the steps that failed.
func exitCodeOfSteps(err error) int {
	code := exitOK
	var failed *run.Error
	if errors.As(err, &failed) {
		for _, f := range failed.Failed {
			code = max(code, exitCode(f.Err))
		}
	}
	return code
}

// convertSteps converts the steps of a run.
func convertSteps(c *cli.Context, o convert.Options) error {
	from, err := openOptions(c)
	if err != nil {
		return err
	}
	r, steps, err := openSteps(c, c.Args().Get(0))
	if err != nil {
		return err
	}
	out := c.Args().Get(1)
	return eachStep(c, steps, func(s formats.Step) (*stepResult, error) {
		var bar stages
		o.Progress = func(done, total int64) { bar.set(c.App.ErrWriter, "converting "+s.Name, done, total) }
		result, err := r.Convert(c.Context, s, out, from, o)
		bar.done()
		if err != nil {
			return nil, err
		}
		if result == nil {
			return &stepResult{status: "complete already", print: func(to io.Writer) error {
				_, err := fmt.Fprintf(to, "%s is there and complete\n", text.Printable(storage.WithoutQuery(run.Destination(out, s, o.To))))
				return err
			}}, nil
		}
		status := "converted"
		if o.DryRun {
			status = "to convert"
		}
		return &stepResult{status: status, kind: status + lost(result), value: document{schemaConversion, result}, print: func(to io.Writer) error { return printConversion(to, result) }}, nil
	})
}

// lost says what of a model a conversion could not keep, as its notes do in detail: ", not exact, elements became infinite"; "" if nothing was lost.
func lost(r *convert.Result) string {
	text := ""
	if r.HF != nil && len(r.HF.Inexact) > 0 {
		text += ", not exact"
	}
	if r.Overflowed > 0 {
		text += ", elements became infinite"
	}
	return text
}

// inspectSteps shows the steps of a run.
func inspectSteps(c *cli.Context) error {
	o, err := openOptions(c)
	if err != nil {
		return err
	}
	r, steps, err := openSteps(c, c.Args().First())
	if err != nil {
		return err
	}
	return eachStep(c, steps, func(s formats.Step) (*stepResult, error) {
		ckpt, err := r.Checkpoint(s, o)
		if err != nil {
			return nil, err
		}
		defer ckpt.Close()
		shown, err := inspect(c, ckpt)
		if err != nil {
			return nil, err
		}
		return &stepResult{status: "read", value: document{schemaInspection, shown}, print: func(to io.Writer) error { return shown.print(to, inspectionFormOf(c)) }}, nil
	})
}

// verifySteps verifies the steps of a run against their conversions.
func verifySteps(c *cli.Context, o verify.Options) error {
	if c.NArg() != 2 {
		return wrongPaths(c, "verify --all-steps takes a run and its conversions")
	}
	from, err := openOptions(c)
	if err != nil {
		return err
	}
	r, steps, err := openSteps(c, c.Args().Get(0))
	if err != nil {
		return err
	}
	conversions, err := run.Open(c.Args().Get(1))
	if err != nil {
		return err
	}
	for _, s := range conversions.Steps {
		if _, ok := r.Pair(s); !ok {
			note(c, "%s has step %s, and %s has none", storage.WithoutQuery(conversions.Path), s.Name, storage.WithoutQuery(r.Path))
		}
	}
	return eachStep(c, steps, func(s formats.Step) (*stepResult, error) {
		source, err := r.Checkpoint(s, from)
		if err != nil {
			return nil, err
		}
		defer source.Close()
		pair, ok := conversions.Pair(s)
		if !ok {
			return &stepResult{status: "without a conversion", unlike: true, print: func(to io.Writer) error {
				_, err := fmt.Fprintf(to, "%s has no conversion of it\n", text.Printable(storage.WithoutQuery(conversions.Path)))
				return err
			}}, nil
		}
		converted, err := conversions.Checkpoint(pair, formats.Options{SkipUnreadable: c.Bool("skip-unreadable")})
		if err != nil {
			return nil, err
		}
		defer converted.Close()
		v, err := verdictBetween(c, o, source, converted)
		if err != nil {
			return nil, err
		}
		status := "the same model"
		if v.WeightsOnly {
			status = "the same weights"
		}
		if v.Unproven != "" {
			status = "not proven"
		} else if !v.Same && verify.StaleRecords(v) == nil {
			status = "not the same model"
		}
		return &stepResult{status: status, kind: verify.KindOf(v), verdict: v.Verdict, value: document{schemaVerdict, v}, print: func(io.Writer) error { return printVerdict(c, v) }, unlike: !v.Same}, nil
	})
}

// diffSteps compares one step of a run with the others.
func diffSteps(c *cli.Context) error {
	if err := checkStepsFlags(c, "report", "step-b"); err != nil {
		return err
	}
	if c.NArg() != 1 {
		return wrongPaths(c, "--all-steps and --against-step compare the steps of one training run with each other").
			advise("griffin diff RUN --against-step N compares every step with one of them; griffin diff A RUN --step-b N compares another checkpoint with one step")
	}
	if !c.IsSet("against-step") {
		return usagef("--all-steps needs --against-step").advise("add --against-step N, the step that all others are compared with")
	}
	n, err := stepOption(c, "against-step")
	if err != nil {
		return err
	}
	o, err := diffOptions(c)
	if err != nil {
		return err
	}
	from, err := openOptions(c)
	if err != nil {
		return err
	}
	r, steps, err := openSteps(c, c.Args().First())
	if err != nil && !c.Bool("all-steps") {
		err = ofFlag("against-step", err)
	}
	if err != nil {
		return err
	}
	against, err := r.Numbered(*n)
	if err != nil {
		return ofFlag("against-step", err)
	}
	var others []formats.Step
	for _, s := range steps {
		if s.Name != against.Name {
			others = append(others, s)
		}
	}
	a, err := r.Checkpoint(against, from)
	if err != nil {
		return err
	}
	defer a.Close()
	if !slices.ContainsFunc(r.Steps, func(s formats.Step) bool { return s.Name != against.Name }) {
		return usagef("--against-step: %s: has no other step than %s", storage.WithoutQuery(r.Path), against.Name).advise("wait for another step of the run, or compare two checkpoints: griffin diff A B")
	}
	return eachStep(c, others, func(s formats.Step) (*stepResult, error) {
		b, err := r.Checkpoint(s, from)
		if err != nil {
			return nil, err
		}
		defer b.Close()
		result, err := diffBetween(c, a, b, o)
		if err != nil {
			return nil, err
		}
		return diffResult(result), nil
	})
}

// diffResult is what diff has to say about a step.
func diffResult(result *diff.Result) *stepResult {
	status := "equal"
	if !result.Equal {
		status = "different"
	}
	return &stepResult{status: status, kind: result.Kind(), verdict: result.Verdict, value: document{schemaDifference, result}, print: func(to io.Writer) error { return printDiff(to, result) }, unlike: !result.Equal}
}
