package convert

import (
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/storage"
)

// Temporary names of what moved to other packages.
type (
	Move      = moves.Move
	Dest      = moves.Dest
	Model     = model.Model
	Layout    = model.Layout
	Config    = model.Config
	BlockType = model.BlockType
	Settings  = model.Settings
	Manifest  = manifest.Manifest
	HFForm    = manifest.HuggingFace

	SettingsError = model.OptionError
)

const (
	UnknownLayout = model.UnknownLayout
	Flax          = model.Flax
	Torch         = model.Torch
	HuggingFace   = model.HuggingFace
	Recurrent     = model.Recurrent
	Attention     = model.Attention
	ManifestName  = manifest.Name
)

// ReadManifest is manifest.Read.
func ReadManifest(checkpoint string) (*Manifest, string, error) {
	source, name, err := storage.Locate(checkpoint)
	if err != nil {
		return nil, "", nil
	}
	return manifest.Read(source, name)
}
