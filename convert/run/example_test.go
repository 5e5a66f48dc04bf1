package run_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/run"
	"github.com/griffin-ckpt/griffin/formats"
)

// The second of two tasks converts its share of a training run to PyTorch files.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, step := range []string{"1000", "2000", "3000", "4000"} {
		if err := os.CopyFS(filepath.Join(dir, "train", step), os.DirFS("../../testdata/tiny-griffin/original/orbax-ocdbt")); err != nil {
			log.Fatal(err)
		}
	}
	r, err := run.Open(filepath.Join(dir, "train"))
	if err != nil {
		log.Fatal(err)
	}
	task, err := run.ParseTask("1/2", os.LookupEnv)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	err = run.Each(ctx, task.Share(r.Steps), func(s formats.Step) error {
		result, err := r.Convert(ctx, s, filepath.Join(dir, "out"), formats.Options{}, convert.Options{To: convert.ToTorch})
		if result != nil {
			fmt.Println(s.Name, filepath.Base(result.Destination))
		}
		return err
	}, func(s formats.Step, err error) { fmt.Println(s.Name, err) })
	fmt.Println(err)
	// Output:
	// 2000 2000.pt
	// 4000 4000.pt
	// <nil>
}
