package convert

// Layout is a way to name and arrange the parameters of a Griffin-family model.
type Layout uint8

// The layouts. Flax and Torch are those of google-deepmind/recurrentgemma, HuggingFace that of
// transformers' RecurrentGemmaForCausalLM.
const (
	UnknownLayout Layout = iota
	Flax                 // dense layers are "kernel" [in, out]
	Torch                // dense layers are "weight" [out, in]; all else is as in Flax
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
