package structure

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// imports lists, for each package of this module, the packages of this module that it may import
// (tests are not restricted). "x/..." stands for x and everything below it.
//
// Every package may import formats/tensor/task and formats/tensor/digest. There is one row for each package. A new package gets a row; TestImports fails without one.
// Imports point one way: cmd, verify, convert, formats, formats/tensor. Package reference imports
// only formats/tensor.
var imports = []struct {
	importer string
	may      []string
}{
	{"cmd/griffin", []string{"cmd/internal/...", "convert/...", "formats/...", "reference/...", "verify/..."}},
	{"cmd/internal/addresses", []string{"formats/storage/..."}},
	{"cmd/internal/completion", nil},
	{"cmd/internal/nearest", []string{"convert/names"}},
	{"cmd/internal/resident", nil},
	{"cmd/internal/release", nil},
	{"cmd/internal/schema", nil},
	{"cmd/internal/table", nil},
	{"cmd/internal/terminal", []string{"formats/tensor"}},

	{"convert", []string{"convert/...", "formats/..."}},
	{"convert/adapter", []string{"formats/..."}},
	{"convert/huggingface", []string{"convert/manifest", "formats/..."}},
	{"convert/internal/modeltest", []string{"convert/model", "formats/tensor", "formats/tensor/tensortest"}},
	{"convert/internal/movestest", []string{"convert/moves", "formats/tensor", "formats/tensor/tensortest"}},
	{"convert/manifest", []string{"formats/..."}},
	{"convert/model", []string{"convert/adapter", "convert/huggingface", "convert/manifest", "convert/source", "formats/...", "reference"}},
	{"convert/moves", []string{"formats/tensor"}},
	{"convert/names", []string{"formats/tensor"}},
	{"convert/proof", []string{"convert/moves", "convert/source", "formats/storage", "formats/strictjson", "formats/tensor"}}, // not convert/transfer, whose work it checks
	{"convert/run", []string{"convert", "formats", "formats/storage", "formats/tensor"}},
	{"convert/source", []string{"formats/tensor"}},
	{"convert/transfer", []string{"convert/moves", "convert/source", "formats/storage", "formats/storage/publish", "formats/tensor"}},

	{"formats", []string{"formats/..."}},
	{"formats/flax", []string{"formats/internal/...", "formats/storage", "formats/tensor"}},
	{"formats/hfconfig", []string{"formats/storage", "formats/strictjson", "formats/tensor"}},
	{"formats/internal/foreign", []string{"formats/tensor"}},
	{"formats/internal/shardindex", []string{"formats/storage", "formats/strictjson", "formats/tensor"}},
	{"formats/npy", []string{"formats/tensor"}},
	{"formats/orbax", []string{"formats/flax", "formats/internal/...", "formats/orbax/...", "formats/storage", "formats/storage/publish", "formats/strictjson", "formats/tensor"}},
	{"formats/orbax/internal/files", []string{"formats/storage", "formats/tensor"}},
	{"formats/orbax/internal/zstdframe", []string{"formats/tensor"}},
	{"formats/orbax/ocdbt", []string{"formats/orbax/internal/...", "formats/storage", "formats/storage/publish", "formats/tensor"}},
	{"formats/orbax/zarr", []string{"formats/strictjson", "formats/orbax/internal/...", "formats/storage", "formats/tensor"}},
	{"formats/peft", []string{"formats/safetensors", "formats/storage", "formats/strictjson", "formats/tensor", "formats/torch"}},
	{"formats/quantized", []string{"formats/hfconfig", "formats/storage", "formats/strictjson", "formats/tensor"}},
	{"formats/safetensors", []string{"formats/internal/...", "formats/storage", "formats/storage/publish", "formats/strictjson", "formats/tensor"}},
	{"formats/sentencepiece", []string{"formats/internal/foreign", "formats/tensor"}},
	{"formats/storage", []string{"formats/storage/internal/system", "formats/tensor"}},
	{"formats/storage/bucket", []string{"formats/storage", "formats/storage/publish", "formats/storage/remote", "formats/storage/upload"}},
	{"formats/storage/hub", []string{"formats/storage", "formats/storage/internal/...", "formats/storage/remote"}},
	{"formats/storage/internal/httpfile", []string{"formats/storage/remote"}},
	{"formats/storage/publish", []string{"formats/storage", "formats/storage/internal/system", "formats/tensor"}},
	{"formats/storage/remote", []string{"formats/storage", "formats/tensor"}},
	{"formats/storage/internal/system", nil},
	{"formats/storage/storagetest", []string{"formats/storage/internal/system", "formats/storage/remote"}}, // for tests
	{"formats/storage/upload", []string{"formats/storage", "formats/storage/publish", "formats/storage/remote"}},
	{"formats/storage/web", []string{"formats/storage", "formats/storage/internal/...", "formats/storage/remote"}},
	{"formats/strictjson", []string{"formats/internal/foreign", "formats/tensor"}},
	{"formats/tensor", nil},
	{"formats/tensor/digest", nil},
	{"formats/tensor/task", nil},
	{"formats/tensor/text", nil},
	{"formats/tensor/tensortest", []string{"formats/tensor"}},
	{"formats/torch", []string{"formats/internal/...", "formats/storage", "formats/storage/publish", "formats/tensor", "formats/torch/internal/savefile"}},
	{"formats/torch/dcp", []string{"formats/safetensors", "formats/storage", "formats/tensor", "formats/torch/internal/..."}},
	{"formats/torch/internal/assemble", []string{"formats/tensor"}},
	{"formats/torch/internal/pickle", []string{"formats/tensor"}},
	{"formats/torch/internal/savefile", []string{"formats/tensor", "formats/torch/internal/pickle"}},
	{"formats/torch/internal/torchtest", []string{"formats/tensor"}},
	{"formats/torch/internal/trainer", []string{"formats/tensor"}},
	{"formats/torch/ranks", []string{"formats/storage", "formats/tensor", "formats/torch/internal/..."}},
	{"formats/torch/zero", []string{"formats/storage", "formats/tensor", "formats/torch/internal/..."}},

	{"reference", []string{"formats/tensor", "reference/kernel"}},
	{"reference/generate", []string{"formats/safetensors", "formats/storage", "formats/storage/publish", "formats/tensor", "reference", "reference/internal/stream"}},
	{"reference/internal/ceiling", nil}, // for benchmarks
	{"reference/internal/stream", []string{"formats/tensor", "reference"}},
	{"reference/kernel", []string{"formats/tensor"}},
	{"reference/perplexity", []string{"formats/tensor", "reference", "reference/internal/stream"}},
	{"reference/tokenizer", []string{"formats/sentencepiece", "formats/tensor"}},

	{"verify", []string{"convert/...", "formats/...", "reference", "verify/diff", "verify/diff/explain", "verify/golden", "verify/internal/...", "verify/logits", "verify/runtime", "verify/stats"}},
	{"verify/diff", []string{"convert/...", "formats/...", "reference/kernel", "verify/diff/explain", "verify/diff/internal/config", "verify/internal/...", "verify/runtime", "verify/stats"}},
	{"verify/diff/explain", []string{"convert/...", "formats/...", "reference/kernel", "verify/internal/..."}},
	{"verify/diff/internal/config", []string{"convert/model", "formats/hfconfig", "formats/tensor"}},
	{"verify/golden", []string{"convert", "formats/safetensors", "formats/storage", "formats/storage/publish", "formats/tensor", "reference", "verify/internal/forward"}},
	{"verify/internal/beside", []string{"formats/hfconfig", "formats/storage", "formats/tensor"}},
	{"verify/internal/cases", []string{"convert/...", "formats", "verify/runtime"}}, // for tests
	{"verify/internal/float", nil},
	{"verify/internal/forward", []string{"reference"}},
	{"verify/internal/recordcheck", []string{"convert", "convert/manifest", "convert/model", "formats/hfconfig", "formats/tensor"}},
	{"verify/internal/statement", []string{"convert", "convert/huggingface", "convert/manifest", "convert/model", "formats/hfconfig", "formats/tensor"}},
	{"verify/logits", []string{"convert/...", "formats/storage", "formats/tensor", "reference", "verify/golden", "verify/internal/float", "verify/internal/forward", "verify/runtime", "verify/stats"}},
	{"verify/report", []string{"formats/storage", "formats/storage/publish", "formats/strictjson", "formats/tensor", "reference", "reference/perplexity", "verify", "verify/diff/...", "verify/golden", "verify/internal/...", "verify/logits", "verify/report/internal/...", "verify/runtime", "verify/stats"}},
	{"verify/report/internal/chart", nil},
	{"verify/report/internal/page", []string{"formats/tensor", "verify/internal/float"}},
	{"verify/runtime", []string{"convert/...", "formats/hfconfig", "formats/quantized", "formats/tensor", "reference", "verify/golden"}},
	{"verify/stats", []string{"formats/tensor", "verify/internal/float"}},
}

// everywhere are the packages that every package may import.
var everywhere = []string{"formats/tensor/digest", "formats/tensor/task", "formats/tensor/text"}

func TestImports(t *testing.T) {
	rules := map[string][]string{}
	for _, rule := range imports {
		if _, twice := rules[rule.importer]; twice {
			t.Errorf("the table imports has two rows for %s", rule.importer)
		}
		rules[rule.importer] = rule.may
	}
	exists := map[string]bool{}
	for _, p := range packages(t) {
		if len(p.files) == 0 {
			continue
		}
		exists[p.path] = true
		may, ok := rules[p.path]
		if !ok {
			t.Errorf("package %s has no row in the table imports", p.path)
			continue
		}
		for _, file := range p.files {
			for _, spec := range file.ast.Imports {
				name, _ := strconv.Unquote(spec.Path.Value)
				target, own := strings.CutPrefix(name, module+"/")
				if own && !slices.Contains(everywhere, target) && !slices.ContainsFunc(may, func(pattern string) bool { return matches(target, pattern) }) {
					t.Errorf("%s: package %s may not import %s", file.name, p.path, target)
				}
			}
		}
	}
	for importer := range rules {
		if !exists[importer] {
			t.Errorf("the table imports has a row for %s, which does not exist", importer)
		}
	}
}

// TestOnlyTwoCommandsAreFast checks that verdicts and fixtures never come from reference.Fast: only the option of generate and
// perplexity names it.
func TestOnlyTwoCommandsAreFast(t *testing.T) {
	found := false
	for _, p := range packages(t) {
		if p.path == "reference" {
			continue
		}
		for _, file := range p.files {
			ast.Inspect(file.ast, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok || s.Sel.Name != "Fast" {
					return true
				}
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "reference" {
					if found = true; file.name != "cmd/griffin/generate.go" {
						t.Errorf("%s uses reference.Fast", file.name)
					}
				}
				return true
			})
		}
	}
	if !found {
		t.Error("cmd/griffin/generate.go does not use reference.Fast")
	}
}

// confined lists packages of the standard library and of other modules that only some packages, or
// only some files, of this module may import. "x/..." stands for x and everything below it.
var confined = []struct {
	imported string
	only     []string
	reason   string
}{
	{"os", []string{
		"cmd/griffin", "cmd/internal/completion", "cmd/internal/nearest", "cmd/internal/resident", "cmd/internal/release", "cmd/internal/terminal", "formats/storage", "formats/storage/bucket", "formats/storage/hub", "formats/storage/internal/system", "formats/storage/publish",
		// Files that write, or look at a destination.
		"convert/stage.go", "convert/replaceable.go", "convert/huggingface/copy.go",
		"formats/torch/internal/torchtest", "verify/internal/cases", // for tests
	}, "files are read through a source of formats/storage"},
	{"net/http", []string{"cmd/griffin", "formats/storage/..."}, "networks are reached through formats/storage"},
	{"gocloud.dev/...", []string{"formats/storage/bucket"}, "the clouds' libraries are heavy; only the command imports what has them"},
	{module + "/formats/storage/bucket", []string{"cmd/internal/addresses"}, "the clouds' libraries are heavy"},
	{"github.com/urfave/cli/...", []string{"cmd/griffin"}, "flags are read by the command"},
}

func TestConfinedImports(t *testing.T) {
	used := map[string]bool{} // files named in confined with what they import
	for _, p := range packages(t) {
		for _, file := range p.files {
			for _, spec := range file.ast.Imports {
				name, _ := strconv.Unquote(spec.Path.Value)
				for _, rule := range confined {
					if !matches(name, rule.imported) {
						continue
					}
					used[file.name+" "+rule.imported] = true
					if !slices.ContainsFunc(rule.only, func(pattern string) bool { return matches(p.path, pattern) || file.name == pattern }) {
						t.Errorf("%s may not import %s: %s", file.name, name, rule.reason)
					}
				}
			}
		}
	}
	for _, rule := range confined {
		for _, only := range rule.only {
			if strings.HasSuffix(only, ".go") && !used[only+" "+rule.imported] {
				t.Errorf("%s does not import %s: remove it from the table confined", only, rule.imported)
			}
		}
	}
}
