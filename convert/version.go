package convert

import "runtime/debug"

// ToolVersion returns the version of the griffin module in this program, "devel" if it is not known.
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
