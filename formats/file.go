package formats

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/flax"
	"github.com/griffin-ckpt/griffin/formats/internal/sniff"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch"
)

// openFile opens the regular file at path. The formats whose mark is plain come first; a Flax file
// has none but its structure.
func openFile(path string, size int64) (*Checkpoint, error) {
	head, err := readHead(path)
	if err != nil {
		return nil, err
	}
	what, hint := sniff.Guess(head)
	switch {
	case torch.Detect(head):
		ckpt, err := torch.Open(path)
		if err != nil && what != "" && what != sniff.Zip {
			return nil, unknown(path, what, hint) // a zip file of another program
		}
		return ckpt, err
	case safetensors.Detect(head, size):
		return safetensors.Open(path)
	case what == sniff.JSON:
		return openJSON(path, hint)
	case what == "" && flax.Detect(head):
		return flax.Open(path)
	case what == "":
		return nil, asNamed(path)
	}
	return nil, unknown(path, what, hint)
}

// asNamed says why a file that is of no known format is not of the one that its name claims.
func asNamed(path string) error {
	open := map[string]func(string) (*Checkpoint, error){
		".safetensors": safetensors.Open,
		".msgpack":     flax.Open,
		".pt":          torch.Open,
		".pth":         torch.Open,
		".bin":         torch.Open,
		".ckpt":        torch.Open,
	}[strings.ToLower(filepath.Ext(path))]
	if open == nil {
		return unknown(path, "", "")
	}
	ckpt, err := open(path)
	if err == nil { // there is nothing in it then
		ckpt.Close()
		return unknown(path, "", "")
	}
	var bad *FormatError
	if errors.As(err, &bad) && bad.Hint == "" {
		bad.Hint = knownHint
	}
	return err
}

func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head, err := sniff.Head(f)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return head, err
}

// openJSON opens the shards that an index names. Of which format they are, the first of them
// tells.
func openJSON(path, hint string) (*Checkpoint, error) {
	files, err := safetensors.IndexFiles(path)
	if err != nil {
		var bad *tensor.FormatError
		if errors.As(err, &bad) && bad.Hint == "" {
			bad.Hint = hint
		}
		return nil, err
	}
	first := filepath.Join(filepath.Dir(path), files[0])
	if info, err := os.Stat(first); err == nil && info.Mode().IsRegular() {
		if head, err := readHead(first); err == nil && torch.Detect(head) {
			return torch.Open(path)
		}
	}
	return safetensors.Open(path)
}
