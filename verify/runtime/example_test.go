package runtime_test

import (
	"context"
	"fmt"
	"log"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Say what transformers 5 does with a Hugging Face directory.
func ExampleModel_Facts() {
	checkpoint, err := formats.Open("../../testdata/micro-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	m, err := runtime.Open(context.Background(), checkpoint, runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range m.Facts() {
		if f.Runtime == runtime.Transformers5.Name && f.Cache != "with" {
			fmt.Printf("%s: %s\n", f.Prompt, f.Does)
		}
	}
	// Output:
	// up to 6 tokens: as the original
	// more than 6 tokens: attention sees 6 tokens, one less than the original: diverges from position 6 on
	// packed rows: position 0 starts the recurrence anew, and attention where position_ids come without a mask; the convolution runs on
}
