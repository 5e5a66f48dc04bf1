package peft

import (
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Change is what an adapter does to a parameter W of the base. The steps, in this order, as far as their fields are
// set: Value replaces W; Scale times the product of Left and Right is added; the rows are scaled to the lengths in
// Magnitude; Rows replace the rows at Indices.
type Change struct {
	Parameter string // full name in the base, such as "model.layers.0.mlp_block.up_proj.weight"

	Value *tensor.Tensor // nil keeps W

	Left, Right *Factor // [rows of W, rank] and [rank, columns of W]; for a vector nil and [1, length]
	Scale       float64

	Magnitude *tensor.Tensor // DoRA: row i of the sum is multiplied by Magnitude[i] / its Euclidean length

	Rows    *tensor.Tensor // [tokens, columns of W]
	Indices []int64
}

// Factor is a matrix of an adapter, or its transpose.
type Factor struct {
	Tensor     *tensor.Tensor // of two axes; one of one axis is a row
	Transposed bool
}

// Shape returns the number of rows and columns.
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

// module is the tensors of an adapter for one module of the base.
type module struct {
	name  string
	parts map[part]*tensor.Tensor
	order []*Change // of its parameters, in the order of the file
}

// part is the role of a tensor for its module.
type part uint8

const (
	partA part = iota
	partB
	partBBias
	partEmbeddingA
	partEmbeddingB
	partMagnitude
	partTokens
	partWeight // replaces that of the base
	partBias   // replaces that of the base
	partOther  // replaces a parameter that is neither weight nor bias

	// If PEFT believes that the embedding was resized, it also saves the trained module a second time and the
	// original module.
	partSavedWeight
	partSavedBias
	partOriginal
)

// partNames are the suffixes of names. The first suffix that matches counts. PEFT removes the name of the adapter when
// it saves; other programs keep "default".
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

// prefixes precede the names of the base. PEFT writes the first.
var prefixes = []string{"base_model.model.", "base_model."}

// changes returns what the tensors of an adapter change, module by module.
func (c *Config) changes(tensors []*tensor.Tensor) ([]Change, error) {
	if len(c.refused) > 0 {
		return nil, tensor.Bad("an adapter that griffin cannot merge exactly: %s", strings.Join(c.refused, "; "))
	}
	if len(tensors) == 0 {
		return nil, tensor.Bad("the adapter has no tensors")
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

// collect groups tensors by module, in the order of the file.
func collect(tensors []*tensor.Tensor) ([]*module, error) {
	byName := map[string]*module{}
	var order []*module
	for _, t := range tensors {
		name, what, err := parse(t.Name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains([]tensor.DType{tensor.F64, tensor.F32, tensor.BF16, tensor.F16}, t.DType) {
			return nil, tensor.Bad("type %s is not float64, float32, bfloat16 or float16", t.DType).Of(tensor.Clip(t.Name))
		}
		m := byName[name]
		if m == nil {
			m = &module{name: name, parts: map[part]*tensor.Tensor{}}
			byName[name] = m
			order = append(order, m)
		}
		if other := m.parts[what]; other != nil && what != partOriginal {
			return nil, tensor.Bad("has the same role as %s", tensor.QuoteName(other.Name)).Of(tensor.Clip(t.Name))
		}
		m.parts[what] = t
	}
	return order, nil
}

// parse splits the name of a tensor into a module of the base and a role.
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
		return "", 0, tensor.Bad("not a name of a tensor of a LoRA adapter").Of(tensor.Clip(name))
	}
	return base, partOther, nil
}

// of returns the change of a parameter of the module.
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

// work computes the changes of a module.
func (c *Config) work(m *module) error {
	weight, bias := m.name+".weight", m.name+".bias"
	rank, scale := c.scaleOf(m.name)
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
		return tensor.Bad("module is adapted both as a dense layer and as an embedding").Of(tensor.Clip(m.name))
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
			return tensor.Bad("%s is not a bias of a product", tensor.ShapeString(t.Shape)).Of(tensor.Clip(t.Name))
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
		return tensor.Bad("rows of single tokens, but the whole module is adapted too").Of(tensor.Clip(tokens.Name))
	}
	return c.workTokens(m, weight, tokens)
}

// product adds a product of two factors, [rows, rank] and [rank, columns]. Those of an embedding are stored transposed.
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
		return tensor.Bad("factors have the ranks %d and %d, but the configuration has %d", r, s, rank).Of(tensor.Clip(m.name))
	}
	return nil
}

// workDoRA adds the lengths of the rows of a dense layer with DoRA.
func (c *Config) workDoRA(m *module, weight string, a *tensor.Tensor) error {
	t := m.parts[partMagnitude]
	switch {
	case t == nil && c.DoRA && a != nil:
		return tensor.Bad("use_dora is true, but there is no lora_magnitude_vector").Of(tensor.Clip(m.name))
	case t == nil && c.DoRA && m.parts[partEmbeddingA] != nil, t != nil && a == nil:
		return tensor.Bad("DoRA is only merged on dense layers").Of(tensor.Clip(m.name))
	case t == nil:
		return nil
	case !c.DoRA:
		return tensor.Bad("a magnitude of DoRA, but use_dora is not true").Of(tensor.Clip(t.Name))
	case len(t.Shape) != 1:
		return tensor.Bad("%s is not a magnitude of rows", tensor.ShapeString(t.Shape)).Of(tensor.Clip(t.Name))
	}
	m.of(weight).Magnitude = t
	return nil
}

// workTokens adds the rows of single tokens.
func (c *Config) workTokens(m *module, weight string, rows *tensor.Tensor) error {
	indices, ok := c.tokens[m.name]
	for name, list := range c.tokens {
		if !ok && (name == "" || strings.HasSuffix(m.name, "."+name)) {
			indices, ok = list, true
		}
	}
	if !ok || len(rows.Shape) != 2 || rows.Shape[0] != int64(len(indices)) {
		return tensor.Bad("shape is %s, but trainable_token_indices lists %d tokens", tensor.ShapeString(rows.Shape), len(indices)).Of(tensor.Clip(rows.Name))
	}
	change := m.of(weight)
	change.Rows, change.Indices = rows, indices
	return nil
}
