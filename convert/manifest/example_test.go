package manifest_test

import (
	"fmt"
	"log"

	"github.com/griffin-ckpt/griffin/convert/manifest"
)

func ExampleParse() {
	m, err := manifest.Parse([]byte(`{
  "griffin": "v1.2.0",
  "source": {"name": "2b.pt", "format": "torch-zip", "layout": "torch"},
  "layout": "huggingface",
  "format": "safetensors",
  "dtype": "keep",
  "settings": {"preset": "2b", "attention_window": 2048, "logits_soft_cap": 30.0, "embedding_scale": true},
  "tensors": [
    {"name": "model.final_norm.weight", "dtype": "bfloat16", "shape": [2560], "sha256": "7d0a...", "rule": "copy",
     "from": [{"name": "final_norm.scale", "dtype": "bfloat16", "shape": [2560], "sha256": "7d0a..."}]}
  ]
}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s was converted from %s (%s) by griffin %s\n", m.Layout, m.Source.Name, m.Source.Format, m.Griffin)
	err = m.Each(func(_ manifest.Span, t *manifest.Tensor) error {
		fmt.Printf("%s: %s of %s\n", t.Name, t.Rule, t.From[0].Name)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// huggingface was converted from 2b.pt (torch-zip) by griffin v1.2.0
	// model.final_norm.weight: copy of final_norm.scale
}
