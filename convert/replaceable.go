package convert

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// checkpointNames are names of files and directories of which an Orbax directory, a PEFT adapter or a Flax directory
// consists. Patterns are those of path.Match.
var checkpointNames = []string{
	"_METADATA", "_CHECKPOINT_METADATA", "_sharding", "_strings.json", "array_metadatas", "checkpoint", "commit_success.txt", "d", "default",
	"descriptor", "manifest.ocdbt", "ocdbt.process_*", "params",
	"adapter_config.json", "processor_config.json", "preprocessor_config.json", "*.msgpack",
}

// weightNames are names without one of which a directory is no checkpoint.
var weightNames = []string{
	"*.safetensors", "*.bin", "*.msgpack", "*.index.json", "config.json", "conversion.json",
	"_METADATA", "_CHECKPOINT_METADATA", "checkpoint", "manifest.ocdbt",
}

// checkReplaceable returns a *publish.OutputError for a directory that is not empty and that is not a checkpoint or has
// other things in it: replacing the directory would remove them.
func checkReplaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	for range 10 { // another run may replace the directory and remove what is being listed
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		entries, err = os.ReadDir(dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &publish.BusyError{Path: dir}
	}
	if err != nil {
		return err
	}
	isCheckpoint := len(entries) == 0
	for _, e := range entries {
		name := e.Name()
		isCheckpoint = isCheckpoint || matchesAny(weightNames, name)
		if matchesAny(checkpointNames, name) || !e.IsDir() && isOwn(localPlace{dir}, name) || e.IsDir() && isArray(filepath.Join(dir, name)) {
			continue
		}
		return &publish.OutputError{Path: dir, Reason: publish.OutputHasOthers, Other: name}
	}
	if !isCheckpoint {
		return &publish.OutputError{Path: dir, Reason: publish.OutputNoCheckpoint}
	}
	return nil
}

// isOwn reports whether a file of a Hugging Face directory belongs to the model. A document, such as a model card, may be the work of a
// person: it belongs to the model if it is as the conversion.json there records it.
func isOwn(at place, name string) bool {
	if !huggingface.IsDocument(name) {
		return huggingface.IsOwn(name)
	}
	source, dir, err := at.open()
	if err != nil {
		return false
	}
	record, _, _ := manifest.Read(source, dir)
	if record == nil {
		return false
	}
	for _, f := range record.Files {
		if f.Name == name {
			content, err := storage.ReadFile(source, path.Join(dir, name), f.Bytes)
			same, _ := digest.Of(f.Algorithms(), content).Compare(f.Sum)
			return err == nil && same
		}
	}
	return false
}

// isArray reports whether a directory is a Zarr array.
func isArray(dir string) bool {
	for _, name := range []string{".zarray", "zarr.json"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

func matchesAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}
