package convert

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// checkApart refuses a destination that is the source or contains it, and an existing destination in the source, since
// replacing it would remove what is being read. A new destination in a source directory is allowed, and one that a
// conversion has written there.
func checkApart(src, dst string) error {
	if _, err := os.Stat(dst); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	const hint = "use a destination of its own; it is renamed into place when it is complete"
	inside, err := storage.Within(src, dst)
	if err != nil {
		return err
	}
	if inside {
		return &OptionError{Problem: fmt.Sprintf("the source %s is the destination %s, or is inside it", src, dst), Hint: hint}
	}
	for _, record := range []string{filepath.Join(dst, manifest.Name), dst + "." + manifest.Name} {
		if _, err := os.Stat(record); err == nil {
			return nil
		}
	}
	if inside, err = storage.Within(dst, src); err == nil && inside {
		return &OptionError{Problem: fmt.Sprintf("the destination %s may be a part of the source %s", dst, src), Hint: hint}
	}
	return err
}

// toFile reports whether a destination is a file with conversion.json beside it, and not a directory.
func (o *Options) toFile(dst string) bool {
	return o.To == ToTorch || o.To == ToSafetensors && strings.EqualFold(path.Ext(storage.BaseName(dst)), ".safetensors")
}

// recordName returns the name of the file that records the conversion.
func (o *Options) recordName(dst string) string {
	if o.toFile(dst) {
		return storage.BaseName(dst) + "." + manifest.Name
	}
	return manifest.Name
}

// checkKind refuses an existing destination that the file of a target cannot replace, such as a directory.
func checkKind(dst string, o *Options) error {
	if !o.toFile(dst) || dst == "" {
		return nil
	}
	name := "griffin.pt"
	if o.To == ToSafetensors {
		name = safetensors.SingleName
	}
	info, err := os.Stat(dst)
	hint := "name the file, such as " + filepath.Join(dst, name)
	switch {
	case err == nil && info.IsDir():
		return &OptionError{Problem: fmt.Sprintf("%s is a directory, and the target %s is a file", dst, o.To), Hint: hint}
	case os.IsPathSeparator(dst[len(dst)-1]):
		return &OptionError{Problem: fmt.Sprintf("%s ends in %c and names a directory, and the target %s is a file", dst, dst[len(dst)-1], o.To), Hint: hint}
	case err == nil && !info.Mode().IsRegular():
		return &OptionError{Problem: fmt.Sprintf("%s is not a regular file", dst), Hint: "use a destination that can be renamed into place"}
	}
	return nil
}

// checkTarget refuses a destination that would destroy something: one of the sources, what cannot be replaced, and
// a directory that is no checkpoint or has other things in it.
func checkTarget(dst string, src *tensor.Checkpoint, o *Options) error {
	if err := checkKind(dst, o); err != nil {
		return err
	}
	record := dst + "." + manifest.Name
	_, noRecord := os.Stat(record)
	for _, source := range localSources(src, o) {
		if err := checkApart(source, dst); err != nil {
			return err
		}
		if !o.toFile(dst) || noRecord != nil {
			continue
		}
		if is, err := storage.Within(source, record); is || err != nil {
			return cmp.Or(err, error(&OptionError{Problem: fmt.Sprintf("the source %s is the record %s of the conversion, and would be replaced", source, record), Hint: "use a destination with another name"}))
		}
	}
	if info, err := os.Stat(dst); err != nil || !info.IsDir() {
		return nil // the stage refuses what else cannot be replaced
	}
	err := checkReplaceable(dst)
	if !o.Overwrite {
		err = withoutOverwrite(err)
	}
	return err
}

// withoutOverwrite adds to an error about what cannot be replaced that nothing was to be.
func withoutOverwrite(err error) error {
	var output *publish.OutputError
	if errors.As(err, &output) {
		output.Err = fs.ErrExist
	}
	return err
}

// localSources returns the paths of what a conversion reads, as far as it lies in the local file system.
func localSources(src *tensor.Checkpoint, o *Options) []string {
	var paths []string
	if local, ok := storage.LocalPath(src.Source, src.Root); ok {
		paths = append(paths, local)
	}
	if a := o.Adapter; a != nil {
		if local, ok := storage.LocalPath(a.Source, path.Dir(a.Files[0])); ok {
			paths = append(paths, local)
		}
	}
	if o.Tokenizer != "" {
		paths = append(paths, o.Tokenizer)
	}
	if o.Rename != nil {
		if _, err := os.Stat(o.Rename.File()); err == nil { // rules need not come from a file
			paths = append(paths, o.Rename.File())
		}
	}
	return paths
}
