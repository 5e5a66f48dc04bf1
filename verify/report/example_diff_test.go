package report_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/report"
)

func ExampleWriteDiff() {
	a, err := formats.Open("../../testdata/finetune/base", formats.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	b, err := formats.Open("../../testdata/finetune/full", formats.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	result, err := diff.Diff(context.Background(), a, b, diff.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "diff.html")
	if err := report.WriteDiff(path, result, report.Origin{Command: []string{"griffin", "diff", "base", "full"}}); err != nil {
		fmt.Println(err)
		return
	}
	page, err := os.ReadFile(path)
	fmt.Printf("%s %v\n", regexp.MustCompile("<title>.*</title>").Find(page), err)
	// Output: <title>griffin diff: base and full</title> <nil>
}
