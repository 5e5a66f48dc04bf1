//go:build !linux

package publish

import "github.com/griffin-ckpt/griffin/formats/storage/internal/system"

func reserve(f *system.File, size int64) error { return f.Truncate(size) }

func openDirect(*system.File) *system.File { return nil }

func beginWriteback(*system.File, int64, int64) {}
