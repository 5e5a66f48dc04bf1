package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/griffin-ckpt/griffin/cmd/internal/schema"
	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// results are the documents that a step of a run may have.
var results = []schema.Document{
	{Name: schemaConversion, Type: reflect.TypeFor[convert.Result]()},
	{Name: schemaInspection, Type: reflect.TypeFor[inspection]()},
	{Name: schemaVerdict, Type: reflect.TypeFor[verify.Verdict]()},
	{Name: schemaDifference, Type: reflect.TypeFor[diff.Result]()},
}

// documents are all JSON documents that griffin writes for others, by the name of the file with their schema.
var documents = map[string]schema.Document{
	"card":            {Name: report.CardSchema, Type: reflect.TypeFor[report.Card]()},
	"clean":           {Name: schemaCleaning, Type: reflect.TypeFor[cleaning]()},
	"conversion":      {Name: manifest.Schema, Type: reflect.TypeFor[manifest.Manifest]()},
	"convert":         results[0],
	"diff":            results[3],
	"error":           {Name: schemaError, Type: reflect.TypeFor[failure]()},
	"explain-runtime": {Name: schemaRuntimes, Type: reflect.TypeFor[explanations]()},
	"generate":        {Name: schemaGeneration, Type: reflect.TypeFor[generation]()},
	"golden":          {Name: schemaRecording, Type: reflect.TypeFor[recorded]()},
	"inspect":         results[1],
	"perplexity":      {Name: schemaPerplexity, Type: reflect.TypeFor[score]()},
	"step":            {Name: schemaStep, Type: reflect.TypeFor[stepLine](), Any: results},
	"verify":          results[2],
}

// TestSchemas compares the published schemas with the types of the documents, or with -update writes them.
func TestSchemas(t *testing.T) {
	number := map[string]any{"type": "number"}
	g := schema.Generator{Module: "github.com/griffin-ckpt/griffin", Root: "../..", Special: map[reflect.Type]map[string]any{
		reflect.TypeFor[manifest.Float](): number,
		reflect.TypeFor[verify.Number]():  {"anyOf": []any{number, map[string]any{"enum": []string{"NaN", "Infinity", "-Infinity"}}}},
	}, EncodedAs: map[reflect.Type]reflect.Type{
		reflect.TypeFor[packedStats]():                           reflect.TypeFor[stats.Stats](),
		reflect.TypeFor[diff.Changes]():                          reflect.TypeFor[[]diff.Change](),
		reflect.TypeFor[strictjson.List[convert.ResultTensor]](): reflect.TypeFor[[]convert.ResultTensor](),
		reflect.TypeFor[strictjson.List[verify.TensorDigest]]():  reflect.TypeFor[[]verify.TensorDigest](),
		reflect.TypeFor[strictjson.List[verify.Finding]]():       reflect.TypeFor[[]verify.Finding](),
		reflect.TypeFor[strictjson.List[proof.Failure]]():        reflect.TypeFor[[]proof.Failure](),
		reflect.TypeFor[strictjson.List[string]]():               reflect.TypeFor[[]string](),
	}}
	for file, d := range documents {
		text, err := g.Write(d)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		path := filepath.Join("schema", file+".json")
		if *update {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if published, err := os.ReadFile(path); err != nil || !bytes.Equal(published, text) {
			t.Errorf("%s is stale (%v): run go test ./cmd/griffin -run TestSchemas -update", path, err)
		}
	}
	files, err := filepath.Glob("schema/*")
	if err != nil || len(files) != len(documents) {
		t.Errorf("folder schema has %d files, and there are %d kinds of documents (%v)", len(files), len(documents), err)
	}
}

// validate checks a JSON document against the schema in dir that its field "schema" names.
func validate(dir string, text []byte) error {
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	object, _ := instance.(map[string]any)
	for file, d := range documents {
		if object["schema"] != d.Name {
			continue
		}
		compiled, err := jsonschema.NewCompiler().Compile(filepath.Join(dir, file+".json"))
		if err != nil {
			return err
		}
		return compiled.Validate(instance)
	}
	return fmt.Errorf("no schema %v", object["schema"])
}

// validateAll checks a text that may have several documents, one after another.
func validateAll(dir string, text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	for {
		var one json.RawMessage
		if err := decoder.Decode(&one); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := validate(dir, one); err != nil {
			return err
		}
	}
}

// schemaDir is an environment variable with the folder of the schemas, for griffin in scripts.
const schemaDir = "GRIFFIN_TEST_SCHEMAS"

// runValidated runs a command line as main does. What it prints with --json is checked, in every script.
func runValidated(args []string) int {
	dir := os.Getenv(schemaDir)
	if dir == "" || !wantsJSON(args) {
		return runInterruptible(args, os.Stdout, os.Stderr)
	}
	var stdout, stderr bytes.Buffer
	code := runInterruptible(args, io.MultiWriter(os.Stdout, &stdout), io.MultiWriter(os.Stderr, &stderr))
	if err := errors.Join(validateAll(dir, stdout.Bytes()), validateErrors(dir, stderr.String())); err != nil {
		fmt.Fprintf(os.Stderr, "the JSON is not as its schema says: %v\n", err)
		return 99
	}
	return code
}

// validateErrors checks the lines of standard error that are JSON.
func validateErrors(dir, text string) error {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "{") {
			if err := validate(dir, []byte(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

// wantSchema checks files, stdout or stderr against the schemas that they name: schema NAME FILE…
func wantSchema(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: schema NAME FILE…")
	}
	for _, file := range args[1:] {
		text := ts.ReadFile(file)
		err := validate(ts.Getenv(schemaDir), []byte(text))
		if err == nil && !strings.Contains(text, fmt.Sprintf("%q", "griffin "+args[0])) {
			err = fmt.Errorf("it is not of schema griffin %s", args[0])
		}
		if (err != nil) != neg {
			ts.Fatalf("%s: %v", file, err)
		}
	}
}
