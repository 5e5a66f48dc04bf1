package task_test

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// A panic becomes an error, so that the caller can clean up.
func ExampleCall() {
	err := task.Call(func() error { panic("index out of range") })
	fmt.Println(err)
	// Output:
	// internal error: index out of range
}
