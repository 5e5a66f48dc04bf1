package convert

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/strict"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// maxManifest is far more than the conversion.json of any model of the family has.
const maxManifest = 16 << 20

const maxManifestDepth = 10 // of arrays and objects; griffin writes 5

// ReadManifest returns what conversion.json says of a checkpoint that griffin wrote, and where it lies:
// in a directory, beside a file as FILE.conversion.json, or for a file of a Hugging Face directory in
// that. It returns nil where there is none, or one that is not griffin's. One that is broken is a
// *tensor.FormatError.
//
// That the checkpoint is still what conversion.json describes is not checked.
func ReadManifest(checkpoint string) (*Manifest, string, error) {
	info, err := os.Stat(checkpoint)
	if err != nil {
		return nil, "", nil // not a path
	}
	if info.IsDir() {
		return readManifest(filepath.Join(checkpoint, ManifestName))
	}
	files := []string{checkpoint}
	if file, err := filepath.EvalSymlinks(checkpoint); err == nil {
		files = append(files, file) // beside which it was written, whatever link was given
	}
	for _, file := range files {
		if m, path, err := readManifest(file + "." + ManifestName); m != nil || err != nil {
			return m, path, err
		}
	}
	m, path, err := readManifest(filepath.Join(filepath.Dir(checkpoint), ManifestName))
	if m == nil || m.Layout != HuggingFace.String() {
		return nil, "", nil // another checkpoint's
	}
	return m, path, err
}

func readManifest(path string) (*Manifest, string, error) {
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
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, "", err
	}
	m, err := parseManifest(text)
	if bad := (*tensor.FormatError)(nil); errors.As(err, &bad) {
		bad.In(path)
	}
	if m == nil {
		return nil, "", err
	}
	return m, path, err
}

// parseManifest returns nil for JSON that is not a manifest.
func parseManifest(text []byte) (*Manifest, error) {
	if len(text) > maxManifest {
		return nil, tensor.Bad("is longer than %d bytes", maxManifest)
	}
	if err := strict.Check(text, maxManifestDepth); err != nil {
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
		return nil, tensor.Bad("is no record of a conversion: %v", err).Advise("remove it if the checkpoint beside it is right")
	}
	if m.Griffin == "" {
		return nil, nil
	}
	return &m, nil
}
