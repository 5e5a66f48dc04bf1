package nearest

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Kind is what a path may be of.
type Kind uint8

// The kinds of paths.
const (
	FileOrDirectory Kind = iota
	File
	Directory
)

// Path returns the path of that kind that a misspelt one most likely stands for, or "". Each of its parts may be misspelt. A name without an
// extension may stand for a file whose extension isModel accepts.
func Path(path string, kind Kind, isModel func(name string) bool) string {
	dir, name := filepath.Split(path)
	if name == "" || strings.Contains(dir, "://") {
		return ""
	}
	if trimmed := strings.TrimRight(dir, string(filepath.Separator)); trimmed != "" {
		if _, err := os.Stat(trimmed); err != nil {
			near := Path(trimmed, Directory, isModel)
			if near == "" {
				return ""
			}
			dir = near + dir[len(trimmed):]
		}
	}
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return ""
	}
	var names, stems []string
	extension := filepath.Ext(name)
	for _, entry := range entries {
		isDir := isDirectory(dir, entry)
		switch stem, ok := strings.CutSuffix(entry.Name(), extension); {
		case kind == Directory && !isDir || kind == File && isDir:
		case entry.Name() == name:
			return dir + name
		case ok && extension != "":
			stems = append(stems, stem)
		case isDir || isLikeExtension(extension, filepath.Ext(entry.Name()), isModel):
			names = append(names, entry.Name())
		}
	}
	if near := Name(strings.TrimSuffix(name, extension), stems); near != "" {
		return dir + near + extension
	}
	if near := Name(name, names); near != "" {
		return dir + near
	}
	return ""
}

// isDirectory reports whether an entry is a directory, or a link to one.
func isDirectory(dir string, entry fs.DirEntry) bool {
	if entry.Type()&fs.ModeSymlink == 0 {
		return entry.IsDir()
	}
	info, err := os.Stat(dir + entry.Name())
	return err == nil && info.IsDir()
}

// isLikeExtension reports whether a misspelt path may stand for a file of another extension than its own: one that is misspelt, or that is not there.
func isLikeExtension(typed, extension string, isModel func(string) bool) bool {
	isNear := len(typed) > 1 && errorsBetween(typed, extension) == 1 // also of two letters, which Name finds too few
	return typed == extension || (typed == "" || isNear) && isModel(extension) || Name(typed, []string{extension}) != ""
}
