package tensor

// Spec describes a tensor that is to be written.
type Spec struct {
	Name  string
	DType DType
	Shape []int64 // empty for a scalar
}
