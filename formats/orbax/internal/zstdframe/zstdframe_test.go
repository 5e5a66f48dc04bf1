package zstdframe

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// frames returns frames of data that differ in what their headers say.
func frames(t testing.TB, data []byte) map[string][]byte {
	all := map[string][]byte{}
	for name, options := range map[string][]zstd.EOption{
		"checksum":       {zstd.WithEncoderCRC(true)},
		"no checksum":    {zstd.WithEncoderCRC(false)},
		"single segment": {zstd.WithSingleSegment(true)},
		"small window":   {zstd.WithWindowSize(1 << 10)},
	} {
		w, err := zstd.NewWriter(nil, options...)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = w.EncodeAll(data, nil)
	}
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(1<<10))
	if err != nil {
		t.Fatal(err)
	}
	for piece := range slices.Chunk(data, 700) {
		w.Write(piece)
		w.Flush()
	}
	w.Close()
	all["no content size"] = b.Bytes()
	return all
}

func random(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.ExpFloat64() * 8)
	}
	return data
}

func TestOneFrame(t *testing.T) {
	for _, size := range []int{0, 1, 3000, 400000} {
		data := random(size)
		for name, frame := range frames(t, data) {
			for how, src := range map[string]io.Reader{"at once": bytes.NewReader(frame), "halves": iotest.HalfReader(bytes.NewReader(frame)), "with end": iotest.DataErrReader(bytes.NewReader(frame))} {
				r := NewReader(src, -1)
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes, %s, %s: %d, %v", size, name, how, len(got), err)
				}
				r.Close()
			}
			var out bytes.Buffer
			if n, err := NewReader(bytes.NewReader(frame), -1).WriteTo(&out); err != nil || n != int64(size) || !bytes.Equal(out.Bytes(), data) {
				t.Errorf("%d bytes, %s: WriteTo gives %d, %v", size, name, n, err)
			}
		}
	}
}

func TestAnythingElseIsRefused(t *testing.T) {
	data := random(5000)
	frame := frames(t, data)["checksum"]
	empty := frames(t, nil)["checksum"]
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'}
	cases := map[string][]byte{
		"two frames":        slices.Concat(frame, frame),
		"an empty second":   slices.Concat(frame, empty),
		"skippable first":   slices.Concat(skippable, frame),
		"skippable second":  slices.Concat(frame, skippable),
		"trailing zero":     append(bytes.Clone(frame), 0),
		"nothing":           nil,
		"not zstd":          []byte("\x1f\x8b\x08 something else"),
		"window of 256 MiB": {0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 1, 0, 0},
		"wrong checksum":    append(bytes.Clone(frame[:len(frame)-1]), frame[len(frame)-1]^1),
	}
	for i := range frame {
		if i%7 == 0 || i < 20 || i > len(frame)-10 {
			cases["cut"+string(rune('0'+i))] = frame[:i]
		}
	}
	for name, src := range cases {
		for how, read := range map[string]func(*Reader) error{
			"read":    func(r *Reader) error { _, err := io.ReadAll(r); return err },
			"WriteTo": func(r *Reader) error { _, err := r.WriteTo(io.Discard); return err },
		} {
			r := NewReader(bytes.NewReader(src), -1)
			var bad *tensor.FormatError
			if err := read(r); !errors.As(err, &bad) {
				t.Errorf("%s, %s: %v", name, how, err)
			}
			if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("%s, %s: reads on, %v", name, how, err)
			}
			r.Close()
		}
	}
}

var errDisk = errors.New("disk on fire")

// An error of the source or of the writer is not the frame's fault.
func TestOtherErrorsStay(t *testing.T) {
	frame := frames(t, random(400000))["checksum"]
	for _, n := range []int{0, 3, 100, len(frame) - 2, len(frame)} {
		src := io.MultiReader(bytes.NewReader(frame[:n]), iotest.ErrReader(errDisk))
		if _, err := io.Copy(io.Discard, NewReader(src, -1)); err != errDisk {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if _, err := io.ReadAll(NewReader(io.MultiReader(bytes.NewReader(frame[:n]), iotest.ErrReader(errDisk)), -1)); err != errDisk {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if _, err := NewReader(bytes.NewReader(frame), -1).WriteTo(failing{}); err != errDisk {
		t.Errorf("writer: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errDisk }

func TestMemory(t *testing.T) {
	all := frames(t, random(400000))
	if got := NewReader(bytes.NewReader(all["small window"]), -1).Memory(); got != 1<<10+overhead {
		t.Errorf("window of 1 KiB: %d", got)
	}
	if got := NewReader(bytes.NewReader(all["single segment"]), -1).Memory(); got != 400000+overhead {
		t.Errorf("400000 bytes in one segment: %d", got)
	}
	if got := NewReader(bytes.NewReader(nil), -1).Memory(); got != 0 {
		t.Errorf("nothing: %d", got)
	}
}

func FuzzReader(f *testing.F) {
	for _, frame := range frames(f, random(3000)) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		got, err := io.ReadAll(io.LimitReader(NewReader(bytes.NewReader(src), -1), 1<<20))
		if err != nil || len(got) == 1<<20 {
			return
		}
		var b bytes.Buffer
		if _, err := NewReader(bytes.NewReader(src), -1).WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), got) {
			t.Errorf("Read gives %x, WriteTo %x, %v", got, b.Bytes(), err)
		}
	})
}

// The window takes no more memory than the content, and what is longer is no content.
func TestContent(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 1024, 1025, 70_000, 300_000} {
		data := random(n)
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithWindowSize(8<<20))
		if err != nil {
			t.Fatal(err)
		}
		for piece := range slices.Chunk(data, 700) {
			w.Write(piece)
			w.Flush()
		}
		w.Close()
		for name, frame := range map[string][]byte{"large window": b.Bytes(), "single segment": frames(t, data)["single segment"]} {
			if len(frame) == 0 {
				continue
			}
			r := NewReader(bytes.NewReader(frame), int64(n))
			if most := int64(max(2*n, 1<<10) + overhead); r.Memory() > most {
				t.Errorf("%s of %d bytes: memory %d", name, n, r.Memory())
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s of %d bytes: %d bytes, %v", name, n, len(got), err)
			}
			r.Close()
		}
	}
	var bad *tensor.FormatError
	if _, err := io.ReadAll(NewReader(bytes.NewReader(frames(t, random(3000))["single segment"]), 2999)); !errors.As(err, &bad) {
		t.Errorf("a frame of one byte more: %v", err)
	}
}
