package huggingface

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io/fs"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// editConfig returns the content of a config.json with fields set and every other byte as it is.
func editConfig(source fs.FS, name string, set []Field) ([]byte, error) {
	const limit = 1 << 20
	text, err := storage.ReadFile(source, name, limit)
	if err != nil {
		return nil, err
	}
	edited, err := editJSON(text, set)
	return edited, tensor.Annotate(err, tensor.Location{File: storage.Path(source, name)})
}

// editJSON sets and removes fields of a JSON object and leaves every other byte as it is. Fields that the
// object does not have are added at its end, indented as its first field is.
func editJSON(text []byte, changes []Field) ([]byte, error) {
	var set []Field
	for _, f := range changes {
		if !f.Remove {
			set = append(set, f)
		}
	}
	text, err := setFields(text, set)
	for _, f := range changes {
		if f.Remove && err == nil {
			text, err = removeField(text, f.Name)
		}
	}
	return text, err
}

// removeField removes a field of a JSON object with the comma that belongs to it.
func removeField(text []byte, name string) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if _, err := decoder.Token(); err != nil {
		return nil, tensor.Bad("is not a JSON object: %v", err)
	}
	open := int(decoder.InputOffset())
	for before := open; decoder.More(); before = int(decoder.InputOffset()) {
		key, err := decoder.Token()
		if err != nil {
			return nil, tensor.Bad("is not a JSON object: %v", err)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, tensor.Bad("is not a JSON object: %v", err)
		}
		if key != name {
			continue
		}
		end := int(decoder.InputOffset())
		if before == open && decoder.More() { // the first of several takes the comma after it
			end += bytes.IndexByte(text[end:], ',') + 1
		}
		return applyEdits(text, []edit{{before, end, nil}}), nil
	}
	return text, nil
}

// setFields sets fields of a JSON object.
func setFields(text []byte, set []Field) ([]byte, error) {
	type span struct{ from, to int }
	values := map[string]span{}
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
		values[name] = span{end - len(value), end}
	}
	if _, err := decoder.Token(); err != nil {
		return nil, tensor.Bad("is not a JSON object: %v", err)
	}
	var edits []edit
	for _, f := range set {
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, err
		}
		old, ok := values[f.Name]
		switch {
		case ok:
			edits = append(edits, edit{old.from, old.to, value})
		case len(values) > 0:
			edits = append(edits, edit{end, end, []byte("," + indent + `"` + f.Name + `": ` + string(value))})
		default:
			return nil, tensor.Bad("is an empty JSON object")
		}
	}
	return applyEdits(text, edits), nil
}

// edit replaces the bytes [from, to) by text.
type edit struct {
	from, to int
	text     []byte
}

// applyEdits applies edits that do not overlap. Edits at one offset are applied in their order.
func applyEdits(text []byte, edits []edit) []byte {
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, text[at:e.from]...), e.text...)
		at = e.to
	}
	return append(out, text[at:]...)
}

// leadingSpace returns the white space at the start of text.
func leadingSpace(text []byte) string {
	return string(text[:len(text)-len(bytes.TrimLeft(text, " \t\r\n"))])
}
