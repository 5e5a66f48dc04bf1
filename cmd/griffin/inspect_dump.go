package main

import (
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// findTensor returns the tensor of that full name, or the slice of it that a NumPy index in
// brackets behind the name asks for.
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

// nearest returns the one tensor whose name ends in (or begins with) what was asked for, or "".
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

func dirOf(path string) string { return filepath.Dir(path) }
