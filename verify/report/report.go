// Package report writes the results of griffin as HTML pages, and verdicts as verification cards in JSON. A page is one
// file that needs no other: styles, script and plots are part of it, and it loads nothing.
//
// Equal results of equal Origin give equal bytes. A file is replaced only when its successor is complete.
package report

import (
	"bytes"
	"fmt"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// Origin is what a page says about how it was made.
type Origin struct {
	Command []string  // the command line, the program's name first
	Time    time.Time // zero for none
}

// MaxRows is how many tensors a table of a page has, and a plot. Browsers do not show many more.
const MaxRows = 5000

// left says that a page has not all; "" if it has.
func left(all int, of string) string {
	if all <= MaxRows {
		return ""
	}
	return fmt.Sprintf("The first %s of %s %s; the JSON form of the result has all.", text.Grouped(MaxRows), text.Grouped(int64(all)), of)
}

func write(path string, d *page.Document, body *page.Body, data any) error {
	parts, err := page.Render(d, body, data)
	if err != nil {
		return err
	}
	return publish.ReplaceWith(path, parts...)
}

// IsPage reports whether a file is a page of this package. start is the beginning of the file.
func IsPage(start []byte) bool { return bytes.Contains(start, []byte(page.Generator)) }

// IsCard reports whether a file is a verification card. start is the beginning of the file.
func IsCard(start []byte) bool { return bytes.Contains(start, []byte(`"schema": "`+CardSchema+`"`)) }
