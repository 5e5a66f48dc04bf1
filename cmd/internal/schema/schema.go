// Package schema writes JSON Schemas of Go types as encoding/json encodes them, with descriptions from the comments in their source.
// The tests of package main compare the published schemas with it.
package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Document is a kind of JSON document.
type Document struct {
	Name string // the value of its field "schema"
	Type reflect.Type

	// Any are the kinds of documents that a field of type any may have.
	Any []Document
}

// Generator writes schemas. Its fields are set before its first use.
type Generator struct {
	Module string // path of the module whose types have comments
	Root   string // its directory

	// Special has the schemas of types that encode themselves.
	Special map[reflect.Type]map[string]any

	// EncodedAs has the types as which others encode themselves.
	EncodedAs map[reflect.Type]reflect.Type

	sources map[string]*source // by import path
}

// source is what the source files of a package say.
type source struct {
	types  map[string]*ast.TypeSpec
	docs   map[string]string   // of types
	values map[string][]string // string constants by type
}

// Write returns the schema of a document as indented JSON. Objects have no other fields than those of their types.
func (g *Generator) Write(d Document) ([]byte, error) {
	w := writer{g: g, any: d.Any, definitions: map[string]any{}}
	root, err := w.document(d)
	if err != nil {
		return nil, err
	}
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = d.Name
	if len(w.definitions) > 0 {
		root["$defs"] = w.definitions
	}
	text, err := json.MarshalIndent(root, "", "  ")
	return append(text, '\n'), err
}

// writer collects the definitions of one schema.
type writer struct {
	g           *Generator
	any         []Document
	definitions map[string]any
}

// document returns the schema of a document, whose first field is its name.
func (w *writer) document(d Document) (map[string]any, error) {
	root, err := w.object(d.Type)
	if err != nil {
		return nil, err
	}
	root["properties"].(map[string]any)["schema"] = map[string]any{"const": d.Name}
	required, _ := root["required"].([]string)
	if !slices.Contains(required, "schema") {
		root["required"] = append([]string{"schema"}, required...)
	}
	return root, nil
}

// of returns the schema of a type.
func (w *writer) of(t reflect.Type) (map[string]any, error) {
	if special, ok := w.g.Special[t]; ok {
		return special, nil
	}
	if other, ok := w.g.EncodedAs[t]; ok {
		return w.of(other)
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}, nil
	case reflect.String:
		return w.text(t)
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}, nil
	case reflect.Pointer:
		return w.of(t.Elem())
	case reflect.Slice, reflect.Array:
		items, err := w.of(t.Elem())
		array := map[string]any{"type": "array", "items": items}
		if t.Kind() == reflect.Array {
			array["minItems"], array["maxItems"] = t.Len(), t.Len()
		}
		return array, err
	case reflect.Map:
		values, err := w.of(t.Elem())
		return map[string]any{"type": "object", "additionalProperties": values}, err
	case reflect.Interface:
		return w.anyOf()
	case reflect.Struct:
		return w.reference(t)
	}
	return nil, fmt.Errorf("no schema for %s", t)
}

// anyOf returns the schema of a field of type any.
func (w *writer) anyOf() (map[string]any, error) {
	var kinds []any
	for _, d := range w.any {
		name := strings.ReplaceAll(d.Name, " ", "-")
		if w.definitions[name] == nil {
			one, err := w.document(d)
			if err != nil {
				return nil, err
			}
			w.definitions[name] = one
		}
		kinds = append(kinds, map[string]any{"$ref": "#/$defs/" + name})
	}
	if kinds == nil {
		return nil, fmt.Errorf("nothing is said about a field of type any")
	}
	return map[string]any{"oneOf": kinds}, nil
}

// reference returns a reference to the definition of a struct.
func (w *writer) reference(t reflect.Type) (map[string]any, error) {
	name := strings.TrimPrefix(t.String(), "main.")
	if t.Name() == "" {
		return w.object(t)
	}
	if w.definitions[name] == nil {
		w.definitions[name] = true // a type may contain itself
		definition, err := w.object(t)
		if err != nil {
			return nil, err
		}
		w.definitions[name] = definition
	}
	return map[string]any{"$ref": "#/$defs/" + name}, nil
}

// text returns the schema of a string. If the package has constants of its type, it is one of them.
func (w *writer) text(t reflect.Type) (map[string]any, error) {
	one := map[string]any{"type": "string"}
	if t.PkgPath() == "" {
		return one, nil
	}
	s, err := w.g.source(t.PkgPath())
	if err != nil {
		return nil, err
	}
	if values := s.values[t.Name()]; len(values) > 0 {
		one["enum"] = values
	}
	return one, nil
}

// object returns the schema of a struct.
func (w *writer) object(t reflect.Type) (map[string]any, error) {
	properties, required := map[string]any{}, []string{}
	if err := w.fields(t, properties, &required); err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	object := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		object["required"] = required
	}
	if s, err := w.g.source(t.PkgPath()); err == nil && s.docs[t.Name()] != "" {
		object["description"] = s.docs[t.Name()]
	}
	return object, nil
}

// fields adds the fields of a struct, and those of structs that are embedded in it.
func (w *writer) fields(t reflect.Type, properties map[string]any, required *[]string) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-", !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "":
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			if err := w.fields(embedded, properties, required); err != nil {
				return err
			}
			continue
		}
		name = cmp.Or(name, f.Name)
		one, err := w.of(f.Type)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		omitted := strings.Contains(options, "omitempty")
		if f.Type.Kind() == reflect.Pointer && !omitted {
			one = map[string]any{"anyOf": []any{one, map[string]any{"type": "null"}}}
		}
		comment, err := w.g.comment(t, f.Name)
		if err != nil {
			return err
		}
		if comment != "" {
			described := map[string]any{"description": comment}
			for key, value := range one {
				described[key] = value
			}
			one = described
		}
		properties[name] = one
		if !omitted {
			*required = append(*required, name)
		}
	}
	return nil
}

// comment returns the comment of a field of a struct type.
func (g *Generator) comment(t reflect.Type, field string) (string, error) {
	if t.Name() == "" {
		return "", nil
	}
	s, err := g.source(t.PkgPath())
	if err != nil || s.types[t.Name()] == nil {
		return "", err
	}
	structure, ok := s.types[t.Name()].Type.(*ast.StructType)
	if !ok {
		return "", nil
	}
	for _, f := range structure.Fields.List {
		if slices.ContainsFunc(f.Names, func(n *ast.Ident) bool { return n.Name == field }) {
			return oneLine(f.Doc.Text() + " " + f.Comment.Text()), nil
		}
	}
	return "", nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// source parses the source of a package of the module, once. Other packages have none.
func (g *Generator) source(path string) (*source, error) {
	if s := g.sources[path]; s != nil {
		return s, nil
	}
	s := &source{types: map[string]*ast.TypeSpec{}, docs: map[string]string{}, values: map[string][]string{}}
	if dir, ok := strings.CutPrefix(path, g.Module+"/"); ok {
		files, err := filepath.Glob(filepath.Join(g.Root, filepath.FromSlash(dir), "*.go"))
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			s.add(file)
		}
	}
	if g.sources == nil {
		g.sources = map[string]*source{}
	}
	g.sources[path] = s
	return s, nil
}

// add adds the types and the constants of a file.
func (s *source) add(file *ast.File) {
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				s.types[spec.Name.Name] = spec
				s.docs[spec.Name.Name] = oneLine(decl.Doc.Text() + " " + spec.Doc.Text())
			case *ast.ValueSpec:
				s.addConstant(spec)
			}
		}
	}
}

// addConstant adds a constant that is declared with a type and a string: const X T = "x".
func (s *source) addConstant(spec *ast.ValueSpec) {
	typ, ok := spec.Type.(*ast.Ident)
	if !ok || len(spec.Values) != 1 {
		return
	}
	literal, ok := spec.Values[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return
	}
	if value, err := strconv.Unquote(literal.Value); err == nil {
		s.values[typ.Name] = append(s.values[typ.Name], value)
	}
}
