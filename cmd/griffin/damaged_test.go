package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A checkpoint with one wrong byte is exit status 3 whatever is read of it, and never a difference, where the container has a checksum
// of it: of a member of a torch file, or of a chunk of an Orbax directory. Both are larger than what is checked when a file is opened.
func TestDamagedMember(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	check(t, err)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	writeModel(t, data, in("hf"), 40_000)
	griffin := func(args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		code := runCommand(t.Context(), append([]string{"griffin"}, args...), &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	settings := []string{"--attention-window", "5", "--logits-soft-cap", "20", "--embedding-scale"}
	for _, args := range [][]string{
		{"convert", in("hf"), in("good.pt"), "--to", "torch"},
		{"convert", in("hf"), in("good"), "--to", "orbax", "--orbax-format", "zarr"},
		append([]string{"golden", in("good.pt"), "--random", "4", "--out", in("golden.safetensors")}, settings...),
	} {
		if code, text := griffin(args...); code != exitOK {
			t.Fatalf("%v: %d, %s", args, code, text)
		}
	}
	damage(t, in("good.pt"), in("stored.pt"), zip.Store)
	damage(t, in("good.pt"), in("deflated.pt"), zip.Deflate)
	damageChunk(t, in("good"), in("zstd"), "zstd", func(p []byte) []byte {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true))
		check(t, err)
		return w.EncodeAll(p, nil)
	})
	damageChunk(t, in("good"), in("gzip"), "gzip", func(p []byte) []byte {
		var out bytes.Buffer
		w, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
		check(t, err)
		_, err = w.Write(p)
		check(t, errors.Join(err, w.Close()))
		return out.Bytes()
	})
	for _, name := range []string{"stored.pt", "deflated.pt", "zstd", "gzip"} {
		good, member := in("good"+filepath.Ext(name)), "embedder.input_embedding"
		if filepath.Ext(name) == "" {
			member = "params." + member
		}
		for _, args := range [][]string{
			{"inspect", "DAMAGED", "--dump", member, "--out", in("x.npy")},
			{"inspect", "DAMAGED", "--dump", member + "[0:1]", "--out", in("x.npy")},
			{"inspect", "DAMAGED", "--dump", member + "[-1, :4]", "--out", in("x.npy")},
			{"inspect", "DAMAGED", "--digest"},
			{"inspect", "DAMAGED", "--stats"},
			{"convert", "DAMAGED", in("out"), "SETTINGS"},
			{"convert", "DAMAGED", in("out"), "--to", "safetensors"},
			{"verify", good, "DAMAGED", "SETTINGS"},
			{"verify", "DAMAGED", good, "SETTINGS"},
			{"verify", in("hf"), "DAMAGED"},
			{"verify", "DAMAGED", in("hf"), "SETTINGS"},
			{"verify", "DAMAGED", "--golden", in("golden.safetensors"), "SETTINGS"},
			{"diff", good, "DAMAGED"},
			{"diff", "DAMAGED", good},
			{"diff", in("hf"), "DAMAGED"},
			{"diff", "DAMAGED", in("hf")},
			{"diff", "--raw", "DAMAGED", good, "--only", member},
			{"generate", "DAMAGED", "--tokens", "1,2", "--max-tokens", "2", "SETTINGS"},
			{"golden", "DAMAGED", "--random", "4", "--out", in("again.safetensors"), "SETTINGS"},
			{"perplexity", "DAMAGED", "--tokens", in("golden.safetensors"), "SETTINGS"},
		} {
			var full []string
			for _, arg := range args {
				switch arg {
				case "DAMAGED":
					full = append(full, in(name))
				case "SETTINGS":
					full = append(full, settings...)
				default:
					full = append(full, arg)
				}
			}
			if code, text := griffin(full...); code != exitBadInput || !strings.Contains(text, in(name)) || !strings.Contains(text, "is damaged: download") || !strings.Contains(text, "checksum") && !strings.Contains(text, "corrupt "+name) {
				t.Errorf("%s: %v: exit status %d, %s", name, args, code, text)
			}
		}
	}
}

// damageChunk copies an Orbax directory of arrays in files, encodes its largest chunk again, with a checksum, and changes a byte in the
// middle of it. The weights are random, so that an encoder stores their bytes.
func damageChunk(t *testing.T, from, to, compressor string, encode func([]byte) []byte) {
	t.Helper()
	check(t, os.CopyFS(to, os.DirFS(from)))
	var largest string
	var size int64
	check(t, filepath.WalkDir(to, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	}))
	encoded, err := os.ReadFile(largest)
	check(t, err)
	r, err := zstd.NewReader(nil)
	check(t, err)
	defer r.Close()
	content, err := r.DecodeAll(encoded, nil)
	check(t, err)
	random := rand.NewChaCha8([32]byte{})
	for i := range content {
		if i%2 == 0 { // not the exponents
			content[i] = byte(random.Uint64())
		}
	}
	encoded = encode(content)
	encoded[len(encoded)/2] ^= 1
	check(t, os.WriteFile(largest, encoded, 0o644))
	document := filepath.Join(filepath.Dir(largest), ".zarray")
	text, err := os.ReadFile(document)
	check(t, err)
	var fields map[string]any
	check(t, json.Unmarshal(text, &fields))
	fields["compressor"] = map[string]any{"id": compressor, "level": 1}
	text, err = json.Marshal(fields)
	check(t, err)
	check(t, os.WriteFile(document, text, 0o644))
}

// damage copies a zip file, with another compression, and changes a byte in the middle of its largest member.
func damage(t *testing.T, from, to string, method uint16) {
	t.Helper()
	r, err := zip.OpenReader(from)
	check(t, err)
	defer r.Close()
	largest := r.File[0]
	for _, f := range r.File {
		if f.UncompressedSize64 > largest.UncompressedSize64 {
			largest = f
		}
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range r.File {
		member, err := f.Open()
		check(t, err)
		content, err := io.ReadAll(member)
		check(t, err)
		sum := f.CRC32
		if f == largest {
			content[len(content)/2] ^= 1
		}
		stored := content
		if method == zip.Deflate {
			stored = deflated(t, content)
		}
		header := &zip.FileHeader{Name: f.Name, Method: method, CRC32: sum, UncompressedSize64: uint64(len(content)), CompressedSize64: uint64(len(stored))}
		raw, err := w.CreateRaw(header)
		check(t, err)
		_, err = raw.Write(stored)
		check(t, err)
	}
	check(t, w.Close())
	check(t, os.WriteFile(to, out.Bytes(), 0o644))
}

func deflated(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	check(t, err)
	_, err = w.Write(content)
	check(t, err)
	check(t, w.Close())
	return out.Bytes()
}

// Files of Orbax and Flax checkpoints that are cut short, changed or missing are answered with what to do.
func TestHintsOfDamagedFiles(t *testing.T) {
	cut := func(path string) error { return os.Truncate(path, 100) }
	flip := func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 0x41
		return os.WriteFile(path, b, 0o644)
	}
	for _, tt := range []struct {
		checkpoint, file string // a pattern
		do               func(path string) error
	}{
		{"flax-msgpack", "checkpoint", cut},
		{"orbax-zarr", "_METADATA", cut},
		{"orbax-zarr", "_METADATA", flip},
		{"orbax-zarr", "params.final_norm.scale/.zarray", cut},
		{"orbax-zarr", "params.final_norm.scale/0", cut},
		{"orbax-zarr", "params.final_norm.scale/0", os.Remove},
		{"orbax-ocdbt", "_METADATA", cut},
		{"orbax-ocdbt", "manifest.ocdbt", cut},
		{"orbax-ocdbt", "manifest.ocdbt", flip},
		{"orbax-ocdbt", "d/*", cut},
		{"orbax-ocdbt", "d/*", flip},
		{"orbax-ocdbt", "d/*", os.Remove},
		{"orbax-ocdbt", "ocdbt.process_0/d/*", os.Remove},
	} {
		dir := filepath.Join(t.TempDir(), "damaged")
		check(t, os.CopyFS(dir, os.DirFS("../../testdata/micro-griffin/original/"+tt.checkpoint)))
		files, err := filepath.Glob(filepath.Join(dir, tt.file))
		check(t, err)
		for _, file := range files {
			check(t, tt.do(file))
		}
		var stderr bytes.Buffer
		code := runCommand(t.Context(), []string{"griffin", "inspect", "--digest", dir}, io.Discard, &stderr)
		if code != exitBadInput || !strings.Contains(stderr.String(), "hint: the ") && !strings.Contains(stderr.String(), "hint: _METADATA") || !strings.Contains(stderr.String(), "download or copy") {
			t.Errorf("%s, %s: exit status %d, %s", tt.checkpoint, tt.file, code, stderr.String())
		}
	}
}
