package nearest

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

// Path returns the path that a misspelt one most likely stands for, or "". Each of its parts may be misspelt. A name without an extension may
// stand for a file whose extension isModel accepts. If isModel is nil, path is that of a directory.
func Path(path string, isModel func(name string) bool) string {
	if _, err := os.Lstat(path); err == nil {
		return path
	}
	dir, name := filepath.Split(path)
	if name == "" || strings.Contains(dir, "://") {
		return ""
	}
	if trimmed := strings.TrimRight(dir, string(filepath.Separator)); trimmed != "" {
		near := Path(trimmed, isModel)
		if near == "" {
			return ""
		}
		dir = near + dir[len(trimmed):]
	}
	if _, err := os.Lstat(dir + name); err == nil {
		return dir + name
	}
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return ""
	}
	var names, stems []string
	extension := filepath.Ext(name)
	for _, entry := range entries {
		if isModel == nil && !entry.IsDir() {
			continue
		}
		if stem, ok := strings.CutSuffix(entry.Name(), extension); ok && extension != "" {
			stems = append(stems, stem)
		} else if entry.IsDir() || isLikeExtension(extension, filepath.Ext(entry.Name()), isModel) {
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

// isLikeExtension reports whether a misspelt path may stand for a file of another extension than its own: one that is misspelt, or that is not there.
func isLikeExtension(typed, extension string, isModel func(string) bool) bool {
	isNear := len(typed) > 1 && errorsBetween(typed, extension) == 1 // also of two letters, which Name finds too few
	return typed == extension || (typed == "" || isNear) && isModel != nil && isModel(extension) || Name(typed, []string{extension}) != ""
}
