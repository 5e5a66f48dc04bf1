package quantized

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// claim is what config.json states about the quantisation.
type claim struct {
	path    string // of the file
	method  string // quant_method, "mlx", or "" if nothing is stated
	fields  map[string]any
	block   [2]int64 // weight_block_size; 0 if it is not stated
	skipped []string // modules that are not quantised
}

// The objects of config.json that describe a quantisation: of transformers, and of MLX.
const (
	transformersField = "quantization_config."
	mlxField          = "quantization."
)

const methodOfMLX = "mlx"

// readClaim reads the config.json of a checkpoint. It is empty if there is none.
func readClaim(c *tensor.Checkpoint) (*claim, error) {
	name := c.Beside(hfconfig.Name)
	out := &claim{path: storage.Path(c.Source, name)}
	fields, err := hfconfig.Fields(c.Source, name)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.fields = fields
	method, stated := fields[transformersField+"quant_method"].(string)
	_, isMLX := fields[mlxField+"group_size"]
	switch {
	case stated:
		out.method = method
	case isMLX:
		out.method = methodOfMLX
	}
	if list, ok := fields[transformersField+"weight_block_size"].([]any); ok && len(list) == 2 {
		for i, v := range list {
			n, ok := strictjson.Int(v)
			if !ok || n < 1 || n > 1<<30 {
				return nil, tensor.Bad("field %q is not two sizes", transformersField+"weight_block_size").In(out.path).Because(ReasonMismatch)
			}
			out.block[i] = n
		}
	}
	for _, key := range []string{"modules_to_not_convert", "llm_int8_skip_modules", "ignored_layers", "ignore"} {
		list, _ := fields[transformersField+key].([]any)
		for _, v := range list {
			if s, ok := v.(string); ok && s != "" {
				out.skipped = append(out.skipped, s)
			}
		}
	}
	return out, nil
}

func (c *claim) flag(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return c.fields[transformersField+name] == true })
}

// mlxClaim is what config.json states about one matrix of MLX.
type mlxClaim struct {
	group int64
	bits  int
	mode  string
}

// mlx returns what is stated about a module: by its own entry, or by that of all.
func (c *claim) mlx(module string) (*mlxClaim, error) {
	get := func(key string) any {
		for _, prefix := range []string{mlxField + module + ".", mlxField} {
			if v, ok := c.fields[prefix+key]; ok {
				return v
			}
		}
		return nil
	}
	out := &mlxClaim{mode: "affine"}
	if mode, ok := get("mode").(string); ok {
		out.mode = mode
	}
	bits, ok := strictjson.Int(get("bits"))
	group, ok2 := strictjson.Int(get("group_size"))
	switch {
	case !ok || !ok2:
		return nil, tensor.Bad("a matrix of MLX whose group size and bits no config.json states").Because(ReasonScheme)
	case !slices.Contains([]int64{2, 3, 4, 5, 6, 8}, bits), group < 8 || group > 1<<20 || group%8 != 0:
		return nil, tensor.Bad("config.json states groups of %d elements of %d bits, which MLX does not have", group, bits).Because(ReasonMismatch)
	}
	out.group, out.bits = group, int(bits)
	return out, nil
}

// check compares the claim with the matrices, and with the tensors that are no part of one. An empty claim fits everything.
func (c *claim) check(weights []*Weight, others []*tensor.Tensor) error {
	if c.method == "" {
		return nil
	}
	kinds := map[string]bool{} // last parts of the names of quantised modules
	for _, w := range weights {
		if want := c.mismatch(w); want != "" {
			return tensor.Bad("states %s, but %s is %s", want, tensor.QuoteName(w.Tensor.Name), w.Scheme).Because(ReasonMismatch)
		}
		if module := strings.TrimSuffix(w.Tensor.Name, endWeight); slices.Contains(c.skipped, module) {
			return tensor.Bad("states that %s is not quantised, but it is %s", tensor.QuoteName(module), w.Scheme).Because(ReasonMismatch)
		}
		kinds[kindOf(w.Tensor)] = true
	}
	for _, t := range others {
		if c.method == methodOfMLX || len(t.Shape) != 2 || !strings.HasSuffix(t.Name, endWeight) || !kinds[kindOf(t)] {
			continue
		}
		if !slices.ContainsFunc(c.skipped, func(module string) bool { return strings.Contains(t.Name, module) }) {
			return tensor.Bad("states a quantisation of all modules like %s, but that has %s, and is not named as one that is left alone",
				tensor.QuoteName(strings.TrimSuffix(t.Name, endWeight)), t.DType).Because(ReasonMismatch)
		}
	}
	return nil
}

// kindOf returns the last part of the name of the module of a tensor: "q_proj".
func kindOf(t *tensor.Tensor) string {
	module := strings.TrimSuffix(t.Name, endWeight)
	return module[strings.LastIndexByte(module, '.')+1:]
}

// mismatch returns what is stated if a matrix is something else, otherwise "".
func (c *claim) mismatch(w *Weight) string {
	s := w.Scheme
	switch c.method {
	case "bitsandbytes":
		return c.mismatchBitsandbytes(s)
	case methodOfMLX:
		return unlessTrue(s.Method == methodMLX, "a quantisation by MLX")
	case "fp8":
		if !strings.HasPrefix(s.Method, methodFloat8) {
			return "quant_method fp8"
		}
		g := w.rule.grid
		if c.block[0] > 0 && (min(c.block[0], g.rows) != min(g.blockRows, g.rows) || min(c.block[1], g.cols) != min(g.blockCols, g.cols)) {
			return fmt.Sprintf("blocks of %d x %d", c.block[0], c.block[1])
		}
		return ""
	case "fbgemm_fp8", "compressed-tensors", "modelopt":
		return unlessTrue(strings.HasPrefix(s.Method, methodFloat8), "quant_method "+c.method)
	}
	return "quant_method " + tensor.QuoteName(c.method)
}

func (c *claim) mismatchBitsandbytes(s Scheme) string {
	in8, in4 := c.flag("load_in_8bit", "_load_in_8bit"), c.flag("load_in_4bit", "_load_in_4bit")
	if s.Method == methodInt8 {
		return unlessTrue(in8, "quant_method bitsandbytes without load_in_8bit")
	}
	kind, _ := c.fields[transformersField+"bnb_4bit_quant_type"].(string)
	switch double := c.flag("bnb_4bit_use_double_quant"); {
	case s.Method != methodNF4 && s.Method != methodFP4:
		return "quant_method bitsandbytes"
	case !in4:
		return "quant_method bitsandbytes without load_in_4bit"
	case kind != "" && "bitsandbytes "+kind != s.Method:
		return "bnb_4bit_quant_type " + tensor.QuoteName(kind)
	case double != s.Double:
		return fmt.Sprintf("bnb_4bit_use_double_quant %t", double)
	}
	return ""
}

func unlessTrue(ok bool, claim string) string {
	if ok {
		return ""
	}
	return claim
}

// Claimed returns the quantisation that the config.json of a checkpoint states, "" if it states none. The
// tensors may not be quantised all the same: Open returns nil then.
func Claimed(c *tensor.Checkpoint) (string, error) {
	stated, err := readClaim(c)
	if err != nil {
		return "", err
	}
	return stated.method, nil
}

// notes returns what a reader should know about a copy with this claim.
func (c *claim) notes(q *Copy) (notes []string) {
	if c.method == "" {
		notes = append(notes, "config.json does not state the quantisation: transformers would take the stored codes for weights, without their scales")
	}
	if n, ok := c.fields[transformersField+"llm_int8_threshold"].(json.Number); ok && q.Weights[0].Scheme.Method == methodInt8 {
		notes = append(notes, fmt.Sprintf("when bitsandbytes runs the copy, it also quantises activations, except those of at least llm_int8_threshold %s; griffin does not", n))
	}
	return notes
}
