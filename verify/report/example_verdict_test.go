package report_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/report"
)

// Write a verdict as a verification card, to publish beside a model.
func ExampleWriteCard() {
	checkpoint, err := formats.Open("../../testdata/micro-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	v, err := verify.Verify(context.Background(), checkpoint, nil, verify.Options{Golden: "../../testdata/micro-griffin/golden/hf5.safetensors", Facts: true})
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "card")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "card.json")
	if err := report.WriteCard(path, v, []string{"my-program"}); err != nil {
		log.Fatal(err)
	}

	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	var card report.Card
	if err := json.Unmarshal(text, &card); err != nil {
		log.Fatal(err)
	}
	fmt.Println(card.Verdict)
	fmt.Println(card.Source.Parameters, "parameters in", len(card.Source.Config.BlockTypes), "blocks")
	// Output:
	// the model that was recorded
	// 5920 parameters in 2 blocks
}
