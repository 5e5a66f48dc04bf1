package convert

import "runtime/debug"

// ToolVersion returns the version of griffin as it was built: of its module, or else of the
// commit, or "devel".
func ToolVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	const module = "github.com/griffin-ckpt/griffin"
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "devel"
}
