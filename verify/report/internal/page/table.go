package page

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/internal/float"
)

// Table is a table that readers can sort and filter. On a narrow screen each row is a list of its cells, with the titles of the
// columns.
type Table struct {
	Label   string // for readers who do not see it
	Columns []Column
	Rows    []Row
	Many    bool // it has more columns than fit on a screen of middle width
	Slim    bool // its columns are so narrow that it fits on a smaller screen than others do
	Fixed   bool // the order of the rows has a meaning: they are not to be sorted
}

// Column is a column of a table.
type Column struct {
	Title  string
	Number bool // to the right
	Soft   bool // of less weight
	Short  bool // of words that do not break
	Prose  bool // of sentences, which need some width
}

// Row is a row of a table. Its first cell is its heading.
type Row struct {
	ID    string // for links; "" for none
	Bad   bool
	Cells []Cell
	Of    *Layers // what it stands for; nil for a row of its own
}

// Layers are the tensors of a row that stands for several layers, by whose whole names the filter finds it too.
type Layers struct {
	List    string // "model.layers"
	Numbers string // "0-3,5"
	Names   string // what follows the number of a layer, parted by ", "
}

// Of returns the tensors of some names in layers of a list.
func Of(list, numbers string, names []string) *Layers {
	return &Layers{shown(list), numbers, shown(strings.Join(names, ", "))}
}

// Cell is a cell of a table. An empty one is left out on a narrow screen.
type Cell struct {
	Text  string
	Soft  string // on a line of its own
	Name  bool   // Text is a name or a digest: a click copies it
	Sort  string // by which the column is sorted; "" for Text
	To    string // id of a place in the page; "" for none
	HTML  template.HTML
	Label string // title of the column
	Class string
}

// Text returns a cell with text that may come from a file.
func Text(s string) Cell { return Cell{Text: shown(s)} }

// Name returns a cell with a name. Of one that is longer than any real name it shows the beginning.
func Name(s string) Cell { return Cell{Text: shown(s), Name: s != ""} }

// shown makes text from a file safe to show and, where only a hostile file can be the reason, short.
func shown(s string) string {
	const most = 2000
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return text.Printable(s)
}

// Prose returns text in which a line may be broken within long names: after a dot, a slash and an underscore.
func Prose(s any) template.HTML {
	const long = 24
	words := strings.Split(shown(fmt.Sprint(s)), " ")
	for i, word := range words {
		words[i] = template.HTMLEscapeString(word)
		if len(word) > long {
			words[i] = breaks.Replace(words[i])
		}
	}
	return template.HTML(strings.Join(words, " "))
}

// Sentence is Prose that begins a paragraph: its first letter is a capital, unless the first word is a name: one of the given names, that of
// a program, or a word of other characters than small letters, such as that of a file.
func Sentence(s any, names ...string) template.HTML {
	sentence := fmt.Sprint(s)
	word, _, _ := strings.Cut(strings.Replace(sentence, ",", " ", 1), " ")
	isName := word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") != "" || slices.Contains(programs, word) || slices.Contains(names, word)
	if !isName {
		sentence = strings.ToUpper(word[:1]) + sentence[1:]
	}
	return Prose(sentence)
}

// programs are those whose names begin notes.
var programs = []string{"candle", "griffin", "safetensors", "transformers"}

// Label returns the name of a row, in which a line may be broken after a dot, a slash and an underscore.
func Label(name string) template.HTML {
	return template.HTML(breaks.Replace(template.HTMLEscapeString(shown(name))))
}

var breaks = strings.NewReplacer(".", ".<wbr>", "/", "/<wbr>", "_", "_<wbr>")

// Breakable returns the text of a name with places where a line may break.
func (c Cell) Breakable() template.HTML {
	return template.HTML(strings.NewReplacer(".", ".<wbr>", "/", "/<wbr>").Replace(template.HTMLEscapeString(c.Text)))
}

// With returns the cell with a line below it.
func (c Cell) With(soft string) Cell {
	c.Soft = shown(soft)
	return c
}

// Value returns a cell with a float64 or float.Number.
func Value(x any) Cell {
	v, ok := x.(float64)
	if n, isNumber := x.(float.Number); isNumber {
		v, ok = float64(n), true
	}
	if !ok {
		return Cell{Text: fmt.Sprint(x)}
	}
	return Cell{Text: Number(v), Sort: strconv.FormatFloat(v, 'g', -1, 64)}
}

// Cosine returns a cell with a cosine, in digits that show how close to 1 it is.
func Cosine[T ~float64](x T) Cell {
	return Cell{Text: CosineText(float64(x)), Sort: strconv.FormatFloat(float64(x), 'g', -1, 64)}
}

// CosineText writes a cosine. That of zeros is NaN, and is left out.
func CosineText(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.7g", v)
}

// ID returns a cell with a number that counts nothing.
func ID[T int | int32](n T) Cell { return Cell{Text: fmt.Sprint(n), Sort: fmt.Sprint(n)} }

// Count returns a cell with a count.
func Count[T int | int32 | int64 | uint64](n T) Cell {
	return Cell{Text: text.Grouped(n), Sort: fmt.Sprint(n)}
}

// Add adds a row.
func (t *Table) Add(r Row) {
	for i := range r.Cells {
		c, column := &r.Cells[i], t.Columns[i]
		c.Label = column.Title
		switch {
		case column.Number && column.Soft:
			c.Class = "n soft"
		case column.Number:
			c.Class = "n"
		case column.Soft:
			c.Class = "soft"
		case column.Short:
			c.Class = "short"
		case column.Prose:
			c.Class = "prose"
		}
	}
	t.Rows = append(t.Rows, r)
}

// Heat is a map of values: a row for each kind, a column for each layer. The style sheet has eleven strengths of colour.
type Heat struct {
	ID      string
	Title   string // for readers who do not see it
	Name    string // of the list of layers; "" for what is outside layers
	Caption string
	Columns []HeatColumn
	Rows    []HeatRow
	Legend  []HeatKey
}

// HeatColumn is the heading of a column.
type HeatColumn struct {
	Text  string
	Minor bool // left out on a narrow screen
}

// HeatRow is a row of a map.
type HeatRow struct {
	Name  string
	Cells []HeatCell
}

// HeatCell is one value.
type HeatCell struct {
	Class string // "none", "equal", "apart l0" … "apart l10", "bad"
	Text  string // what it is, with its value
	Mark  string // a character in the cell
	To    string // id of the row of a table that has more; "" for none
}

// HeatKey explains a colour of a map.
type HeatKey struct{ Class, Mark, Text string }

// Explain sets the legend to the keys of what the map has: of colours of the scale if any cell has one, of others if a cell has
// their class and mark.
func (h *Heat) Explain(keys ...HeatKey) {
	for _, k := range keys {
		class, _, _ := strings.Cut(k.Class, " ")
		for _, row := range h.Rows {
			if slices.ContainsFunc(row.Cells, func(c HeatCell) bool {
				return slices.Contains(strings.Fields(c.Class), class) && (k.Mark == "" || k.Mark == c.Mark)
			}) {
				h.Legend = append(h.Legend, k)
				break
			}
		}
	}
}

// levels are the classes of colours, the faintest first.
var levels = [...]string{"apart l0", "apart l1", "apart l2", "apart l3", "apart l4", "apart l5", "apart l6", "apart l7", "apart l8", "apart l9", "apart l10"}

// Level returns the class of a value between two others, which have the faintest and the strongest colour.
func Level(share float64) string { return levels[max(0, min(10, int(10*min(1, share)+0.5)))] }

// LayerColumns returns the headings of layers. On a narrow screen those of every fifth are left.
func LayerColumns(layers []int) []HeatColumn {
	var out []HeatColumn
	for _, n := range layers {
		out = append(out, HeatColumn{fmt.Sprint(n), len(layers) > 10 && n%5 != 0})
	}
	return out
}
