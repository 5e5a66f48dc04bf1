// Package strict checks JSON before it is decoded into a type: it lets nothing pass that two readers
// could take differently.
package strict

import "github.com/griffin-ckpt/griffin/formats/internal/strictjson"

// Check reports as *tensor.FormatError, with the offset, text that is not one JSON value, has a key
// twice in one object, is not UTF-8, or nests more than maxDepth deep.
func Check(text []byte, maxDepth int) error {
	d := strictjson.NewDecoder(text, maxDepth)
	if err := d.Skip(); err != nil {
		return err
	}
	return d.End()
}
