package torch

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Limits of a pickle. A tensor takes 150 to 300 bytes in the pickle of a checkpoint, and about 3.5 KiB by
// the costs in the opcode table when it is read, so that 15,000 tensors are within both limits: ten
// times as many as in checkpoints of training runs. No pickle within the limits was found that takes
// 128 MiB or a second to read.
const (
	maxPickle  = 16 << 20 // bytes
	maxReading = 64 << 20 // bytes, by the costs in the opcode table
)

// errTruncated is returned for a pickle that does not end within the given bytes.
var errTruncated = errors.New("pickle has no end")

// scanner checks a pickle opcode by opcode, without building values, and copies it for gopickle.
// gopickle v0.3.0 trusts its input: it panics on some opcodes, allocates the length of an operand before
// it reads the operand, and pushes nil for missing entries of the memo. The scanner ensures that in the
// copy:
//   - all opcodes are in the table, with operands within the pickle;
//   - every value that an opcode takes is on the stack, above the mark, and of the right kind; every
//     MARK is used; only entries of the memo that were written are read;
//   - classes and functions are those of the table globals. The copy does not contain their names, but
//     the numbers of their rows in the table;
//   - reading it takes at most maxReading bytes of memory.
//
// Frames and the protocol number are checked and left out of the copy.
type scanner struct {
	in       []byte
	pos      int // of the next opcode or operand byte
	out      []byte
	names    bool // globals and persistent ids are allowed
	stack    []value
	marks    []int // heights of the stack
	memo     map[uint32]value
	highest  int // greatest height of the stack so far
	frameEnd int // where the current frame ends
	cost     int64
	proto    byte
	done     bool
}

// kind is the kind of a value, as far as the scanner needs to know it.
type kind uint8

const (
	plain      kind = iota // a number, None, bytes
	text                   // a string
	tuple                  //
	list                   //
	dict                   // takes items, no state
	object                 // result of a call: takes a state
	dictObject             // takes items and a state
	set                    //
	class                  // a row of globals
)

// value is a value on the scanner's stack: its kind, the row of a class, the range of a text in the
// pickle.
type value struct {
	kind       kind
	row        uint8
	start, end int32
}

// scan checks the pickle at the start of data and returns its length and the copy for gopickle. Errors
// are a *tensor.FormatError with the offset in data, or errTruncated. names is whether the pickle may
// refer to classes, functions and storages.
func scan(data []byte, names bool) (length int, copied []byte, proto byte, err error) {
	s := &scanner{in: data, names: names, memo: map[uint32]value{}, out: make([]byte, 0, len(data)+16)}
	for !s.done {
		at := s.pos
		if err := s.step(); err != nil {
			return 0, nil, 0, annotateAt(err, "", int64(at))
		}
	}
	return s.pos, s.out, s.proto, nil
}

// step checks and copies one opcode.
func (s *scanner) step() error {
	if s.pos >= len(s.in) {
		return errTruncated
	}
	start := s.pos
	code := s.in[s.pos]
	op := &opcodes[code]
	if op.check == nil {
		if name := refusedOpcodes[code]; name != "" {
			return tensor.Bad("pickle opcode %s, which checkpoints do not use", name)
		}
		return tensor.Bad("unknown pickle opcode 0x%02x", code)
	}
	s.pos++
	arg, err := s.operand(op)
	if err != nil {
		return err
	}
	if start < s.frameEnd && s.pos > s.frameEnd && code != 0x95 {
		return tensor.Bad("pickle opcode %s crosses the end of its frame", op.name)
	}
	mark := len(s.out)
	s.out = append(s.out, s.in[start:s.pos]...)
	if err := op.check(s, arg); err != nil {
		return err
	}
	if s.dropped(code) {
		s.out = s.out[:mark]
	}
	return s.charge(op.cost + 2*int64(s.pos-start) + 2*int64(len(arg)))
}

// dropped reports whether an opcode is left out of the copy.
func (s *scanner) dropped(code byte) bool { return code == 0x80 || code == 0x95 }

// charge adds n bytes to the memory that reading the pickle takes.
func (s *scanner) charge(n int64) error {
	s.cost += n
	if s.cost > maxReading {
		return tensor.Bad("pickle would take more than %d MiB to read", maxReading>>20)
	}
	return nil
}

// operand reads the operand at pos.
func (s *scanner) operand(op *opcode) ([]byte, error) {
	switch op.operand {
	case bytes1, firstOfFile:
		return s.take(1)
	case bytes2:
		return s.take(2)
	case bytes4:
		return s.take(4)
	case bytes8:
		return s.take(8)
	case counted1:
		n, err := s.take(1)
		if err != nil {
			return nil, err
		}
		return s.take(int64(n[0]))
	case counted4:
		n, err := s.take(4)
		if err != nil {
			return nil, err
		}
		return s.take(int64(binary.LittleEndian.Uint32(n)))
	case oneLine:
		return s.line()
	case twoLines:
		start := s.pos
		if _, err := s.line(); err != nil {
			return nil, err
		}
		if _, err := s.line(); err != nil {
			return nil, err
		}
		return s.in[start : s.pos-1], nil
	}
	return nil, nil
}

// take reads the next n bytes. If they are not all in the given bytes, which may be the beginning of a
// longer pickle, it returns errTruncated, unless no pickle can be so long.
func (s *scanner) take(n int64) ([]byte, error) {
	if n > maxPickle {
		return nil, tensor.Bad("length %d exceeds the largest pickle (%d MiB)", n, maxPickle>>20)
	}
	if n > int64(len(s.in)-s.pos) {
		return nil, errTruncated
	}
	start := s.pos
	s.pos += int(n)
	return s.in[start:s.pos], nil
}

// maxLine bounds the lines that hold names of classes and numbers, in bytes.
const maxLine = 1024

// line reads a line, and returns it without the newline.
func (s *scanner) line() ([]byte, error) {
	rest := s.in[s.pos:min(len(s.in), s.pos+maxLine)]
	n := bytes.IndexByte(rest, '\n')
	if n < 0 {
		if len(rest) == maxLine {
			return nil, tensor.Bad("line of more than %d bytes", maxLine)
		}
		return nil, errTruncated
	}
	s.pos += n + 1
	return rest[:n], nil
}
