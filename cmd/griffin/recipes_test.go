package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const recipes = "../../testdata/recipes/"

// TestKubernetesRecipe checks the manifest against the published schema of Kubernetes (job.schema.json has what it says
// about the manifest's fields), and that the command in it exists and has as many tasks as the Job has completions.
func TestKubernetesRecipe(t *testing.T) {
	schema := map[string]any{}
	if err := json.Unmarshal([]byte(readFile(t, recipes+"job.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	parse := func(text string) any {
		var manifest any
		if err := yaml.Unmarshal([]byte(text), &manifest); err != nil {
			t.Fatal(err)
		}
		return manifest
	}
	text := readFile(t, recipes+"kubernetes.yaml")
	manifest := parse(text)
	for _, problem := range disagreements(schema, manifest, "") {
		t.Error(problem)
	}
	for _, broken := range [][2]string{
		{"completions: 20", `completions: "20"`}, {"completions:", "completion:"}, {"kind: Job", "kind: Jobs"}, {"action: FailIndex", "exit: 3"},
		{"mountPath: /runs", "mountPath: [/runs]"}, {"claimName: runs", "claim: runs"}, {"{memory: 512Mi}", "{memory: [1]}"},
	} {
		if len(disagreements(schema, parse(strings.Replace(text, broken[0], broken[1], 1)), "")) == 0 {
			t.Errorf("the schema does not notice %q", broken[1])
		}
	}

	spec := manifest.(map[string]any)["spec"].(map[string]any)
	pod := spec["template"].(map[string]any)["spec"].(map[string]any)
	var words []string
	for _, word := range pod["containers"].([]any)[0].(map[string]any)["args"].([]any) {
		words = append(words, word.(string))
	}
	checkCommand(t, "kubernetes.yaml", newApp(io.Discard, io.Discard), append([]string{"griffin"}, words...))
	if task := fmt.Sprintf("auto/%d", spec["completions"]); !slices.Contains(words, task) || spec["completionMode"] != "Indexed" {
		t.Errorf("the Job has %v completions and runs %q", spec["completions"], words)
	}
}

// disagreements returns how a value disagrees with a JSON schema. It knows only the keywords that the schemas of Kubernetes use.
func disagreements(schema map[string]any, value any, at string) (all []string) {
	if options, ok := schema["oneOf"].([]any); ok {
		for _, option := range options {
			if len(disagreements(option.(map[string]any), value, at)) == 0 {
				return nil
			}
		}
		return []string{fmt.Sprintf("%s: %v is of another type", at, value)}
	}
	if wants := schema["type"]; wants != nil {
		allowed, ok := wants.([]any)
		if !ok {
			allowed = []any{wants}
		}
		if !slices.Contains(allowed, jsonType(value)) {
			return []string{fmt.Sprintf("%s: is %v, not of type %v", at, value, wants)}
		}
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, value) {
		all = append(all, fmt.Sprintf("%s: is %v, not one of %v", at, value, enum))
	}
	items, _ := schema["items"].(map[string]any)
	list, _ := value.([]any)
	for i, item := range list {
		all = append(all, disagreements(items, item, at+"["+strconv.Itoa(i)+"]")...)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return all
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := object[name.(string)]; !ok {
			all = append(all, fmt.Sprintf("%s: lacks %s", at, name))
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	others, _ := schema["additionalProperties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		property, known := properties[name].(map[string]any)
		if !known && schema["additionalProperties"] == false {
			all = append(all, fmt.Sprintf("%s: has no field %s", at, name))
			continue
		}
		if !known {
			property = others
		}
		all = append(all, disagreements(property, object[name], at+"."+name)...)
	}
	return all
}

// jsonType returns the name of the type that a value from YAML has in JSON schemas.
func jsonType(value any) any {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case int:
		return "integer"
	case float64:
		if v == math.Trunc(v) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// TestSlurmRecipe checks the command in the script for Slurm, and that its array has no gaps.
func TestSlurmRecipe(t *testing.T) {
	text := readFile(t, recipes+"slurm.sh")
	if info, err := os.Stat(recipes + "slurm.sh"); err != nil || !strings.HasPrefix(text, "#!/bin/bash\n") {
		t.Error(info, err)
	}
	if !regexp.MustCompile(`(?m)^#SBATCH --array=\d+-\d+%\d+$`).MatchString(text) {
		t.Error("the script has no array")
	}
	command := regexp.MustCompile(`(?m)^exec (griffin .*)$`).FindStringSubmatch(text)
	if command == nil {
		t.Fatal("the script runs no command")
	}
	checkCommand(t, "slurm.sh", newApp(io.Discard, io.Discard), strings.Fields(command[1]))
}
