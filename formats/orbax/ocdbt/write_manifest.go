package ocdbt

import (
	"crypto/sha256"
	"encoding/binary"
)

// ManifestName is the name of the manifest.
const ManifestName = "manifest.ocdbt"

// The configuration for later writers of the database: the defaults of TensorStore.
const (
	configMaxNode   = 8 << 20 // bytes of a decoded node
	configArityLog2 = 4       // of the version tree
)

// encodeManifest returns a manifest of one version, generation 1, with the tree below root. A nil root stands
// for an empty tree.
func encodeManifest(id [sha256.Size]byte, root *written) ([]byte, error) {
	b := append([]byte(nil), id[:16]...)
	b = append(b, 0) // the manifest lists the versions itself
	b = appendVarint(b, MaxInline)
	b = appendVarint(b, configMaxNode)
	b = append(b, configArityLog2)
	b = append(b, 1)          // zstd
	b = append(b, 0, 0, 0, 0) // its level: the default
	name, at, length := "", uint64(missing), uint64(missing)
	if root == nil {
		root = &written{}
	} else {
		name, at, length = root.file, uint64(root.offset), uint64(root.length)
	}
	b = appendPaths(b, []string{name})
	b = append(b, 1, 1) // one version: generation 1
	b = append(b, byte(root.height), 0)
	for _, n := range []uint64{at, length, root.keys, root.tree, root.indirect} {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.LittleEndian.AppendUint64(b, 0) // time, in nanoseconds since 1970
	b = append(b, 0)                           // no version nodes
	return sealEnvelope(magicManifest, b)
}
