package torch

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// This file holds the effects of the opcodes on the scanner's stack, marks and memo.

func (s *scanner) push(v value) error {
	s.stack = append(s.stack, v)
	if len(s.stack) <= s.highest {
		return nil
	}
	s.highest = len(s.stack)
	return s.charge(costSlot)
}

// pop removes the value on top, which must be above the last mark.
func (s *scanner) pop() (value, error) {
	floor := 0
	if len(s.marks) > 0 {
		floor = s.marks[len(s.marks)-1]
	}
	if len(s.stack) <= floor {
		return value{}, tensor.Bad("pickle takes a value from an empty stack")
	}
	v := s.stack[len(s.stack)-1]
	s.stack = s.stack[:len(s.stack)-1]
	return v, nil
}

// popKind removes the value on top, which must be of one of the kinds.
func (s *scanner) popKind(what string, kinds ...kind) (value, error) {
	v, err := s.pop()
	if err != nil {
		return v, err
	}
	for _, k := range kinds {
		if v.kind == k {
			return v, nil
		}
	}
	return v, tensor.Bad("pickle has a value of another kind instead of %s", what)
}

// popMark removes the last mark and the values above it, and returns how many these are.
func (s *scanner) popMark() (items int, err error) {
	if len(s.marks) == 0 {
		return 0, tensor.Bad("pickle has no MARK where one is expected")
	}
	floor := s.marks[len(s.marks)-1]
	items = len(s.stack) - floor
	s.stack = s.stack[:floor]
	s.marks = s.marks[:len(s.marks)-1]
	return items, nil
}

func (s *scanner) mark([]byte) error {
	s.marks = append(s.marks, len(s.stack))
	return nil
}

func (s *scanner) stop([]byte) error {
	if _, err := s.pop(); err != nil {
		return err
	}
	if len(s.stack) > 0 || len(s.marks) > 0 {
		return tensor.Bad("pickle ends with values left on its stack")
	}
	s.done = true
	return nil
}

func pushes(k kind) func(*scanner, []byte) error {
	return func(s *scanner, _ []byte) error { return s.push(value{kind: k}) }
}

// decimal checks a decimal number. Protocol 1 writes booleans and integers of more than four bytes so.
func (s *scanner) decimal(arg []byte) error {
	digits := bytes.TrimPrefix(arg, []byte("-"))
	if s.in[s.pos-len(arg)-2] == 'L' {
		digits = bytes.TrimSuffix(digits, []byte("L"))
	}
	if len(digits) == 0 || len(digits) > 40 {
		return tensor.Bad("integer of %d digits", len(digits))
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return tensor.Bad("%q is not an integer", arg)
		}
	}
	return s.push(value{kind: plain})
}

// long checks a little-endian integer of up to 255 bytes. gopickle panics if it has none. The magic
// number of the legacy container has 10.
func (s *scanner) long(arg []byte) error {
	if len(arg) == 0 {
		return tensor.Bad("integer of no bytes")
	}
	return s.push(value{kind: plain})
}

func (s *scanner) text(arg []byte) error {
	if !utf8.Valid(arg) {
		return tensor.Bad("text is not UTF-8")
	}
	return s.python2Text(arg)
}

// python2Text accepts a str of Python 2, in any encoding.
func (s *scanner) python2Text(arg []byte) error {
	return s.push(value{kind: text, start: int32(s.pos - len(arg)), end: int32(s.pos)})
}

func (s *scanner) tupleOfMark([]byte) error {
	if _, err := s.popMark(); err != nil {
		return err
	}
	return s.push(value{kind: tuple})
}

func tupleOf(n int) func(*scanner, []byte) error {
	return func(s *scanner, _ []byte) error {
		for range n {
			if _, err := s.pop(); err != nil {
				return err
			}
		}
		return s.push(value{kind: tuple})
	}
}

func (s *scanner) appendOne([]byte) error {
	if _, err := s.pop(); err != nil {
		return err
	}
	return s.replaceTop("a list", list)
}

func (s *scanner) appendMark([]byte) error {
	n, err := s.popMark()
	if err != nil {
		return err
	}
	if err := s.charge(int64(n) * costItem); err != nil {
		return err
	}
	return s.replaceTop("a list", list)
}

func (s *scanner) setOne([]byte) error {
	for range 2 {
		if _, err := s.pop(); err != nil {
			return err
		}
	}
	return s.replaceTop("a dict", dict, dictObject)
}

func (s *scanner) setMark([]byte) error {
	n, err := s.popMark()
	if err != nil {
		return err
	}
	if n%2 != 0 {
		return tensor.Bad("pickle sets %d keys and values, an odd number", n)
	}
	if err := s.charge(int64(n/2) * costItem); err != nil {
		return err
	}
	return s.replaceTop("a dict", dict, dictObject)
}

func (s *scanner) addMark([]byte) error {
	n, err := s.popMark()
	if err != nil {
		return err
	}
	if err := s.charge(int64(n) * costItem); err != nil {
		return err
	}
	return s.replaceTop("a set", set)
}

// replaceTop checks that the value on top, which an opcode changes, is of one of the kinds.
func (s *scanner) replaceTop(what string, kinds ...kind) error {
	v, err := s.popKind(what, kinds...)
	if err != nil {
		return err
	}
	return s.push(v)
}

// put stores the value on top in the memo. Picklers count from 0, so an index is less than the number of
// bytes read so far.
func (s *scanner) put(arg []byte) error {
	at := memoIndex(arg)
	if int64(at) >= int64(s.pos) {
		return tensor.Bad("memo index %d is out of order", at)
	}
	v, err := s.pop()
	if err != nil {
		return err
	}
	s.memo[at] = v
	return s.push(v)
}

func (s *scanner) memoize([]byte) error {
	v, err := s.pop()
	if err != nil {
		return err
	}
	s.memo[uint32(len(s.memo))] = v
	return s.push(v)
}

func (s *scanner) get(arg []byte) error {
	v, ok := s.memo[memoIndex(arg)]
	if !ok {
		return tensor.Bad("memo has no entry %d", memoIndex(arg))
	}
	return s.push(v)
}

// memoIndex returns the value of an operand of one byte or four.
func memoIndex(arg []byte) uint32 {
	if len(arg) == 1 {
		return uint32(arg[0])
	}
	return binary.LittleEndian.Uint32(arg)
}

// protocol checks PROTO, which may only come first.
func (s *scanner) protocol(arg []byte) error {
	if s.pos != 2 {
		return tensor.Bad("PROTO inside a pickle")
	}
	if arg[0] > 5 {
		return tensor.Bad("unknown pickle protocol %d", arg[0])
	}
	s.proto = arg[0]
	return nil
}

func (s *scanner) frame(arg []byte) error {
	if s.pos-9 < s.frameEnd {
		return tensor.Bad("frame within a frame")
	}
	n := binary.LittleEndian.Uint64(arg)
	if n > maxPickle {
		return tensor.Bad("frame of %d bytes exceeds the largest pickle (%d MiB)", n, maxPickle>>20)
	}
	if int64(n) > int64(len(s.in)-s.pos) {
		return errTruncated
	}
	s.frameEnd = s.pos + int(n)
	return nil
}

// emptySet writes a call of the class set to the copy, since gopickle's own set is a Go map, which panics
// on some values.
func (s *scanner) emptySet([]byte) error {
	s.out = s.out[:len(s.out)-1]
	s.name(setRow)
	s.out = append(s.out, ")R"...)
	return s.push(value{kind: set})
}

func (s *scanner) global(arg []byte) error {
	module, name, _ := bytes.Cut(arg, []byte("\n"))
	s.out = s.out[:len(s.out)-len(arg)-2]
	return s.refer(module, name)
}

// stackGlobal removes the two names from the stack, and in the copy with two POPs.
func (s *scanner) stackGlobal([]byte) error {
	name, err := s.popKind("the name of a class", text)
	if err != nil {
		return err
	}
	module, err := s.popKind("the module of a class", text)
	if err != nil {
		return err
	}
	s.out = append(s.out[:len(s.out)-1], "00"...)
	return s.refer(s.in[module.start:module.end], s.in[name.start:name.end])
}

// refer pushes the global of that name, which must be in the table.
func (s *scanner) refer(module, name []byte) error {
	if !s.names {
		return refused(module, name)
	}
	row, ok := globalRows[globalName{string(module), string(name)}]
	if !ok {
		return refused(module, name)
	}
	s.name(row)
	return s.push(value{kind: class, row: row})
}

// name writes a global to the copy, by the number of its row.
func (s *scanner) name(row uint8) {
	s.out = append(s.out, "c\n"...)
	s.out = strconv.AppendInt(s.out, int64(row), 10)
	s.out = append(s.out, '\n')
}

func (s *scanner) reduce([]byte) error {
	if _, err := s.popKind("the arguments of a call", tuple); err != nil {
		return err
	}
	f, err := s.popKind("the function of a call", class)
	if err != nil {
		return err
	}
	if globals[f.row].call == nil {
		return tensor.Bad("pickle calls %s, which is not a function", globals[f.row])
	}
	return s.push(value{kind: globals[f.row].makes})
}

func (s *scanner) build([]byte) error {
	if _, err := s.pop(); err != nil {
		return err
	}
	return s.replaceTop("an object with a state", object, dictObject, set)
}

func (s *scanner) persistentID([]byte) error {
	if !s.names {
		return tensor.Bad("pickle refers to a storage where none is expected")
	}
	if _, err := s.popKind("the tuple that describes a storage", tuple); err != nil {
		return err
	}
	return s.push(value{kind: plain})
}
