package runtime

import (
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
)

// LostInDivision is what a directory loses if it has the embedding of a model that does not scale it, divided by the factor that transformers multiplies it by.
const LostInDivision = "what dividing the embedding lost"

// Lost names what of the model a directory does not express exactly, so that no runtime of directories computes quite what the original does.
func (d *Directory) Lost() (all []string) {
	if d.divided {
		all = append(all, LostInDivision)
	}
	if _, cost := huggingface.NoSoftCap(d.DType); cost > 0 && d.Original.LogitsSoftCap == 0 && d.Written.LogitsSoftCap != 0 {
		all = append(all, fmt.Sprintf("the soft cap of %.0f that stands for none", d.Written.LogitsSoftCap))
	}
	return all
}

// apart returns what follows a sentence that says that a runtime computes the same as the original: ", apart from what dividing the embedding lost"; "" for
// nothing.
func apart(x *explainer) string {
	if lost := x.Lost(); lost != nil && x.runtime.Semantics != reference.Original {
		return ", apart from " + strings.Join(lost, " and ")
	}
	return ""
}

// losesInDivision reports whether a directory has a divided embedding that multiplying does not restore: the factor is no power of two, or
// conversion.json records a loss that is not that of the soft cap.
func losesInDivision(c *model.Configured) bool {
	if c.Original.EmbeddingScale || !c.Config.EmbeddingScale {
		return false
	}
	recorded := c.Form != nil && len(c.Form.Inexact) > 0
	if _, cost := huggingface.NoSoftCap(c.Model.Embedding().DType); recorded && cost > 0 && c.NoCapRecorded {
		recorded = len(c.Form.Inexact) > 1
	}
	return recorded || !huggingface.IsPowerOfTwo(huggingface.EmbeddingScale(c.Config.Width))
}
