package orbax

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// TestWriteForOthers writes checkpoints for testdata/interop/orbax_write.py, which has the real
// libraries read them: TREE/FORMAT and, what is in it, TREE/FORMAT.json.
func TestWriteForOthers(t *testing.T) {
	out := os.Getenv("GRIFFIN_WRITE_SAMPLES")
	if out == "" {
		t.Skip("testdata/interop/orbax_write.py runs this")
	}
	trees := map[string]func(s tensor.Spec) bool{
		"types":  func(s tensor.Spec) bool { return true },
		"common": func(s tensor.Spec) bool { return !slices.Contains(newTypes, s.DType) },
		"one":    func(s tensor.Spec) bool { return s.Name == "params.final_norm.scale" },
	}
	for name, in := range trees {
		for _, format := range Formats() {
			specs, data := writeCases(11, format)
			var treeSpecs []tensor.Spec
			var treeData [][]byte
			for i, s := range specs {
				if in(s) {
					treeSpecs, treeData = append(treeSpecs, s), append(treeData, data[i])
				}
			}
			writeForOthers(t, filepath.Join(out, name, format.String()), format, limits{}, treeSpecs, treeData)
			writeForOthers(t, filepath.Join(out, name, format.String()+"-small"), format, small, treeSpecs, treeData)
		}
	}
	var many []tensor.Spec
	var manyData [][]byte
	for i := range 1500 {
		many = append(many, tensor.Spec{Name: fmt.Sprintf("params.blocks.%d.layer_%d.w", i/50, i%50), DType: tensor.F32, Shape: []int64{int64(1 + i%7), 3}})
		b := make([]byte, 12*(1+i%7))
		for j := range b {
			b[j] = byte(i * (j + 1))
		}
		manyData = append(manyData, b)
	}
	for _, format := range Formats() {
		writeForOthers(t, filepath.Join(out, "many", format.String()), format, small, many, manyData)
	}
}

// newTypes are those that TensorStore did not know in 2024.
var newTypes = []tensor.DType{tensor.F8E3M4, tensor.F4Byte, tensor.I2}

func writeForOthers(t *testing.T, dir string, format Format, limits limits, specs []tensor.Spec, data [][]byte) {
	t.Helper()
	type leaf struct {
		Path   []string `json:"path"`
		DType  string   `json:"dtype"`
		Shape  []int64  `json:"shape"`
		SHA256 string   `json:"sha256"`
	}
	leaves := map[string]leaf{}
	for i, s := range specs {
		sum := sha256.Sum256(data[i])
		leaves[s.Name] = leaf{splitName(s.Name), s.DType.String(), append([]int64{}, s.Shape...), hex.EncodeToString(sum[:])}
	}
	text, err := json.Marshal(leaves)
	if err == nil {
		err = os.MkdirAll(dir, 0o777)
	}
	if err == nil {
		err = os.WriteFile(dir+".json", text, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	writeAll(t, dir, format, limits, specs, data, rand.Perm(len(specs)))
}
