package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/terminal"
	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/perplexity"
	"github.com/griffin-ckpt/griffin/reference/tokenizer"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

func perplexityCommand() *cli.Command {
	return &cli.Command{
		Name:      "perplexity",
		Usage:     "measure how well a model predicts a text, or how far the predictions of two models are apart",
		UsageText: "griffin perplexity [flags] CKPT --text FILE\n   griffin perplexity [flags] CKPT CKPT --text FILE\n   griffin perplexity [flags] CKPT --tokens FILE.safetensors",
		Description: "Prints the mean negative log-likelihood of a predicted token, in nats, and its exponential. A text may have any\n" +
			"length. The token that begins a text (<bos>) is put before it. Rows of --tokens are taken as they are; each row\n" +
			"starts from an empty state.\n\n" +
			"Two checkpoints are scored side by side: a source and its conversion, a base and its fine-tune. KL is the mean\n" +
			"Kullback-Leibler divergence of the second from the first, top-1 the share of tokens for which both have the same\n" +
			"most likely one. --step and --model apply to the first, and settings to those whose config.json states no others. --fast takes 0.6 of the time; its error is in reference/FAST.md.\n\n" +
			"Examples:\n\n" +
			"  griffin perplexity recurrentgemma-2b --text book.txt\n" +
			"  griffin perplexity 2b.pt recurrentgemma-2b --text book.txt --report page.html\n" +
			"  griffin perplexity 2b.pt recurrentgemma-2b --semantics original --tokens rows.safetensors --json",
		Flags: append(settingsFlags(),
			&cli.StringFlag{Name: "text", Usage: "score the text in `FILE`, or standard input for -"},
			tokensFlag(""),
			tokenizerFlag(),
			&cli.StringFlag{Name: "report", Usage: "write an HTML page with plots to `FILE`"},
			arithmeticFlag(),
			fastFlag(),
			semanticsFlag(),
			stepFlag(),
			weightsFlag(),
			skipFlag(),
			modelFlag(),
			jsonFlag(),
		),
		OnUsageError: onUsageError,
		Action:       runPerplexity,
	}
}

// score is what perplexity prints as JSON. The values of the first checkpoint are repeated at the top.
type score struct {
	Tokens      int                `json:"tokens"`
	Predicted   int                `json:"predicted"`
	Rows        int                `json:"rows"`
	Added       []string           `json:"added"`  // pieces that were put before the text
	Digest      string             `json:"digest"` // of the text, or of the tokens of all rows as int32, little-endian
	NLL         float64            `json:"nll"`    // nats a predicted token
	Perplexity  float64            `json:"perplexity"`
	Arithmetic  string             `json:"arithmetic"`
	Checkpoints []scoredCheckpoint `json:"checkpoints"`
	Comparison  *comparedScores    `json:"comparison,omitempty"`
}

type scoredCheckpoint struct {
	Path      string `json:"path"`
	Step      string `json:"step,omitempty"`      // of a training run, if one was selected or found in the directory Path
	Quantized string `json:"quantized,omitempty"` // what a quantised copy is, which is run dequantised
	Semantics string `json:"semantics"`

	Settings    runtime.Settings `json:"settings"`               // with which it was run, in the terms of the semantics
	OwnSettings bool             `json:"own_settings,omitempty"` // they are those of its config.json, which contradicts those that are given

	NLL        float64 `json:"nll"`
	Perplexity float64 `json:"perplexity"`

	BeyondOriginal []string `json:"beyond_original,omitempty"` // what the original, whose semantics it is run with, does not compute, a phrase each
}

// comparedScores compares the predictions of two checkpoints.
type comparedScores struct {
	KL            float64  `json:"kl"`             // of the second from the first, nats a predicted token
	Top1Agreement float64  `json:"top1_agreement"` // share of predicted tokens
	Parted        int      `json:"parted"`         // predicted tokens with different most likely ones
	Partings      []parted `json:"partings"`       // the first of them
	SettingsApart []string `json:"settings_apart"` // settings that are not the same in both runs, with both values, a phrase each

	before bool // they differ at positions at which nothing that the two are run with makes a difference
}

type parted struct {
	Row         int        `json:"row"`
	Position    int        `json:"position"` // of the predicted token in its row
	Token       int32      `json:"token"`    // the token itself
	Top         [2]int32   `json:"top"`      // the most likely token of each checkpoint
	Probability [2]float64 `json:"probability"`
	KL          float64    `json:"kl"`
	Text        *[3]string `json:"text,omitempty"` // the pieces of token and top
}

func runPerplexity(c *cli.Context) error {
	switch {
	case c.NArg() != 1 && c.NArg() != 2:
		return wrongPaths(c, "perplexity takes one checkpoint or two").advise("--text names the file with the text; griffin perplexity --help shows examples")
	case c.IsSet("text") && c.IsSet("tokens"):
		return usagef("--text and --tokens cannot be combined").advise("leave out one of them")
	case !c.IsSet("text") && !c.IsSet("tokens"):
		return usagef("perplexity needs a text").advise("give either --text FILE or --tokens FILE.safetensors")
	}
	if err := checkOutputFlag(c, "report"); err != nil {
		return err
	}
	precision, err := precisionOption(c)
	if err != nil {
		return err
	}
	p := scoring{c: c, out: score{Added: []string{}, Arithmetic: precision.String()}}
	defer p.close()
	if err := p.open(precision); err != nil {
		return err
	}
	// Activations and logits of many tokens are held at once.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(forwardHeapLimit))
	if c.IsSet("text") {
		err = p.text(c.String("text"))
	} else {
		err = p.tokens(c.String("tokens"))
	}
	if bad := (*perplexity.NotFiniteError)(nil); errors.As(err, &bad) {
		return tensor.Annotate(err, tensor.Location{File: c.Args().Get(bad.Model)})
	}
	if err != nil {
		return err
	}
	for _, m := range p.models {
		if err := storage.Unchanged(m.Checkpoint.Source); err != nil {
			return err
		}
	}
	return p.report()
}

// openScored opens the i-th checkpoint and the model in it. --step, --model and the other choices of a checkpoint are those of the first. One
// of two that states settings of its own is opened with these; own says how those that are given contradict them, nil if they do not.
func openScored(c *cli.Context, i int) (m *runtime.Model, own, err error) {
	o := runtime.Options{Settings: settings(c)}
	var checkpoint *tensor.Checkpoint
	if i == 0 {
		o.Name = c.String("model")
		checkpoint, err = openSource(c, c.Args().Get(i))
	} else {
		checkpoint, err = openOther(c, c.Args().Get(i))
	}
	if err != nil {
		return nil, nil, err
	}
	m, err = runtime.Open(c.Context, checkpoint, o)
	if option := (*model.OptionError)(nil); c.NArg() == 2 && errors.As(err, &option) && option.Contradicted {
		own, o.Settings = err, model.Settings{}
		m, err = runtime.Open(c.Context, checkpoint, o)
	}
	if err != nil {
		checkpoint.Close()
		if i == 1 {
			err = ofOther(err)
		}
		return nil, nil, err
	}
	noteOverruled(c, m)
	return m, own, nil
}

// withSettingsOfOther gives an error about settings that the i-th of two checkpoints lacks those of the other one as the hint.
func withSettingsOfOther(c *cli.Context, i int, err error) error {
	if option := (*model.OptionError)(nil); c.NArg() != 2 || !errors.As(err, &option) || len(option.Missing) == 0 {
		return err
	}
	other, _, otherErr := openScored(c, 1-i)
	if otherErr != nil {
		return err
	}
	defer other.Checkpoint.Close()
	return usagef("%v", err).advise("add those of %s, if it is the same model: %s", other.Checkpoint.Path, strings.Join(statedFlags(model.SettingsOf(&other.Original)), " "))
}

// scoring carries out one perplexity command.
type scoring struct {
	c         *cli.Context
	models    []*runtime.Model
	weights   []*model.DigestedWeights // what the models are run with, for the page; nil for others
	scorer    *perplexity.Scorer
	tokenizer *tokenizer.Tokenizer // nil for tokens
	path      string               // of the tokenizer
	bar       *terminal.Progress   // also drawn again whenever weights are read; nil for none
	out       score
}

// open opens the checkpoints and makes the scorer of the models in them.
func (p *scoring) open(precision reference.Precision) (err error) {
	c := p.c
	var models []*reference.Model
	given := 0 // checkpoints that the settings are for
	var contradicted error
	for i, path := range c.Args().Slice() {
		m, own, err := openScored(c, i)
		if err != nil {
			return withSettingsOfOther(c, i, err)
		}
		p.models = append(p.models, m)
		if own != nil {
			contradicted = own
		} else {
			given++
		}
		if err := m.CheckHead(c.Context); err != nil {
			return err
		}
		m.OnRead = func(int64) { p.bar.Add(0) }
		r, err := referenceModel(c, m, precision)
		if err != nil {
			return err
		}
		var weights *model.DigestedWeights
		if c.IsSet("report") && m.Quantized == nil {
			r, weights = m.Digested(r.Semantics, r.Arithmetic, digest.Default)
		}
		p.weights, models = append(p.weights, weights), append(models, r)
		x := scoredCheckpoint{Path: path, Step: m.Checkpoint.Step(), Quantized: quantizedText(m), Semantics: r.Semantics.String(), Settings: m.SettingsUnder(r.Semantics), OwnSettings: own != nil}
		if r.Semantics == reference.Original {
			x.BeyondOriginal = model.BeyondOriginal(m.Found, &m.Original)
		}
		p.out.Checkpoints = append(p.out.Checkpoints, x)
	}
	if given == 0 {
		return contradicted
	}
	p.scorer, err = perplexity.New(models...)
	return err
}

// close closes the checkpoints.
func (p *scoring) close() {
	for _, m := range p.models {
		m.Checkpoint.Close()
	}
}

// text scores a text that is read from a file.
func (p *scoring) text(path string) (err error) {
	if p.tokenizer, p.path, err = openTokenizer(p.c, p.models...); err != nil {
		return err
	}
	in, name, total := p.c.App.Reader, "standard input", int64(-1)
	if path != "-" {
		f, called, size, err := openText(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in, name, total = f, called, size
	}
	begin := p.tokenizer.Begin()
	p.out.Rows, p.out.Added = 1, []string{p.tokenizer.Piece(begin)}
	if err := p.scorer.Add(p.c.Context, []int32{begin}); err != nil {
		return err
	}
	sum := digest.New(digest.Default)
	scored := &storage.Counter{To: sum}
	read := io.TeeReader(&utf8Reader{r: in, name: name}, scored)
	p.bar = terminal.NewProgress(p.c.App.ErrWriter, "scoring", total)
	defer p.bar.Done()
	decoder, added, bytes := p.tokenizer.Decoder(), 1, int64(0) // bytes of the added tokens
	p.scorer.Progress = func(tokens int) { p.bar.Set(bytes * int64(tokens) / int64(added)) }
	err = p.tokenizer.EncodeReader(read, func(tokens []int32) error {
		added, bytes = added+len(tokens), bytes+textBytes(decoder, tokens)
		return p.scorer.Add(p.c.Context, tokens)
	})
	if err != nil {
		return err
	}
	p.out.Digest = sum.Sum(scored.N).Named()
	return p.scorer.EndRow(p.c.Context)
}

// tokens scores rows of tokens.
func (p *scoring) tokens(value string) error {
	t, err := readTokens(value, p.models[0])
	if err != nil {
		return err
	}
	p.out.Rows, p.out.Digest = t.Batch, t.Digest(digest.Default).Named()
	p.bar = newTokenCount(p.c, "scoring", len(t.IDs))
	defer p.bar.Done()
	p.scorer.Progress = func(tokens int) { p.bar.Set(int64(tokens)) }
	for row := range slices.Chunk(t.IDs, t.Length) {
		if err := p.scorer.Add(p.c.Context, row); err != nil {
			return err
		}
		if err := p.scorer.EndRow(p.c.Context); err != nil {
			return err
		}
	}
	return nil
}

// report prints the result.
func (p *scoring) report() error {
	r, err := p.scorer.Result()
	if err != nil {
		if p.c.IsSet("text") {
			return usagef("--text %s: %v", p.c.String("text"), err).advise("give a longer text: that one is empty")
		}
		return usagef("--tokens %s: %v", p.c.String("tokens"), err).advise("give a row of at least two tokens")
	}
	o := &p.out
	o.Tokens, o.Predicted, o.NLL, o.Perplexity = r.Tokens, r.Predicted, r.NLL[0], r.Perplexity(0)
	for i := range o.Checkpoints {
		o.Checkpoints[i].NLL, o.Checkpoints[i].Perplexity = r.NLL[i], r.Perplexity(i)
	}
	if r.Pair != nil {
		o.Comparison = p.compared(r)
	}
	if p.c.Bool("json") {
		err = printJSON(p.c.App.Writer, schemaPerplexity, o)
	} else {
		err = printScore(p.c.App.Writer, o)
	}
	if err != nil || p.c.String("report") == "" {
		return err
	}
	return p.writePage(r)
}

// writePage writes the result as a page.
func (p *scoring) writePage(r *perplexity.Result) error {
	s := &report.Score{Result: r, Text: cmp.Or(p.c.String("text"), p.c.String("tokens")), Digest: p.out.Digest, Rows: p.out.Rows, Tokenizer: p.path, Added: p.out.Added, Arithmetic: p.out.Arithmetic, Griffin: convert.ToolVersion()}
	if s.Text == "-" {
		s.Text = "standard input"
	}
	if p.tokenizer != nil {
		s.Piece = p.tokenizer.Piece
	}
	for i, m := range p.models {
		name := ""
		if i == 0 {
			name = p.c.String("model") // it is of the first
		}
		var known map[string]digest.Sum
		var err error
		if w := p.weights[i]; w != nil {
			if known, err = w.Sums(p.c.Context); err != nil {
				return err
			}
		}
		sum, err := weightsDigest(p.c, m.Checkpoint, name, known)
		if err != nil {
			return err
		}
		x := p.out.Checkpoints[i]
		scored := scoredModel(&x)
		scored.Format, scored.Digest, scored.Config = m.Checkpoint.Format+", "+m.Found.Layout.String()+" layout", sum, configDigest(m.Checkpoint)
		s.Models = append(s.Models, scored)
	}
	return report.WriteScore(p.c.String("report"), s, origin())
}

// scoredModel returns what is known of a checkpoint without a page.
func scoredModel(x *scoredCheckpoint) report.ScoredModel {
	return report.ScoredModel{Path: x.Path, Step: x.Step, Quantized: x.Quantized, Semantics: x.Semantics, Settings: x.Settings, Own: x.OwnSettings}
}

func (p *scoring) compared(r *perplexity.Result) *comparedScores {
	out := &comparedScores{KL: r.Pair.KL, Top1Agreement: float64(r.Pair.Agreed) / float64(r.Predicted), Parted: r.Predicted - r.Pair.Agreed, Partings: []parted{}}
	out.SettingsApart = p.out.Checkpoints[0].Settings.Apart(&p.out.Checkpoints[1].Settings)
	first, second := scoredModel(&p.out.Checkpoints[0]), scoredModel(&p.out.Checkpoints[1])
	out.before = report.DifferBefore(r, &first, &second)
	for _, x := range r.Pair.Partings {
		one := parted{Row: x.Row, Position: x.Position, Token: x.Token, Top: x.Top, Probability: x.Probability, KL: x.KL}
		if p.tokenizer != nil {
			one.Text = &[3]string{p.tokenizer.Piece(x.Token), p.tokenizer.Piece(x.Top[0]), p.tokenizer.Piece(x.Top[1])}
		}
		out.Partings = append(out.Partings, one)
	}
	return out
}

// shownPartings is the most tokens at which two checkpoints differ that are printed.
const shownPartings = 10

func printScore(w io.Writer, o *score) error {
	added := ""
	for _, piece := range o.Added {
		added += ", with " + piece + " before the text"
	}
	fmt.Fprintf(w, "%s in %s, %s predicted%s\n", text.Count(int64(o.Tokens), "token"), text.Count(int64(o.Rows), "row"), text.Grouped(int64(o.Predicted)), added)
	for _, x := range o.Checkpoints {
		if err := printQuantized(w, x.Path, x.Quantized); err != nil {
			return err
		}
		if x.OwnSettings {
			fmt.Fprintf(w, "%s is run with the settings of its config.json, not those given\n", text.Printable(storage.WithoutQuery(x.Path)))
		}
		if x.BeyondOriginal != nil {
			fmt.Fprintf(w, "%s: the original implementation does not compute the model: %s\n", x.Path, strings.Join(x.BeyondOriginal, "; "))
		}
		fmt.Fprintf(w, "%s: %.6f nats a token, perplexity %s (%s, %s)\n  %s\n", x.Path, x.NLL, report.PerplexityText(x.Perplexity), ofStep(x.Step, x.Semantics+" semantics"), o.Arithmetic, &x.Settings)
	}
	if o.Comparison == nil {
		return nil
	}
	printApart(w, o)
	return o.Comparison.print(w, o.Predicted)
}

// printApart says what the two models were run with that is not the same.
func printApart(w io.Writer, o *score) {
	first, second := scoredModel(&o.Checkpoints[0]), scoredModel(&o.Checkpoints[1])
	apart := report.RunApart(&first, &second)
	if apart == "" {
		return
	}
	line := "the two are run " + apart
	switch {
	case o.Comparison.KL == 0:
	case o.Comparison.before:
		line += ", which is not all that sets them apart: they differ where both attend to the same tokens"
	default:
		line += ", which may be all that sets them apart"
	}
	if first.Semantics != second.Semantics && len(o.Comparison.SettingsApart) == 0 {
		line += "; --semantics original runs both alike"
	}
	fmt.Fprintln(w, line)
}

func (o *comparedScores) print(w io.Writer, predicted int) error {
	_, err := fmt.Fprintf(w, "KL %.3g nats a token, top-1 agreement %.4f%% (%s of %s differ)\n", o.KL, 100*o.Top1Agreement, text.Grouped(int64(o.Parted)), text.Count(int64(predicted), "token"))
	for i, x := range o.Partings {
		if i == shownPartings {
			_, err = fmt.Fprintf(w, "  … and %s more\n", text.Grouped(int64(o.Parted-shownPartings)))
			break
		}
		names := [3]string{fmt.Sprint(x.Token), fmt.Sprint(x.Top[0]), fmt.Sprint(x.Top[1])}
		if x.Text != nil {
			for k, text := range x.Text {
				names[k] = fmt.Sprintf("%q", text)
			}
		}
		if _, err = fmt.Fprintf(w, "  row %d, position %d: %s; predicted %s (%.3g) and %s (%.3g)\n", x.Row, x.Position, names[0], names[1], x.Probability[0], names[2], x.Probability[1]); err != nil {
			return err
		}
	}
	return err
}
