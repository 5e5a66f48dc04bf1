package verify

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// recordPath returns where the conversion.json of a checkpoint is, if it has one: inside a directory, beside a
// file under the file's own name, or beside the files of a Hugging Face directory.
func recordPath(checkpoint string) string {
	info, err := os.Stat(checkpoint)
	if err != nil || info.IsDir() {
		return filepath.Join(checkpoint, convert.ManifestName)
	}
	beside := checkpoint + "." + convert.ManifestName
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	return filepath.Join(filepath.Dir(checkpoint), convert.ManifestName)
}

// manifest is a conversion.json.
type manifest struct {
	convert.Manifest
	path    string
	matches string // the runtime that a Hugging Face directory was written to agree with the original under, or ""
}

// readRecord reads the conversion.json of a checkpoint of a layout; nil where there is none. One that is broken is
// a *tensor.FormatError.
func readRecord(checkpoint string, layout convert.Layout) (*manifest, error) {
	const most = 64 << 20 // that of the 9B model has 600 kB
	path := recordPath(checkpoint)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, tensor.Bad("is no file that griffin wrote").In(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, err
	}
	r := &manifest{path: path}
	if err := json.Unmarshal(text, &r.Manifest); err != nil {
		return nil, tensor.Bad("%v", err).In(path).Advise("griffin did not write it so; remove it if it is of no use")
	}
	var runtime struct {
		Settings struct {
			MatchRuntime string `json:"match_runtime"`
		} `json:"settings"`
	}
	if err := json.Unmarshal(text, &runtime); err != nil {
		return nil, tensor.Bad("%v", err).In(path).Advise("griffin did not write it so; remove it if it is of no use")
	}
	r.matches = runtime.Settings.MatchRuntime
	if r.Layout != layout.String() {
		return nil, nil // of something else that lies there
	}
	return r, nil
}
