package torch

import (
	"encoding/binary"
	"io"
	"math"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// written are the types that torch can save, with the class of their storages. Types without a class
// ("") are in untyped storages, and the pickle names the type.
var written = func() map[tensor.DType]string {
	classes := map[tensor.DType]string{}
	for _, d := range savefile.DTypes {
		classes[d] = ""
	}
	for class, d := range savefile.StorageTypes {
		classes[d] = class
	}
	return classes
}()

// storageName returns the name of the record of storage i.
func storageName(i int) string { return "data/" + strconv.Itoa(i) }

// pickler writes a pickle of protocol 2 as CPython does: each string, tuple, class and object gets a number
// in a memo, and is written as a reference when it comes again.
type pickler struct {
	to   io.Writer
	err  error             // of to
	out  []byte            // is not written yet
	memo map[string]uint32 // number by what was written
	next uint32            // the next number
}

// writePickle writes data.pkl of a dict of tensors. Reading it calls torch._utils._rebuild_tensor_v2 or
// v3 for each tensor.
func writePickle(to io.Writer, specs []tensor.Spec, ranges []Range) error {
	const batch = 1000 // items that Python sets with one opcode
	p := &pickler{to: to, memo: map[string]uint32{}}
	p.out = append(p.out, 0x80, 2, '}')
	p.put()
	if len(specs) == 1 { // without a mark
		p.text(specs[0].Name)
		p.tensor(0, specs[0], ranges[0].Length)
		p.out = append(p.out, 's')
		specs = nil
	}
	for i, s := range specs {
		if i%batch == 0 {
			p.out = append(p.out, '(')
		}
		p.text(s.Name)
		p.tensor(i, s, ranges[i].Length)
		if (i+1)%batch == 0 || i+1 == len(specs) {
			p.out = append(p.out, 'u')
			p.flush()
		}
	}
	if n := len(specs); n > 0 && n%batch == 0 {
		p.out = append(p.out, '(', 'u') // as Python, which finds an empty batch
	}
	p.out = append(p.out, '.')
	p.flush()
	return p.err
}

func (p *pickler) flush() {
	if p.err == nil {
		_, p.err = p.to.Write(p.out)
	}
	p.out = p.out[:0]
}

// tensor writes the call that rebuilds a tensor from storage i.
func (p *pickler) tensor(i int, s tensor.Spec, size int64) {
	class := written[s.DType]
	rebuild, module, numel := "_rebuild_tensor_v2", "torch", size/s.DType.Size()
	if class == "" {
		rebuild, module, class, numel = "_rebuild_tensor_v3", "torch.storage", "UntypedStorage", size
	}
	p.global("torch._utils", rebuild)
	p.out = append(p.out, '(', '(')
	p.shared("storage")
	p.global(module, class)
	p.text(strconv.Itoa(i))
	p.shared("cpu")
	p.int(numel)
	p.out = append(p.out, 't')
	p.put()
	p.out = append(p.out, 'Q')
	p.int(0) // offset
	p.tuple(s.Shape)
	p.tuple(rowMajor(s.Shape))
	p.out = append(p.out, 0x89) // needs no gradient
	p.global("collections", "OrderedDict")
	p.out = append(p.out, ')', 'R') // no hooks
	p.put()
	if rebuild == "_rebuild_tensor_v3" {
		p.global("torch", s.DType.String())
	}
	p.out = append(p.out, 't')
	p.put()
	p.out = append(p.out, 'R')
	p.put()
}

// rowMajor returns torch's strides of a contiguous tensor, in which an axis of size 0 counts as 1.
func rowMajor(shape []int64) []int64 {
	strides := make([]int64, len(shape))
	step := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = step
		step *= max(shape[i], 1)
	}
	return strides
}

// put gives the value that was written last a number.
func (p *pickler) put() {
	if p.next <= math.MaxUint8 {
		p.out = append(p.out, 'q', byte(p.next))
	} else {
		p.out = binary.LittleEndian.AppendUint32(append(p.out, 'r'), p.next)
	}
	p.next++
}

// again writes a reference to the value that was written for key before. If there is none, it reserves the
// next number for key and returns false.
func (p *pickler) again(key string) bool {
	n, ok := p.memo[key]
	if !ok {
		p.memo[key] = p.next
		return false
	}
	if n <= math.MaxUint8 {
		p.out = append(p.out, 'h', byte(n))
	} else {
		p.out = binary.LittleEndian.AppendUint32(append(p.out, 'j'), n)
	}
	return true
}

// global writes a class, function or type.
func (p *pickler) global(module, name string) {
	if p.again("c" + module + "\n" + name) {
		return
	}
	p.out = append(p.out, "c"+module+"\n"+name+"\n"...)
	p.put()
}

// shared writes a string for which torch always uses the same object.
func (p *pickler) shared(s string) {
	if !p.again("s" + s) {
		p.text(s)
	}
}

// text writes a string that is an object of its own.
func (p *pickler) text(s string) {
	p.out = binary.LittleEndian.AppendUint32(append(p.out, 'X'), uint32(len(s)))
	p.out = append(p.out, s...)
	p.put()
}

// tuple writes a tuple of integers. The empty tuple has no number.
func (p *pickler) tuple(values []int64) {
	if len(values) == 0 {
		p.out = append(p.out, ')')
		return
	}
	if len(values) > 3 {
		p.out = append(p.out, '(')
	}
	for _, v := range values {
		p.int(v)
	}
	p.out = append(p.out, [...]byte{1: 0x85, 0x86, 0x87, 't'}[min(len(values), 4)])
	p.put()
}

// int writes a non-negative integer in its shortest form.
func (p *pickler) int(v int64) {
	switch {
	case v <= math.MaxUint8:
		p.out = append(p.out, 'K', byte(v))
	case v <= math.MaxUint16:
		p.out = binary.LittleEndian.AppendUint16(append(p.out, 'M'), uint16(v))
	case v <= math.MaxInt32:
		p.out = binary.LittleEndian.AppendUint32(append(p.out, 'J'), uint32(v))
	default:
		n := 8 // bytes of a signed number
		for n > 1 && v>>(8*n-9) == 0 {
			n--
		}
		p.out = append(p.out, 0x8a, byte(n))
		p.out = append(p.out, binary.LittleEndian.AppendUint64(nil, uint64(v))[:n]...)
	}
}
