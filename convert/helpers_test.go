package convert

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/internal/modeltest"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

var (
	tinyConfig   = modeltest.Tiny
	tinySettings = modeltest.TinySettings

	modelTensors = modeltest.Tensors
	named        = modeltest.Tensor
	withData     = modeltest.SetData
	replace      = modeltest.Replace
)

func checkpoint(t testing.TB, tensors ...*tensor.Tensor) *tensor.Checkpoint {
	t.Helper()
	return modeltest.Checkpoint(t, tensors...)
}

// written lists the tensors of a model with the names that a conversion to a layout gives them.
func written(c *model.Config, l model.Layout) []tensor.Spec {
	specs := modeltest.Specs(c, l)
	for i := range specs {
		specs[i].Name = model.Griffin.Roots[l] + specs[i].Name
	}
	return specs
}

// readManifest reads the conversion.json of a checkpoint, with all of its tensors.
func readManifest(path string) (*manifest.Manifest, string, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, "", err
	}
	record, at, err := manifest.Read(source, name)
	if record == nil || err != nil {
		return nil, at, err
	}
	text, err := os.ReadFile(at)
	if err != nil {
		return nil, at, err
	}
	m := &manifest.Manifest{}
	return m, at, json.Unmarshal(text, m)
}

// contentOf returns the conversion.json that a recorder writes.
func contentOf(r *recorder) ([]byte, error) {
	var b bytes.Buffer
	_, err := r.WriteTo(&b)
	return b.Bytes(), err
}

func ptr[T any](v T) *T { return &v }

// open opens a model, comparing heads.
func open(t testing.TB, o model.Options, tensors ...*tensor.Tensor) *model.Model {
	t.Helper()
	m, err := model.Open(t.Context(), checkpoint(t, tensors...), o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// elements lists the elements of a view.
func elements(v tensor.View) []int64 {
	out := make([]int64, 0, v.Elements())
	index := make([]int64, len(v.Shape))
	for range v.Elements() {
		at := v.Offset
		for k, i := range index {
			at += i * v.Strides[k]
		}
		out = append(out, at)
		for k := len(index) - 1; k >= 0; k-- {
			if index[k]++; index[k] < v.Shape[k] {
				break
			}
			index[k] = 0
		}
	}
	return out
}

// tensorOf returns a tensor of a result.
func tensorOf(t *testing.T, r *Result, name string) ResultTensor {
	t.Helper()
	for i := range r.Tensors.Len() {
		if x := r.Tensors.At(i); x.Name == name {
			return x
		}
	}
	t.Fatalf("no tensor %s", name)
	return ResultTensor{}
}
