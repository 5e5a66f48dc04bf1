package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// SensitiveNotes warns of the parameters that a quantised copy of the model should have left alone (Family.Sensitive). m is the model
// in the copy.
func SensitiveNotes(m *Model, q *quantized.Copy) (notes []string) {
	for _, part := range m.Family.Sensitive {
		var names []string
		for _, w := range q.Weights {
			if strings.Contains(w.Tensor.Name, part) && slices.Contains(m.Tensors, w.Tensor) {
				names = append(names, w.Tensor.Name)
			}
		}
		if len(names) > 0 {
			notes = append(notes, fmt.Sprintf("warning: tensors of %s are quantised, whose errors add up from token to token: %s",
				strings.Trim(part, "."), tensor.JoinNames(names)))
		}
	}
	return notes
}
