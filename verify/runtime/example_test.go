package runtime_test

import (
	"context"
	"fmt"
	"log"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Say what transformers 5 does with a Hugging Face directory.
func ExampleModel_Explain() {
	checkpoint, err := formats.Open("../../testdata/micro-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	m, err := runtime.Open(context.Background(), checkpoint, runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	explained, err := m.Explain()
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range explained {
		if e.Runtime == runtime.Transformers5.Name {
			fmt.Printf("loads: %t, diverges from position %d on: %s\n", e.Loads, *e.DivergesAt, e.Reasons[0])
		}
	}
	// Output:
	// loads: true, diverges from position 6 on: attention sees 6 tokens, one less than the original
}
