package convert

import "runtime/debug"

// version is the version that the linker sets ("make build" takes it from the script .ci/version).
var version string

// ToolVersion returns the version of griffin in this program: the one that was set when it was built; that of the griffin
// module, as the go command records it; or "devel" if neither is known, as in tests.
func ToolVersion() string {
	if version != "" {
		return version
	}
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
