package sentencepiece_test

import (
	"fmt"
	"log"
	"os"

	"github.com/griffin-ckpt/griffin/formats/sentencepiece"
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
	turn, _ := model.Find("<start_of_turn>")
	fmt.Printf("%d pieces, begin %q, turn %d, piece 400 %q\n", len(model.Pieces), model.Begin, turn, model.Pieces[400].Text)
	// Output: 1000 pieces, begin "<bos>", turn 11, piece 400 "ff"
}
