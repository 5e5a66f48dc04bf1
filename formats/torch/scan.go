package torch

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Limits on one pickle. The pickle of a checkpoint takes 150 to 300 bytes a tensor, and what
// gopickle makes of it some 3.5 KiB by the costs of the opcode table, so that more than 15,000
// tensors are within both, ten times what checkpoints of training runs hold. Within them no pickle
// was found that takes 128 MiB or a second to read.
const (
	maxPickle  = 16 << 20 // bytes
	maxReading = 64 << 20 // bytes, by the costs in the opcode table
)

// errCut says that a pickle goes on past the bytes at hand.
var errCut = errors.New("pickle has no end")

// scanner reads a pickle without building anything of it, checks it opcode by opcode, and copies
// it for gopickle. gopickle v0.3.0 trusts its input: it panics on some opcodes, allocates what a
// length says before it reads, pushes nil for what the memo does not hold. So nothing reaches it
// that has not passed here:
//   - only opcodes of the table, with operands that lie within the pickle;
//   - every value that an opcode takes is on the stack, above the mark, and of the right kind;
//     every MARK is used; the memo is read only where it was written;
//   - names of classes and functions are those of the table of globals. The copy does not even
//     contain names: it says which row of the table is meant, and none but these can be asked for;
//   - what it would take to read stays within maxReading.
//
// Frames and the protocol number are left out of the copy; they are checked here.
type scanner struct {
	in       []byte
	pos      int // of the next opcode or operand byte
	out      []byte
	names    bool // whether globals and persistent ids are allowed at all
	stack    []value
	marks    []int // heights of the stack
	memo     map[uint32]value
	highest  int // the stack's height so far
	frameEnd int // where the current frame ends
	cost     int64
	proto    byte
	done     bool
}

// kind is what the scanner knows of a value.
type kind uint8

const (
	plain      kind = iota // a number, None, bytes
	text                   // a string
	tuple                  //
	list                   //
	dict                   // takes items, no state
	object                 // came from a call: takes a state
	dictObject             // takes items and a state
	set                    //
	class                  // a row of globals
)

// value is a value on the scanner's stack: its kind, the row of globals that it is, the bytes of
// the pickle that a text is.
type value struct {
	kind       kind
	row        uint8
	start, end int32
}

// scan checks the pickle at the start of data and returns its length and the copy for gopickle.
// Errors are *tensor.FormatError, with the offset in data, or errCut. names tells whether the
// pickle may refer to classes, functions and storages.
func scan(data []byte, names bool) (length int, copied []byte, proto byte, err error) {
	s := &scanner{in: data, names: names, memo: map[uint32]value{}, out: make([]byte, 0, len(data)+16)}
	for !s.done {
		at := s.pos
		if err := s.step(); err != nil {
			return 0, nil, 0, placed(err, "", int64(at))
		}
	}
	return s.pos, s.out, s.proto, nil
}

// step checks and copies one opcode.
func (s *scanner) step() error {
	if s.pos >= len(s.in) {
		return errCut
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

// dropped tells of the opcodes that only the scanner needs.
func (s *scanner) dropped(code byte) bool { return code == 0x80 || code == 0x95 }

// charge counts n bytes of memory that reading the pickle takes.
func (s *scanner) charge(n int64) error {
	s.cost += n
	if s.cost > maxReading {
		return tensor.Bad("pickle would take more than %d MiB to read", maxReading>>20)
	}
	return nil
}

// operand returns the operand at pos and moves past it.
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

// take returns the next n bytes. A length that no pickle can have is told apart from one that only
// the bytes at hand do not reach, since those may be the beginning of a longer file.
func (s *scanner) take(n int64) ([]byte, error) {
	if n > maxPickle {
		return nil, tensor.Bad("length %d exceeds the largest pickle (%d MiB)", n, maxPickle>>20)
	}
	if n > int64(len(s.in)-s.pos) {
		return nil, errCut
	}
	start := s.pos
	s.pos += int(n)
	return s.in[start:s.pos], nil
}

// maxLine is far longer than the names of classes and the numbers that stand in lines.
const maxLine = 1024

// line returns the bytes up to the next newline and moves past it.
func (s *scanner) line() ([]byte, error) {
	rest := s.in[s.pos:min(len(s.in), s.pos+maxLine)]
	n := bytes.IndexByte(rest, '\n')
	if n < 0 {
		if len(rest) == maxLine {
			return nil, tensor.Bad("line of more than %d bytes", maxLine)
		}
		return nil, errCut
	}
	s.pos += n + 1
	return rest[:n], nil
}
