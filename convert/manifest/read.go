package manifest

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

const (
	maxSize  = 16 << 20 // bytes; the manifest of the largest published model has less than 1 MiB
	maxDepth = 10       // nested arrays and objects; a manifest has 5
)

// Read returns the manifest of a checkpoint, and its path: conversion.json in a directory,
// FILE.conversion.json beside a file, or for a file in a Hugging Face directory that directory's
// conversion.json. It returns nil if there is none, or none that griffin wrote. A manifest that is
// corrupt is a *tensor.FormatError.
//
// Read does not check whether the checkpoint is still as its manifest describes it.
func Read(checkpoint string) (*Manifest, string, error) {
	info, err := os.Stat(checkpoint)
	if err != nil {
		return nil, "", nil // not a path
	}
	if info.IsDir() {
		return readFile(filepath.Join(checkpoint, Name))
	}
	files := []string{checkpoint}
	if target, err := filepath.EvalSymlinks(checkpoint); err == nil {
		files = append(files, target) // a manifest lies beside the file itself, not beside a link to it
	}
	for _, file := range files {
		if m, path, err := readFile(file + "." + Name); m != nil || err != nil {
			return m, path, err
		}
	}
	const huggingFace = "huggingface"
	m, path, err := readFile(filepath.Join(filepath.Dir(checkpoint), Name))
	if m == nil || m.Layout != huggingFace {
		return nil, "", nil // it describes another checkpoint
	}
	return m, path, err
}

func readFile(path string) (*Manifest, string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its other end
		return nil, "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, "", err
	}
	m, err := Parse(text)
	if m == nil {
		return nil, "", tensor.Annotate(err, tensor.Location{File: path})
	}
	return m, path, nil
}

// Parse parses the content of a conversion.json. It returns nil for JSON that is not a manifest,
// and a *tensor.FormatError for a manifest that is corrupt and for text that is not JSON.
func Parse(text []byte) (*Manifest, error) {
	if len(text) > maxSize {
		return nil, tensor.Bad("is longer than %d bytes", maxSize)
	}
	if err := strictjson.Check(text, maxDepth); err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		var other struct {
			Griffin string `json:"griffin"`
		}
		if json.Unmarshal(text, &other) != nil || other.Griffin == "" {
			return nil, nil
		}
		return nil, tensor.Bad("is not a record of a conversion: %v", err).Advise("remove it if the checkpoint beside it is right")
	}
	if m.Griffin == "" {
		return nil, nil
	}
	return &m, nil
}
