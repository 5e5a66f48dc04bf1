package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/npy"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// dump writes one tensor, or a slice of it, as .npy: to a file, or to standard output if out is "".
func dump(ckpt *tensor.Checkpoint, name, out string, stdout io.Writer) error {
	t, err := findTensor(ckpt, name)
	if err != nil {
		return err
	}
	if out == "" {
		if isTerminal(stdout) {
			return usagef("an .npy file cannot be shown on a terminal").advise("add --out FILE.npy")
		}
		return npy.Write(stdout, t)
	}
	err = storage.Replace(out, npy.Size(t), func(w io.WriterAt) error { return npy.Write(io.NewOffsetWriter(w, 0), t) })
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: %s %s\n", out, t.DType, tensor.ShapeString(t.Shape))
	return err
}

// findTensor returns the tensor with the full name, or a slice of it if the name ends in a NumPy index
// in brackets.
func findTensor(ckpt *tensor.Checkpoint, name string) (*tensor.Tensor, error) {
	if t := ckpt.Tensor(name); t != nil {
		return t, nil
	}
	if open := strings.LastIndexByte(name, '['); open > 0 && strings.HasSuffix(name, "]") {
		if t := ckpt.Tensor(name[:open]); t != nil {
			part, err := tensor.Slice(t, name[open+1:len(name)-1])
			if err != nil {
				return nil, usagef("%v", err)
			}
			return part, nil
		}
		name = name[:open]
	}
	err := usagef("no tensor %q in %s", name, ckpt.Path)
	if near := nearest(ckpt, name); near != "" {
		return nil, err.advise("did you mean %q?", near)
	}
	return nil, err.advise("griffin inspect %s lists the names", ckpt.Path)
}

// nearest returns the name of the only tensor whose name begins or ends with name, or "".
func nearest(ckpt *tensor.Checkpoint, name string) string {
	found := ""
	for _, t := range ckpt.Tensors() {
		if strings.HasSuffix(t.Name, name) || strings.HasPrefix(t.Name, name) {
			if found != "" {
				return ""
			}
			found = t.Name
		}
	}
	return found
}
