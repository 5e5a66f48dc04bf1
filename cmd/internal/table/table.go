// Package table prints rows of text in aligned columns, as text/tabwriter does, in memory that does not grow with
// their number.
package table

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	gap  = 2   // spaces between columns
	most = 160 // characters to which a column is aligned; longer cells push the rest of their row to the right
)

// Write prints n rows. It calls row twice for each, in order: first to measure its cells and then to print them. The last
// cell of a row is not padded.
func Write(w io.Writer, n int, row func(i int) []string) error {
	var widths []int
	for i := range n {
		for k, cell := range row(i) {
			if k == len(widths) {
				widths = append(widths, 0)
			}
			widths[k] = max(widths[k], min(utf8.RuneCountInString(cell), most))
		}
	}
	out := bufio.NewWriterSize(w, 64<<10)
	for i := range n {
		cells := row(i)
		for k, cell := range cells {
			out.WriteString(cell)
			if k < len(cells)-1 {
				out.WriteString(strings.Repeat(" ", gap+max(widths[k]-utf8.RuneCountInString(cell), 0)))
			}
		}
		if err := out.WriteByte('\n'); err != nil {
			return err
		}
	}
	if io.Writer(out) == w { // the caller's own buffer
		return nil
	}
	return out.Flush()
}
