package convert

import (
	"bytes"
	"encoding/json"
	"io"
	"os"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// jsonField is a field of a JSON object with the value that it is to have.
type jsonField struct {
	name  string
	value any
}

// editJSON gives fields of a JSON object new values and leaves every other byte as it is. Fields that
// are not there come last, indented as the first is.
func editJSON(text []byte, set []jsonField) ([]byte, error) {
	values := map[string][2]int{} // from, to
	decoder := json.NewDecoder(bytes.NewReader(text))
	start, err := decoder.Token()
	if err != nil || start != json.Delim('{') {
		return nil, tensor.Bad("is not a JSON object")
	}
	open, end, indent := int(decoder.InputOffset()), int(decoder.InputOffset()), ""
	for decoder.More() {
		key, err := decoder.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return nil, tensor.Bad("is not a JSON object: %v", err)
		}
		if len(values) == 0 {
			indent = leadingSpace(text[open:])
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, tensor.Bad("is not a JSON object: %v", err)
		}
		end = int(decoder.InputOffset())
		values[name] = [2]int{end - len(value), end}
	}
	if _, err := decoder.Token(); err != nil {
		return nil, tensor.Bad("is not a JSON object: %v", err)
	}
	var edits []edit
	for _, f := range set {
		value, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		at, ok := values[f.name]
		switch {
		case ok:
			edits = append(edits, edit{at[0], at[1], value})
		case len(values) > 0:
			edits = append(edits, edit{end, end, []byte("," + indent + `"` + f.name + `": ` + string(value))})
		default:
			return nil, tensor.Bad("is an empty JSON object")
		}
	}
	return applyEdits(text, edits), nil
}

// edit puts text in the place of bytes from to to.
type edit struct {
	from, to int
	text     []byte
}

// applyEdits makes edits that do not overlap; several at one place come in their order.
func applyEdits(text []byte, edits []edit) []byte {
	for i := 1; i < len(edits); i++ { // few, and stable
		for k := i; k > 0 && edits[k].from < edits[k-1].from; k-- {
			edits[k], edits[k-1] = edits[k-1], edits[k]
		}
	}
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, text[at:e.from]...), e.text...)
		at = e.to
	}
	return append(out, text[at:]...)
}

// leadingSpace returns the white space that text begins with.
func leadingSpace(text []byte) string {
	return string(text[:len(text)-len(bytes.TrimLeft(text, " \t\r\n"))])
}

// readSmall reads a file that is known to be small.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(text) > most {
		err = tensor.Bad("is longer than %d bytes", most).In(path)
	}
	return text, err
}
