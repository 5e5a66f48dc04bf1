package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/report"
)

// checkOut refuses to replace what is read, and what belongs to a checkpoint: a file inside it, or one that
// programs would take for a part of it. What griffin itself wrote there, a card, a report or a fixture, may be
// written anew.
func checkOut(out string, reads ...string) error {
	there, err := os.Stat(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && there.IsDir() {
		return usagef("%s is a directory", out).advise("name a file")
	}
	for _, path := range reads {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil && there != nil && os.SameFile(there, info) {
			return usagef("%s is read, and would be replaced", out).advise("write to another file")
		}
		below, ok := within(out, path)
		switch {
		case !ok:
		case below == "." && isModelFile(filepath.Base(out)):
			return usagef("%s is the name of a file of the checkpoint %s", out, path).advise("choose another name, or another directory")
		case there != nil && !isOwnFile(out):
			return usagef("%s is a file of the checkpoint %s, and would be replaced", out, path).advise("write to another file")
		}
	}
	return nil
}

// checkReport refuses a --report that cannot be written before anything is read.
func checkReport(c *cli.Context, reads ...string) error {
	if !c.IsSet("report") {
		return nil
	}
	path := c.String("report")
	if path == "" {
		return usagef("--report names no file")
	}
	if err := checkOut(path, reads...); err != nil {
		return err
	}
	_, err := os.Stat(dirOf(path))
	return err
}

// within reports whether a file is, or would be, somewhere in a directory, and in which folder of it.
func within(file, dir string) (folder string, ok bool) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", false
	}
	root, err := realPath(dir)
	if err != nil {
		return "", false
	}
	parent, err := realPath(filepath.Dir(file))
	if err != nil {
		return "", false
	}
	folder, err = filepath.Rel(root, parent)
	return folder, err == nil && folder != ".." && !strings.HasPrefix(folder, ".."+string(filepath.Separator))
}

func realPath(path string) (string, error) {
	whole, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(whole)
}

// modelFiles are names by which programs find the parts of a checkpoint, besides the endings of weights.
var modelFiles = []string{
	"config.json", "generation_config.json", "conversion.json", "model.safetensors.index.json", "pytorch_model.bin.index.json",
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json", "adapter_config.json",
	"preprocessor_config.json", "checkpoint", "_METADATA", "_CHECKPOINT_METADATA", "_sharding", "manifest.ocdbt", "commit_success.txt",
}

func isModelFile(name string) bool {
	return slices.Contains(modelFiles, name) || slices.Contains([]string{".safetensors", ".bin", ".pt", ".pth", ".model"}, filepath.Ext(name))
}

// isOwnFile reports whether a file is a card, a report or a fixture that griffin wrote.
func isOwnFile(path string) bool {
	if fixture, err := golden.Open(path); err == nil {
		defer fixture.Close()
		return fixture.Meta.Implementation == golden.Griffin
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, 4096))
	return err == nil && report.IsReport(start)
}
