// Package page has what the HTML pages share: the head with what was read, the table of contents, the style sheet, the script,
// tables, heat maps, and how numbers and commands are written. A page loads nothing: its policy allows only its own style sheet
// and script, by their digests. Without the script nothing is missing but sorting, filtering, copying and values at the keyboard.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/internal/float"
)

var (
	//go:embed page.css
	style string
	//go:embed page.js
	script string
	//go:embed page.html.tmpl
	shellText string
	//go:embed parts.html.tmpl
	partsText string
)

// Generator is in every page.
const Generator = `<meta name="generator" content="griffin">`

// Document is what a page shows around its body.
type Document struct {
	Kind     string // "Verification"
	Title    string // of the window: "the same model: hf"
	Tone     Tone
	Answer   string // the heading
	Lead     string // a sentence or two
	Points   []Link // a list below it
	Subjects []Subject
	Command  []string // the program's name first
	Version  string   // of the program
	Time     time.Time
}

// Tone is the colour of an answer.
type Tone string

// The tones.
const (
	Good    Tone = "same"
	Wrong   Tone = "other"
	Neutral Tone = "apart"
	Open    Tone = "open"  // nothing is proven
	Plain   Tone = "plain" // without a judgement
)

// Link is a line of text that may lead to a place in the page.
type Link struct {
	Text string
	To   string // id; "" for none
}

// Subject is something that was read: a checkpoint or a fixture.
type Subject struct {
	Role  string // "Source"
	Path  string
	Facts []Fact
}

// Fact is a line about a subject. An empty Name continues the fact before it.
type Fact struct {
	Name, Value string
	Code        bool // the value is a name or a digest
}

// Body is the template of the body of a page. Its functions are those of Parse.
type Body struct{ template *template.Template }

// Parse returns a body. Besides the given functions it may use: section (a heading with an id, listed in the contents), the
// templates "table", "heat" and "chart", and the functions prose, sentence, shown, grouped, whole, number, shape, join.
func Parse(name, source string, functions template.FuncMap) *Body {
	t := template.New(name).Funcs(template.FuncMap{
		"section":  func(id, title string) template.HTML { return "" }, // replaced when the page is written
		"prose":    Prose,
		"sentence": Sentence,
		"label":    Label,
		"shown":    func(s any) string { return text.Printable(fmt.Sprint(s)) },
		"grouped":  text.Grouped[int64], "whole": func(n int) string { return text.Grouped(int64(n)) },
		"number": Number, "shape": tensor.ShapeString, "size": tensor.SizeString, "join": strings.Join,
	}).Funcs(functions)
	return &Body{template.Must(template.Must(t.Parse(source)).Parse(partsText))}
}

var shell = template.Must(template.New("page").Funcs(template.FuncMap{"shown": text.Printable, "prose": Prose}).Parse(shellText))

// policy is the policy of a page's content: nothing but its own style sheet and script.
var policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", hashOf(style), hashOf(script))

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// parts is text in pieces, so that a long one is not copied as it grows.
type parts [][]byte

// Write implements io.Writer.
func (p *parts) Write(text []byte) (int, error) {
	const size = 1 << 20
	last := len(*p) - 1
	if last < 0 || len((*p)[last])+len(text) > cap((*p)[last]) {
		*p = append(*p, make([]byte, 0, max(size, len(text))))
		last++
	}
	(*p)[last] = append((*p)[last], text...)
	return len(text), nil
}

// bodyMark stands for the body in what is around it. No text of a page has it, since < is escaped.
const bodyMark = "<body of the page>"

// Render returns the text of a page, in pieces.
func Render(d *Document, body *Body, data any) ([][]byte, error) {
	t, err := body.template.Clone()
	if err != nil {
		return nil, err
	}
	var contents []Link
	t.Funcs(template.FuncMap{"section": func(id, title string) template.HTML {
		contents = append(contents, Link{title, id})
		return template.HTML(fmt.Sprintf(`<h2 id="%s"><a href="#%s">%s</a></h2>`, template.HTMLEscapeString(id), template.HTMLEscapeString(id), template.HTMLEscapeString(title)))
	}})
	var inner parts
	if err := t.Execute(&inner, data); err != nil {
		return nil, err
	}
	if len(contents) > 1 {
		contents = append(contents, Link{"Command", "command"}) // which the shell writes
	} else {
		contents = nil // one section needs none
	}
	var out bytes.Buffer
	err = shell.Execute(&out, struct {
		*Document
		Contents  []Link
		Body      template.HTML
		Style     template.CSS
		Script    template.JS
		Policy    string
		Generator template.HTML
		Words     []string
		Date      string
		Stamp     string
	}{d, contents, template.HTML(bodyMark), template.CSS(style), template.JS(script), policy, Generator, words(d.Command), date(d.Time, "2006-01-02 15:04 UTC"), date(d.Time, "2006-01-02T15:04Z")})
	before, after, _ := bytes.Cut(out.Bytes(), []byte(bodyMark))
	return slices.Concat([][]byte{before}, inner, [][]byte{after}), err
}

// date writes a time; "" for none.
func date(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

// Number writes a float64 or float.Number for people.
func Number(x any) string {
	v, ok := x.(float64)
	if n, isNumber := x.(float.Number); isNumber {
		v, ok = float64(n), true
	}
	switch {
	case !ok:
		return fmt.Sprint(x)
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "−∞"
	default:
		return strings.Replace(fmt.Sprintf("%.3g", v), "e-0", "e-", 1)
	}
}

// words writes arguments as those of a shell command, quoted where needed.
func words(args []string) []string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsFunc(a, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@%+", r)
		}) {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return quoted
}
