package savefile

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/big"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// The container before torch 1.6, which torch.save still writes on request, is five pickles (a magic
// number, the protocol version, facts about the machine, the object, the keys of the storages),
// followed by the storages in the order of the keys. Each storage is the number of its elements (int64)
// and the elements. All numbers are little-endian, whatever the facts say. There are no checksums.

var (
	legacyMagic    = []byte{0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19} // little-endian
	legacyMagicOld = []byte("L119547037146038801333356L\n")                             // the same in pickle protocol 1
	legacyNumber   = "119547037146038801333356"
)

const legacyVersion = 1001

// isLegacy reports whether head is the beginning of a legacy container.
func isLegacy(head []byte) bool {
	return bytes.HasPrefix(head, legacyMagicOld) ||
		len(head) > 0 && head[0] == 0x80 && bytes.Contains(head[:min(len(head), 32)], legacyMagic)
}

// legacyReader reads the pickles of a legacy file in order.
type legacyReader struct {
	file     io.ReaderAt
	size     int64
	at       int64 // of the next pickle
	loader   *loader
	protocol int
}

// next reads one pickle. facts says that it holds no tensor.
func (r *legacyReader) next(what string, facts bool) (any, error) {
	p, err := r.loader.read(r.file, r.at, r.size-r.at, facts)
	if tensor.ReasonOf(err) == pickle.Truncated {
		err = tensor.Bad("file ends within a pickle").At(r.at)
	}
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{Record: what})
	}
	r.at += p.Length
	r.protocol = p.Protocol
	return p.Value, nil
}

// readLegacy reads the pickles of a legacy file and finds its storages.
func readLegacy(file io.ReaderAt, size int64, keep Keep) (*File, error) {
	r := &legacyReader{file: file, size: size, loader: newLoader(&container{file: file, noChecksums: true}, keep)}
	r.loader.legacy = true
	magic, err := r.next("magic number", true)
	if err != nil {
		return nil, err
	}
	if n, ok := magic.(*big.Int); !ok || n.String() != legacyNumber {
		return nil, tensor.Bad("file is a pickle, but does not begin with torch's magic number").Advise(adviceToResave)
	}
	version, err := r.next("protocol version", true)
	if err != nil {
		return nil, err
	}
	if version != int64(legacyVersion) {
		return nil, tensor.Bad("legacy file has version %s; the only known version is %d", pickle.Show(version), legacyVersion)
	}
	if _, err := r.next("system facts", true); err != nil {
		return nil, err
	}
	root, err := r.next("object", false)
	if err != nil {
		return nil, err
	}
	protocol := r.protocol
	keys, err := r.next("storage keys", true)
	if err != nil {
		return nil, err
	}
	if err := r.locate(keys); err != nil {
		return nil, err
	}
	return &File{
		Root: root, format: "torch-legacy", protocol: protocol, order: r.loader.order,
		check: func() error { return nil },
		describe: func(c *tensor.Checkpoint) {
			c.Describe("byte order", "little")
			c.Describe(tensor.Checksums, tensor.NoChecksums)
		},
		checksums: tensor.NoChecksums,
	}, nil
}

// locate finds the offset of the elements of each storage at the end of the file.
func (r *legacyReader) locate(keys any) error {
	list, ok := keys.(*pickle.List)
	if !ok {
		return tensor.Bad("keys of the storages are not a list")
	}
	for _, item := range list.Items {
		key, _ := item.(string)
		s := r.loader.storages[key]
		if s == nil {
			return tensor.Bad("storage %q is in the file, but nothing refers to it, so its size is unknown", key).At(r.at)
		}
		if s.offset > 0 {
			return tensor.Bad("storage %s is in the file twice", key).At(r.at)
		}
		var count [8]byte
		if err := tensor.ReadFullAt(r.file, count[:], r.at); err != nil {
			return err
		}
		n := int64(binary.LittleEndian.Uint64(count[:]))
		if want := s.size / s.class.dtype.Size(); n != want {
			return tensor.Bad("storage %s has %d elements, but %d in the pickle", key, n, want).At(r.at)
		}
		r.at += 8
		if s.size > r.size-r.at {
			return tensor.Bad("file ends %d bytes before the end of storage %s", s.size-(r.size-r.at), key).At(r.at).
				Advise("the file is truncated: download or copy it again")
		}
		s.offset = r.at
		r.at += s.size
	}
	if r.at != r.size {
		return tensor.Bad("%d bytes follow the last storage", r.size-r.at).At(r.at)
	}
	for _, s := range r.loader.order {
		if s.offset == 0 {
			return tensor.Bad("storage %s is not in the file", s.name)
		}
	}
	return nil
}
