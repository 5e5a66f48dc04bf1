package model_test

import (
	"context"
	"fmt"
	"log"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
)

func ExampleOpen() {
	checkpoint, err := formats.Open("../../testdata/odd-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	m, err := model.Open(context.Background(), checkpoint, model.Options{})
	if err != nil {
		log.Fatal(err)
	}
	configured, err := m.Configure(model.Settings{})
	if err != nil {
		log.Fatal(err)
	}
	c := configured.Config
	fmt.Printf("%s layout, %d parameters\n", m.Layout, m.Parameters())
	fmt.Printf("width %d, %d heads, blocks %v\n", c.Width, c.NumHeads, c.BlockTypes)
	fmt.Printf("window %d, soft cap %g, embedding scale %t\n", c.AttentionWindow, c.LogitsSoftCap, c.EmbeddingScale)
	// Output:
	// huggingface layout, 30876 parameters
	// width 36, 3 heads, blocks [attention recurrent attention]
	// window 5, soft cap 20, embedding scale true
}

// The tensors that an original has, as transformers names and arranges them.
func ExampleModel_Transfers() {
	checkpoint, err := formats.Open("../../testdata/odd-griffin/original/torch.pt", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	m, err := model.Recognize(checkpoint, model.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range slices.Collect(m.Transfers(model.HuggingFace))[:3] {
		fmt.Printf("%s: %s of %s\n", t.Name, t.Rule, t.Source.Name)
	}
	// Output:
	// embed_tokens.weight: copy of embedder.input_embedding
	// layers.0.temporal_pre_norm.weight: copy of blocks.0.temporal_pre_norm.scale
	// layers.0.temporal_block.q_proj.weight: copy of blocks.0.attention_block.proj_q.weight
}
