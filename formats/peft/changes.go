package peft

import (
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Change is what an adapter does to one parameter of the base, W. In this order, as far as the parts
// are there: Value takes the place of W; Scale times the product of Left and Right is added; the rows
// are brought to the lengths that Magnitude has; Rows take the place of those at Indices.
type Change struct {
	Parameter string // full name in the base, such as "model.layers.0.mlp_block.up_proj.weight"

	Value *tensor.Tensor // nil: W stays

	Left, Right *Factor // [rows of W, rank] and [rank, columns of W]; for a vector nil and [1, length]
	Scale       float64

	Magnitude *tensor.Tensor // DoRA: row i of the sum is multiplied by Magnitude[i] / its Euclidean length

	Rows    *tensor.Tensor // [tokens, columns of W]
	Indices []int64
}

// Factor is a matrix that an adapter keeps, or its transpose.
type Factor struct {
	Tensor     *tensor.Tensor // of two axes, or of one, which stands for one row
	Transposed bool
}

// Shape returns the rows and columns of the factor.
func (f *Factor) Shape() (rows, columns int64) {
	s := f.Tensor.Shape
	if len(s) == 1 {
		return 1, s[0]
	}
	if f.Transposed {
		return s[1], s[0]
	}
	return s[0], s[1]
}

// maxTensors is far more than any adapter has.
const maxTensors = 50_000

// module collects what an adapter has for one module of the base.
type module struct {
	name  string
	parts map[part]*tensor.Tensor
	order []*Change // of its parameters
}

// part is what a tensor of an adapter is for its module.
type part uint8

const (
	partA part = iota
	partB
	partBBias
	partEmbeddingA
	partEmbeddingB
	partMagnitude
	partTokens
	partWeight // takes the place of the base's
	partBias   // takes the place of the base's
	partOther  // takes the place of a parameter that is neither weight nor bias

	// What PEFT saves besides where it takes the embedding for one of another size: the module that was
	// trained, once more, and the one that it was.
	partSavedWeight
	partSavedBias
	partOriginal
)

// partNames are the ends of names. The first that fits counts. PEFT leaves the adapter's name out when
// it saves; others keep "default".
var partNames = []struct {
	end  string
	part part
}{
	{".lora_A.weight", partA}, {".lora_A.default.weight", partA},
	{".lora_B.weight", partB}, {".lora_B.default.weight", partB},
	{".lora_B.bias", partBBias}, {".lora_B.default.bias", partBBias},
	{".lora_embedding_A", partEmbeddingA}, {".lora_embedding_A.default", partEmbeddingA},
	{".lora_embedding_B", partEmbeddingB}, {".lora_embedding_B.default", partEmbeddingB},
	{".lora_magnitude_vector", partMagnitude}, {".lora_magnitude_vector.weight", partMagnitude},
	{".lora_magnitude_vector.default.weight", partMagnitude},
	{".token_adapter.trainable_tokens_delta", partTokens}, {".token_adapter.trainable_tokens_delta.default", partTokens},
	{".modules_to_save.weight", partSavedWeight}, {".modules_to_save.default.weight", partSavedWeight},
	{".modules_to_save.bias", partSavedBias}, {".modules_to_save.default.bias", partSavedBias},
	{".original_module.weight", partOriginal}, {".original_module.bias", partOriginal},
	{".base_layer.weight", partWeight}, {".weight", partWeight}, {".base_layer.bias", partBias}, {".bias", partBias},
}

// prefixes precede the names of the base in those of the adapter; the first is PEFT's own.
var prefixes = []string{"base_model.model.", "base_model."}

// changes works out what the tensors of an adapter change, module by module.
func (c *Config) changes(tensors []*tensor.Tensor) ([]Change, error) {
	if len(c.refused) > 0 {
		return nil, tensor.Bad("an adapter that griffin cannot merge exactly: %s", strings.Join(c.refused, "; "))
	}
	if len(tensors) == 0 {
		return nil, tensor.Bad("an adapter without tensors")
	}
	if len(tensors) > maxTensors {
		return nil, tensor.Bad("an adapter of %d tensors; more than %d are not read", len(tensors), maxTensors)
	}
	modules, err := collect(tensors)
	if err != nil {
		return nil, err
	}
	names := int64(0)
	for _, m := range modules {
		names += int64(len(m.name))
	}
	if err := c.checkEffort(names); err != nil {
		return nil, err
	}
	var out []Change
	for _, m := range modules {
		if err := c.work(m); err != nil {
			return nil, err
		}
		for _, change := range m.order {
			out = append(out, *change)
		}
	}
	return out, nil
}

// collect sorts tensors by module, in the order of the file.
func collect(tensors []*tensor.Tensor) ([]*module, error) {
	byName := map[string]*module{}
	var order []*module
	for _, t := range tensors {
		name, what, err := parse(t.Name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains([]tensor.DType{tensor.F64, tensor.F32, tensor.BF16, tensor.F16}, t.DType) {
			return nil, tensor.Bad("type %s; an adapter's tensors are float64, float32, bfloat16 or float16", t.DType).Of(tensor.Clip(t.Name))
		}
		m := byName[name]
		if m == nil {
			m = &module{name: name, parts: map[part]*tensor.Tensor{}}
			byName[name] = m
			order = append(order, m)
		}
		if other := m.parts[what]; other != nil && what != partOriginal {
			return nil, tensor.Bad("says the same as %s", tensor.QuoteName(other.Name)).Of(tensor.Clip(t.Name))
		}
		m.parts[what] = t
	}
	return order, nil
}

// parse takes a name apart into a module of the base and what the tensor is for it.
func parse(name string) (module string, what part, err error) {
	base := name
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(name, p); ok {
			base = rest
			break
		}
	}
	for _, p := range partNames {
		if module, ok := strings.CutSuffix(base, p.end); ok && module != "" && !strings.Contains(module, "lora_") {
			return module, p.part, nil
		}
	}
	if base == "" || strings.Contains(base, "lora_") || strings.Contains(base, "token_adapter") {
		return "", 0, tensor.Bad("no name that PEFT gives to a tensor of a LoRA adapter").Of(tensor.Clip(name))
	}
	return base, partOther, nil
}

// of returns the change to one of the module's parameters.
func (m *module) of(parameter string) *Change {
	for _, c := range m.order {
		if c.Parameter == parameter {
			return c
		}
	}
	c := &Change{Parameter: parameter}
	m.order = append(m.order, c)
	return c
}

// work fills in the changes of a module.
func (c *Config) work(m *module) error {
	weight, bias := m.name+".weight", m.name+".bias"
	rank, scale := c.scaleOf(m.name)
	if math.IsNaN(scale) || math.IsInf(scale, 0) {
		return tensor.Bad("the scaling of %s is %v", tensor.QuoteName(m.name), scale)
	}
	for _, v := range []struct {
		part part
		name string
	}{{partSavedWeight, weight}, {partSavedBias, bias}, {partWeight, weight}, {partBias, bias}, {partOther, m.name}} {
		if t := m.parts[v.part]; t != nil {
			m.of(v.name).Value = t
		}
	}
	a, b := m.parts[partA], m.parts[partB]
	ea, eb := m.parts[partEmbeddingA], m.parts[partEmbeddingB]
	tokens := m.parts[partTokens]
	switch {
	case (a != nil || b != nil) && (ea != nil || eb != nil):
		return tensor.Bad("adapted both as a dense layer and as an embedding").Of(tensor.Clip(m.name))
	case a != nil || b != nil:
		if err := m.product(weight, b, a, false, rank, scale); err != nil {
			return err
		}
	case ea != nil || eb != nil:
		if err := m.product(weight, ea, eb, true, rank, scale); err != nil {
			return err
		}
	}
	if t := m.parts[partBBias]; t != nil {
		if a == nil || len(t.Shape) != 1 {
			return tensor.Bad("%s is no bias of a product", tensor.ShapeString(t.Shape)).Of(tensor.Clip(t.Name))
		}
		change := m.of(bias)
		change.Right, change.Scale = &Factor{Tensor: t}, scale
	}
	if err := c.workDoRA(m, weight, a); err != nil {
		return err
	}
	if tokens == nil {
		return nil
	}
	if len(m.order) > 0 {
		return tensor.Bad("single tokens of a module that is adapted as a whole").Of(tensor.Clip(tokens.Name))
	}
	return c.workTokens(m, weight, tokens)
}

// product adds a product of two factors, [rows, rank] and [rank, columns]. Both are stored
// transposed for an embedding.
func (m *module) product(parameter string, left, right *tensor.Tensor, transposed bool, rank int64, scale float64) error {
	for _, t := range []*tensor.Tensor{left, right} {
		if t == nil {
			return tensor.Bad("one of the two factors is missing").Of(tensor.Clip(m.name))
		}
		if len(t.Shape) != 2 {
			what := "a factor of a dense layer has two axes"
			if len(t.Shape) == 3 {
				what += "; adapters of convolutions are not merged"
			}
			return tensor.Bad("%s: %s", tensor.ShapeString(t.Shape), what).Of(tensor.Clip(t.Name))
		}
	}
	change := m.of(parameter)
	change.Left, change.Right, change.Scale = &Factor{left, transposed}, &Factor{right, transposed}, scale
	_, r := change.Left.Shape()
	s, _ := change.Right.Shape()
	if r != rank || s != rank {
		return tensor.Bad("factors of rank %d and %d, where the configuration says %d", r, s, rank).Of(tensor.Clip(m.name))
	}
	return nil
}

// workDoRA adds the lengths that DoRA gives to the rows of a dense layer.
func (c *Config) workDoRA(m *module, weight string, a *tensor.Tensor) error {
	t := m.parts[partMagnitude]
	switch {
	case t == nil && c.DoRA && a != nil:
		return tensor.Bad("use_dora is true, and there is no lora_magnitude_vector").Of(tensor.Clip(m.name))
	case t == nil && c.DoRA && m.parts[partEmbeddingA] != nil, t != nil && a == nil:
		return tensor.Bad("DoRA on what is no dense layer is not merged").Of(tensor.Clip(m.name))
	case t == nil:
		return nil
	case !c.DoRA:
		return tensor.Bad("a magnitude of DoRA, where use_dora is not true").Of(tensor.Clip(t.Name))
	case len(t.Shape) != 1:
		return tensor.Bad("%s is no magnitude of rows", tensor.ShapeString(t.Shape)).Of(tensor.Clip(t.Name))
	}
	m.of(weight).Magnitude = t
	return nil
}

// workTokens adds the rows that were trained alone.
func (c *Config) workTokens(m *module, weight string, rows *tensor.Tensor) error {
	indices, ok := c.tokens[m.name]
	for name, list := range c.tokens {
		if !ok && (name == "" || strings.HasSuffix(m.name, "."+name)) {
			indices, ok = list, true
		}
	}
	if !ok || len(rows.Shape) != 2 || rows.Shape[0] != int64(len(indices)) {
		return tensor.Bad("%s, where trainable_token_indices lists %d tokens", tensor.ShapeString(rows.Shape), len(indices)).Of(tensor.Clip(rows.Name))
	}
	change := m.of(weight)
	change.Rows, change.Indices = rows, indices
	return nil
}
