// Package report writes the results of griffin as HTML pages, and verdicts as verification cards in JSON. A page is one
// file that needs no other: styles and plots are part of it, and it loads nothing.
//
// Equal input gives equal bytes: pages and cards have no time and no name of a machine. A file is replaced only when its
// successor is complete.
package report

import (
	"bytes"
	"html/template"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

func write(path string, t *template.Template, page any) error {
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		return err
	}
	return storage.ReplaceWith(path, b.Bytes())
}

// generator is in every page, and CardSchema in every card.
const generator = `<meta name="generator" content="griffin">`

// IsReport reports whether a file is a page or a card of this package. start is the beginning of the file.
func IsReport(start []byte) bool {
	return bytes.Contains(start, []byte(generator)) || bytes.Contains(start, []byte(`"schema": "`+CardSchema+`"`))
}
