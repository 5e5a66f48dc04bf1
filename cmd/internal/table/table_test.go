package table_test

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/griffin-ckpt/griffin/cmd/internal/table"
)

// Rows look as those of a tabwriter.
func TestWrite(t *testing.T) {
	rows := [][]string{{"a", "größe", "[1, 2]"}, {"longer name", "b", ""}, {"", "", "x"}, {"c", "ddd", "e"}}
	var got, want strings.Builder
	if err := table.Write(&got, len(rows), func(i int) []string { return rows[i] }); err != nil {
		t.Fatal(err)
	}
	w := tabwriter.NewWriter(&want, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
	if got.String() != want.String() {
		t.Errorf("got\n%s\nwant\n%s", &got, &want)
	}
}

// One long cell does not make every row long: the output is linear in the cells.
func TestLongCell(t *testing.T) {
	const n = 1000
	var got strings.Builder
	err := table.Write(&got, n, func(i int) []string {
		if i == 0 {
			return []string{strings.Repeat("x", 1<<20), "y"}
		}
		return []string{"x", "y"}
	})
	if err != nil || got.Len() > 1<<20+n*200 {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
}
