package verify

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// noteFiles notes which files of the converted directory are not as its conversion.json records. Of files larger than
// digestedFile only the size is compared: they hold weights, each of which is compared with its digest. Files of weights are left out unless
// weights is set, and so is config.json unless config is set: what is wrong in them is a failure.
func (r *run) noteFiles(m *manifest.Record, weights, config bool) error {
	c := r.converted
	if _, local := storage.LocalPath(c.Source, c.Root); !local {
		return nil // nothing is read over a network for a note
	}
	if info, err := fs.Stat(c.Source, c.Root); err != nil || !info.IsDir() {
		return err // a file may have another name than it was written under
	}
	for _, f := range m.Files {
		if !fs.ValidPath(f.Name) || f.Algorithms() == 0 || !config && f.Name == hfconfig.Name || !weights && (path.Ext(f.Name) == ".safetensors" || strings.Contains(f.Name, "/")) {
			continue
		}
		problem, err := compareFile(c.Source, path.Join(c.Root, f.Name), &f)
		if err != nil {
			return err
		}
		if problem != "" {
			r.verdict.Notes = append(r.verdict.Notes, fmt.Sprintf("%s is not as conversion.json records: %s", text.Printable(f.Name), problem))
		}
	}
	added, err := addedFiles(c.Source, c.Root, m)
	if len(added) > 0 {
		r.verdict.Notes = append(r.verdict.Notes, "not among the files that conversion.json records: "+text.Printable(tensor.JoinNames(added)))
	}
	return err
}

// addedFiles returns the files of a directory that programs read and its conversion.json does not record, in order. It returns none if the
// record has no files.
func addedFiles(source fs.FS, dir string, m *manifest.Record) (added []string, err error) {
	if len(m.Files) == 0 {
		return nil, nil
	}
	known := map[string]bool{manifest.Name: true}
	for _, f := range m.Files {
		known[f.Name] = true
	}
	entries, err := fs.ReadDir(source, dir)
	for _, e := range entries {
		isRead := slices.Contains([]string{".json", ".model", ".jinja", ".py", ".safetensors", ".bin"}, path.Ext(e.Name()))
		if isRead && !e.IsDir() && !known[e.Name()] {
			added = append(added, e.Name())
		}
	}
	return added, err
}

// digestedFile is the size, in bytes, of the largest files that are read again for their digest.
const digestedFile = 64 << 20

// compareFile says how a file differs from its record, "" if it does not.
func compareFile(source fs.FS, name string, f *manifest.OutputFile) (string, error) {
	info, err := fs.Stat(source, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it is missing", nil
	case err != nil:
		return "", err
	case info.Size() != f.Bytes:
		return fmt.Sprintf("it has %s, not %s", text.Count(info.Size(), "byte"), text.Grouped(f.Bytes)), nil
	case info.Size() > digestedFile || !info.Mode().IsRegular():
		return "", nil
	}
	file, err := source.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := digest.New(f.Algorithms())
	n, err := io.Copy(hash, io.LimitReader(file, digestedFile))
	if err != nil {
		return "", err
	}
	if equal, comparable := hash.Sum(n).Compare(f.Sum); comparable && !equal {
		return "its content is another one", nil
	}
	return "", nil
}
