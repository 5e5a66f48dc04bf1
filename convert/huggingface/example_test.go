package huggingface_test

import (
	"fmt"
	"log"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func ExampleFiles() {
	d, err := huggingface.Files(huggingface.Options{
		Config:    map[string]any{"model_type": "recurrent_gemma", "vocab_size": 256000},
		Tokens:    huggingface.TokenIDs{Pad: 0, EOS: 1, BOS: 2},
		VocabSize: 256000,
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range d.Files {
		fmt.Printf("%s\n%s", f.Name, f.Content)
	}
	// Output:
	// config.json
	// {
	//   "model_type": "recurrent_gemma",
	//   "vocab_size": 256000
	// }
	// generation_config.json
	// {
	//   "bos_token_id": 2,
	//   "eos_token_id": 1,
	//   "output_attentions": false,
	//   "output_hidden_states": false,
	//   "pad_token_id": 0,
	//   "transformers_version": "5.23.0",
	//   "use_cache": false
	// }
}

// A model without a soft cap gets one that leaves its logits as they are.
func ExampleNoSoftCap() {
	softCap, cost := huggingface.NoSoftCap(tensor.BF16)
	fmt.Printf("%.0f, changes logits by %g\n", softCap, cost)
	// Output: 1048576, changes logits by 0
}
