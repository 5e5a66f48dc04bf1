package tokenizer_test

import (
	"fmt"
	"log"
	"os"

	"github.com/griffin-ckpt/griffin/formats/sentencepiece"
	"github.com/griffin-ckpt/griffin/reference/tokenizer"
)

func Example() {
	data, err := os.ReadFile("../../convert/testdata/tokenizer.model")
	if err != nil {
		log.Fatal(err)
	}
	model, err := sentencepiece.Parse(data, 1000)
	if err != nil {
		log.Fatal(err)
	}
	t, err := tokenizer.New(model)
	if err != nil {
		log.Fatal(err)
	}
	tokens := t.Encode("The quick brown fox")
	fmt.Println(tokens)
	fmt.Println(t.Decode(tokens))
	// Output:
	// [406 501 475 517]
	// The quick brown fox
}
