// Package npy writes tensors as .npy files of NumPy (version 1.0 of numpy.lib.format).
package npy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// descrs are the names of the types in NumPy. bfloat16, which NumPy does not have, is written as float32, which has all
// its values.
var descrs = map[tensor.DType]string{
	tensor.F64: "<f8", tensor.F32: "<f4", tensor.F16: "<f2", tensor.BF16: "<f4",
	tensor.C128: "<c16", tensor.C64: "<c8",
	tensor.I64: "<i8", tensor.I32: "<i4", tensor.I16: "<i2", tensor.I8: "|i1",
	tensor.U64: "<u8", tensor.U32: "<u4", tensor.U16: "<u2", tensor.U8: "|u1", tensor.Bool: "|b1",
}

// maxAxes is NPY_MAXDIMS of NumPy 2.
const maxAxes = 64

// Write writes the elements of t as a .npy file. bfloat16 becomes float32, exactly. A type that NumPy does not have is a
// *tensor.FormatError.
func Write(w io.Writer, t *tensor.Tensor) error {
	descr := descrs[t.DType]
	if descr == "" {
		return tensor.Bad("numpy has no element type for %s", t.DType).Of(t.Name)
	}
	if len(t.Shape) > maxAxes {
		return tensor.Bad("tensor has %d axes; numpy allows %d", len(t.Shape), maxAxes).Of(t.Name)
	}
	buf := bufio.NewWriterSize(w, 1<<20)
	buf.Write(header(descr, t.Shape))
	r, err := t.Data.Stream(0)
	if err != nil {
		return err
	}
	defer r.Close()
	if t.DType == tensor.BF16 {
		r = io.NopCloser(&widener{src: r})
	}
	if _, err := io.Copy(buf, r); err != nil {
		return err
	}
	return buf.Flush()
}

// Size returns the size in bytes of the file that Write writes.
func Size(t *tensor.Tensor) int64 {
	n := t.Bytes()
	if t.DType == tensor.BF16 {
		n *= 2
	}
	return n + int64(len(header(descrs[t.DType], t.Shape)))
}

// header returns magic number, version, length and the Python dict, padded to a multiple of 64 bytes.
func header(descr string, shape []int64) []byte {
	sizes := make([]string, len(shape))
	for i, n := range shape {
		sizes[i] = fmt.Sprint(n)
	}
	tuple := strings.Join(sizes, ", ")
	if len(shape) == 1 {
		tuple += ","
	}
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, tuple)
	const fixed = 10 // magic number, version and length
	pad := 63 - (fixed+len(dict))%64
	h := []byte("\x93NUMPY\x01\x00")
	h = binary.LittleEndian.AppendUint16(h, uint16(len(dict)+pad+1))
	return append(h, dict+strings.Repeat(" ", pad)+"\n"...)
}

// widener converts a stream of bfloat16 to float32.
type widener struct {
	src  io.Reader
	raw  [16 << 10]byte
	wide []byte // unread bytes of buf
	buf  [32 << 10]byte
}

func (z *widener) Read(p []byte) (int, error) {
	if len(z.wide) == 0 {
		n, err := io.ReadFull(z.src, z.raw[:])
		if n < 2 {
			if err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			return 0, err
		}
		for i := 0; i+1 < n; i += 2 {
			f := math.Float32frombits(uint32(binary.LittleEndian.Uint16(z.raw[i:])) << 16)
			binary.LittleEndian.PutUint32(z.buf[2*i:], math.Float32bits(f))
		}
		z.wide = z.buf[:n/2*4]
	}
	n := copy(p, z.wide)
	z.wide = z.wide[n:]
	return n, nil
}
