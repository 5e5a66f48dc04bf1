package stats_test

import (
	"context"
	"fmt"
	"log"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// Look for values that are not finite.
func ExampleOf() {
	checkpoint, err := formats.Open("../../testdata/micro-griffin/hf", formats.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	s, err := stats.Of(context.Background(), checkpoint.Tensor("model.final_norm.weight"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d values, all finite: %t, from %.3g to %.3g\n", s.Values, s.Finite(), s.Min, s.Max)
	// Output: 16 values, all finite: true, from -0.391 to 0.261
}
