package quantized

import (
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Endings of the names of what stands beside the codes of a matrix. The codes have the name of the matrix itself, which
// ends in .weight.
const (
	endWeight     = ".weight"
	endSCB        = ".SCB"           // bitsandbytes int8: the largest absolute value of each row
	endFormat     = ".weight_format" // bitsandbytes int8: the order of the elements
	endAbsmax     = ".absmax"        // bitsandbytes 4-bit: the largest absolute value of each block
	endQuantState = ".quant_state.bitsandbytes__"
	endScale      = "_scale" // fp8
	endScaleInv   = "_scale_inv"
	endScales     = ".scales" // MLX
	endBiases     = ".biases"
)

// finder finds the quantised matrices of a checkpoint.
type finder struct {
	stored  *tensor.Checkpoint
	claim   *claim
	weights []*Weight
	parts   map[*tensor.Tensor]bool // tensors that are part of a matrix
	table   []float32               // of nested scales, of the last matrix that has one
}

// any reports whether any tensor has a name or a dtype that only quantised copies have.
func (f *finder) any() bool {
	return slices.ContainsFunc(f.stored.Tensors(), func(t *tensor.Tensor) bool {
		return strings.HasSuffix(t.Name, endSCB) || strings.Contains(t.Name, endQuantState) || strings.HasSuffix(t.Name, endWeight+endAbsmax) ||
			isFloat8(t.DType) && f.scaleOf(t) != nil || strings.HasSuffix(t.Name, endWeight+endScale) || strings.HasSuffix(t.Name, endWeight+endScaleInv) ||
			t.DType == tensor.U32 && strings.HasSuffix(t.Name, endWeight) && (f.beside(t, endScales) != nil || f.beside(t, endBiases) != nil)
	})
}

// find lists the matrices in the order of their codes.
func (f *finder) find() error {
	for _, t := range f.stored.Tensors() {
		open := f.scheme(t)
		if open == nil {
			continue
		}
		w, err := open(t)
		if err != nil {
			return tensor.Annotate(err, tensor.Location{Tensor: t.Name})
		}
		for _, part := range w.Stored {
			f.parts[part] = true
		}
		f.weights = append(f.weights, w)
	}
	return f.checkOrphans()
}

// scheme returns the function that opens the matrix with these codes; nil if the tensor is not quantised.
func (f *finder) scheme(t *tensor.Tensor) func(*tensor.Tensor) (*Weight, error) {
	switch {
	case f.quantState(t) != nil:
		return f.open4bit
	case t.DType == tensor.I8 && f.beside(t, endSCB) != nil:
		return f.openInt8
	case isFloat8(t.DType) && f.scaleOf(t) != nil:
		return f.openFloat8
	case t.DType == tensor.U32 && strings.HasSuffix(t.Name, endWeight) && f.beside(t, endScales) != nil:
		return f.openMLX
	case f.scaleOf(t) != nil && strings.HasSuffix(t.Name, endWeight) && !isFloat(t.DType), f.isPacked(t):
		return func(t *tensor.Tensor) (*Weight, error) {
			return nil, tensor.Bad("%s with scales beside it, a scheme that griffin does not read", t.DType).Because(ReasonScheme)
		}
	}
	return nil
}

// beside returns the tensor P+ending beside a tensor P.weight, or nil.
func (f *finder) beside(t *tensor.Tensor, ending string) *tensor.Tensor {
	module, ok := strings.CutSuffix(t.Name, endWeight)
	if !ok {
		return nil
	}
	return f.stored.Tensor(module + ending)
}

// scaleOf returns the scales of codes in fp8, or nil.
func (f *finder) scaleOf(t *tensor.Tensor) *tensor.Tensor {
	for _, ending := range []string{endScaleInv, endScale} {
		if s := f.stored.Tensor(t.Name + ending); s != nil {
			return s
		}
	}
	return nil
}

// isPacked reports whether a tensor has the codes of several elements in each of its own, as compressed-tensors packs them.
func (f *finder) isPacked(t *tensor.Tensor) bool {
	codes, ok := strings.CutSuffix(t.Name, "_packed")
	return ok && f.stored.Tensor(codes+endScale) != nil
}

// checkOrphans refuses parts of matrices whose other parts are missing.
func (f *finder) checkOrphans() error {
	float8 := slices.ContainsFunc(f.weights, func(w *Weight) bool { return isFloat8(w.rule.codes.DType) })
	for _, t := range f.stored.Tensors() {
		if f.parts[t] {
			continue
		}
		missing := ""
		switch {
		case strings.HasSuffix(t.Name, endSCB):
			missing = strings.TrimSuffix(t.Name, endSCB) + ".weight in int8, whose scales this is"
		case strings.HasSuffix(t.Name, endWeight+endAbsmax):
			missing = strings.TrimSuffix(t.Name, endAbsmax) + endQuantState + "nf4 (or fp4), which says how these scales are used"
		case strings.Contains(t.Name, endWeight+endQuantState):
			missing = t.Name[:strings.Index(t.Name, endQuantState)] + ", which this describes"
		case len(f.weights) == 0: // what follows is usual in checkpoints that are not quantised
		case float8 && isFloat8(t.DType):
			missing = t.Name + endScale + ", while other matrices in fp8 have scales"
		case isCodes(t) && f.beside(t, endBiases) != nil:
			missing = strings.TrimSuffix(t.Name, endWeight) + endScales
		case isCodes(t):
			missing = "scales beside it"
		case float8 && f.isScale(t):
			missing = strings.TrimSuffix(strings.TrimSuffix(t.Name, "_inv"), endScale) + ", whose scales this is"
		}
		if missing != "" {
			return tensor.Bad("a part of a quantised matrix, without %s", missing).Of(t.Name).Because(ReasonDamaged)
		}
	}
	return nil
}

// isScale reports whether a tensor has the name of scales, and there is no tensor that they could belong to.
func (f *finder) isScale(t *tensor.Tensor) bool {
	for _, ending := range []string{endScale, endScaleInv} {
		if codes, ok := strings.CutSuffix(t.Name, ending); ok && strings.HasSuffix(codes, endWeight) && f.stored.Tensor(codes) == nil {
			return true
		}
	}
	return false
}

// others returns the tensors that are no part of a quantised matrix.
func (f *finder) others() []*tensor.Tensor {
	return slices.DeleteFunc(slices.Clone(f.stored.Tensors()), func(t *tensor.Tensor) bool { return f.parts[t] })
}

// copy returns the copy of the weights that were found.
func (f *finder) copy() (*Copy, error) {
	byCodes := map[*tensor.Tensor]*Weight{}
	for _, w := range f.weights {
		byCodes[w.rule.codes] = w
	}
	out := &Copy{Weights: f.weights}
	var tensors []*tensor.Tensor
	for _, t := range f.stored.Tensors() {
		switch w := byCodes[t]; {
		case w != nil:
			tensors = append(tensors, w.Tensor)
		case !f.parts[t] && !f.isActivationScale(t):
			tensors = append(tensors, t)
		}
	}
	view, err := tensor.NewCheckpoint(f.stored.Path, f.stored.Format, tensors, f.stored)
	if err != nil {
		return nil, err
	}
	view.Details, view.Metadata, view.Notes = f.stored.Details, f.stored.Metadata, f.stored.Notes
	view.Source, view.Root, view.Documents = f.stored.Source, f.stored.Root, f.stored.Documents
	out.Checkpoint = view
	out.Notes = f.claim.notes(out)
	return out, nil
}

// isActivationScale reports whether a tensor is a scale with which a runtime quantises the inputs of a matrix in fp8.
func (f *finder) isActivationScale(t *tensor.Tensor) bool {
	for _, ending := range []string{".input_scale", ".activation_scale"} {
		if module, ok := strings.CutSuffix(t.Name, ending); ok {
			codes := f.stored.Tensor(module + endWeight)
			return codes != nil && f.parts[codes]
		}
	}
	return false
}

// isCodes reports whether a tensor is a matrix of codes by its name and dtype.
func isCodes(t *tensor.Tensor) bool {
	switch t.DType {
	case tensor.I8, tensor.U8, tensor.I32, tensor.U32:
		return len(t.Shape) > 1 && strings.HasSuffix(t.Name, endWeight)
	}
	return false
}

func isFloat8(d tensor.DType) bool {
	switch d {
	case tensor.F8E4M3, tensor.F8E5M2, tensor.F8E4M3FNUZ, tensor.F8E5M2FNUZ:
		return true
	}
	return false
}

// isFloat reports whether a dtype is one that models compute in.
func isFloat(d tensor.DType) bool {
	switch d {
	case tensor.F64, tensor.F32, tensor.F16, tensor.BF16:
		return true
	}
	return false
}
