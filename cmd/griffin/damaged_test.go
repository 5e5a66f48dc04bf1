package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A torch file with one wrong byte is exit status 3 whatever is read of it, and never a difference: its zip member has a
// checksum. The member is larger than what is checked when a file is opened.
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
	for _, args := range [][]string{
		{"convert", in("hf"), in("good.pt"), "--to", "torch"},
		{"golden", in("good.pt"), "--random", "4", "--out", in("golden.safetensors"), "--attention-window", "5", "--logits-soft-cap", "20", "--embedding-scale"},
	} {
		if code, text := griffin(args...); code != exitOK {
			t.Fatalf("%v: %d, %s", args, code, text)
		}
	}
	const member = "embedder.input_embedding"
	damage(t, in("good.pt"), in("stored.pt"), zip.Store)
	damage(t, in("good.pt"), in("deflated.pt"), zip.Deflate)
	settings := []string{"--attention-window", "5", "--logits-soft-cap", "20", "--embedding-scale"}
	for _, name := range []string{"stored.pt", "deflated.pt"} {
		for _, args := range [][]string{
			{"inspect", "DAMAGED", "--dump", member, "--out", in("x.npy")},
			{"inspect", "DAMAGED", "--dump", member + "[0:1]", "--out", in("x.npy")},
			{"inspect", "DAMAGED", "--dump", member + "[-1, :4]", "--out", in("x.npy")},
			{"inspect", "DAMAGED", "--digest"},
			{"inspect", "DAMAGED", "--stats"},
			{"convert", "DAMAGED", in("out"), "SETTINGS"},
			{"verify", in("good.pt"), "DAMAGED", "SETTINGS"},
			{"verify", "DAMAGED", in("good.pt"), "SETTINGS"},
			{"verify", in("hf"), "DAMAGED"},
			{"verify", "DAMAGED", in("hf"), "SETTINGS"},
			{"verify", "DAMAGED", "--golden", in("golden.safetensors"), "SETTINGS"},
			{"diff", in("good.pt"), "DAMAGED"},
			{"diff", "DAMAGED", in("good.pt")},
			{"diff", in("hf"), "DAMAGED"},
			{"diff", "DAMAGED", in("hf")},
			{"diff", "--raw", "DAMAGED", in("good.pt"), "--only", member},
			{"generate", "DAMAGED", "--tokens", "1,2", "--max-tokens", "2", "SETTINGS"},
			{"golden", "DAMAGED", "--random", "4", "--out", in("again.safetensors"), "SETTINGS"},
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
			if code, text := griffin(full...); code != exitBadInput || !strings.Contains(text, "checksum") {
				t.Errorf("%s: %v: exit status %d, %s", name, args, code, text)
			}
		}
	}
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
