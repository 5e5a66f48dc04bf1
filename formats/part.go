package formats

import (
	"errors"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/dcp"
)

var shardFile = regexp.MustCompile(`-\d{5,}-of-(\d{5,})\.(safetensors|bin)$`)

// IsShard reports whether a file has the name of one of several shards of a checkpoint: model-00001-of-00003.safetensors.
func IsShard(name string) bool {
	m := shardFile.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	n, err := strconv.Atoi(m[1])
	return err != nil || n > 1
}

// openPart is openFile for a file that was given by itself, and that may be a part of a checkpoint.
func openPart(source fs.FS, name string, options Options) (*Checkpoint, error) {
	c, err := openFile(source, name, options)
	base := path.Base(name)
	switch {
	case errors.As(err, new(*tensor.FormatError)) && (base == dcp.MetadataName || strings.HasSuffix(base, ".distcp")):
		return nil, tensor.Bad("is one file of a distributed checkpoint of PyTorch").In(storage.Path(source, name)).Advise("give the directory that holds it")
	case err == nil && IsShard(base):
		c.Notes = append(c.Notes, base+" is one of several files of a checkpoint, and the others are not read")
	}
	return c, err
}
