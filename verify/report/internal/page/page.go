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

// FigureTemplate defines the template "figure", of a Figure; it takes the function shown.
//
//go:embed figure.html.tmpl
var FigureTemplate string

// Figure is a plot with what is said of it.
type Figure struct {
	Title   string
	SVG     template.HTML
	Legend  []Legend
	Caption string // that says what it shows, and what to see in it
}

// Legend explains one ink: Class names its swatch in the style sheet.
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

// CommandLine writes arguments as a shell takes them.
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
