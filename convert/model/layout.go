package model

// Layout is a way to name and arrange the parameters of a model.
type Layout uint8

// The layouts. Flax and Torch are those of a family's original implementations, HuggingFace that of
// transformers.
const (
	UnknownLayout Layout = iota
	Flax                 // dense layers are "kernel" [in, out]
	Torch                // dense layers are "weight" [out, in]; everything else is as in Flax
	HuggingFace

	layoutCount
)

// String returns "flax", "torch" or "huggingface".
func (l Layout) String() string {
	switch l {
	case Flax:
		return "flax"
	case Torch:
		return "torch"
	case HuggingFace:
		return "huggingface"
	}
	return "unknown"
}

// PerLayout has a string for each layout.
type PerLayout [layoutCount]string
