package orbax

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// noteUncommitted returns a note if the directory that is opened is a step, or an item of a step, whose writing did not
// finish: it lacks the commit file that other steps beside it have. What cannot be looked at gives no note.
func noteUncommitted(source fs.FS, name string) []string {
	if local, ok := storage.LocalPath(source, name); ok {
		full, err := filepath.Abs(local)
		if err != nil {
			return nil
		}
		source, name = storage.Local(filepath.VolumeName(full)+string(filepath.Separator)), filepath.ToSlash(full[len(filepath.VolumeName(full))+1:])
	}
	for range 2 {
		above, base := path.Dir(name), path.Base(name)
		if name == "." || name == "" {
			return nil
		}
		if own, ok := parseStep(base); ok {
			return noteOfStep(source, above, own)
		}
		name = above
	}
	return nil
}

// noteOfStep is noteUncommitted for a step in a directory.
func noteOfStep(source fs.FS, dir string, own step) []string {
	d, closer, err := openDirectory(source, dir)
	if err != nil {
		return nil
	}
	defer closer.Close()
	f := finder{d.listed()}
	inside, err := f.directories(".")
	if err != nil {
		return nil
	}
	for _, name := range inside {
		if _, ok := parseStep(name); ok || isTemporary(name) {
			continue
		}
		if holds, err := f.holdsItems(name); holds || err != nil {
			return nil // it is no CheckpointManager's directory: names that end in a number may be no steps
		}
	}
	steps, err := f.stepsIn()
	if err != nil {
		return nil
	}
	steps = slices.DeleteFunc(steps, func(s step) bool { return s.prefix != own.prefix })
	markUncommitted(steps)
	if !slices.ContainsFunc(steps, func(s step) bool { return s.name == own.name && s.uncommitted }) {
		return nil
	}
	return []string{fmt.Sprintf("step %s was not committed (it lacks the %s of other steps): its writing may not have finished", own.name, CommitName)}
}
