// Package page has what the HTML reports share: style sheet, figures, and how numbers and commands are written.
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strings"

	"github.com/griffin-ckpt/griffin/verify/internal/float"
)

//go:embed page.css
var style string

// Style is the style sheet of a page.
var Style = template.CSS(style)

// FigureTemplate defines the template "figure", which shows a Figure. It needs the template function shown.
//
//go:embed figure.html.tmpl
var FigureTemplate string

// Figure is a plot with its title, legend and caption.
type Figure struct {
	Title   string
	SVG     template.HTML
	Legend  []Legend
	Caption string // what it shows, and what to see in it
}

// Legend explains a colour of a plot. Class is its class in the style sheet.
type Legend struct{ Class, Text string }

// Explain returns a legend.
func Explain(class, text string) Legend { return Legend{Class: class, Text: text} }

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

// CommandLine writes arguments as a shell command, quoted where needed.
func CommandLine(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsFunc(a, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@%+", r)
		}) {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
