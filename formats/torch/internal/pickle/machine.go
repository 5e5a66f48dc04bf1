package pickle

import (
	"encoding/binary"
	"errors"
	"reflect"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// machine runs a pickle.
type machine struct {
	in       input
	config   Config
	at       int64 // position of the opcode at hand
	protocol int
	frameEnd int64
	done     bool

	stack   []slot
	marks   []mark
	highest int // the stack's height so far

	uses     bits           // memo entries that are read
	memo     map[uint32]any // those of them that were written
	memoized uint32         // MEMOIZE opcodes so far
	puts     bool           // whether the memo is written by index
	globals  map[Global]any
	shared   map[*Object]bool // instances in the memo, what is made of which is kept for good
	funcs    int64            // bytes that Config.Kept returned last

	level
}

// level is the memory that is accounted for at one time.
type level struct {
	memory  int64 // bytes
	kept    int64 // bytes that stay for good: of immutable values that went into the memo, and of what the caller keeps
	mutable int   // how often a value to which more can be added went into the memo, or came from there
}

// slot is a value on the stack.
type slot struct {
	value any
	level // when it was pushed
}

// mark is a MARK on the stack.
type mark struct {
	height int
	level
}

// locate adds the position of the opcode to an error about it.
func (m *machine) locate(err error) error {
	var bad *tensor.FormatError
	if errors.As(err, &bad) {
		bad.At(m.at)
	}
	return err
}

// next reads an opcode and its operand. keep says whether counted bytes are wanted; they are charged
// before they are read.
func (m *machine) next(keep bool) (*opcode, operand, error) {
	m.at = m.in.pos
	code, err := m.in.take(1)
	if err != nil {
		return nil, operand{}, err
	}
	c := code[0]
	op := &opcodes[c]
	if op.run == nil {
		if name := refusedOpcodes[c]; name != "" {
			return nil, operand{}, tensor.Bad("pickle opcode %s, which checkpoints do not use", name)
		}
		return nil, operand{}, tensor.Bad("unknown pickle opcode 0x%02x", c)
	}
	arg, err := m.operand(op, keep && op.keep)
	if err == nil && m.at < m.frameEnd && m.in.pos > m.frameEnd && op.name != "FRAME" {
		err = tensor.Bad("pickle opcode %s crosses the end of its frame", op.name)
	}
	return op, arg, err
}

func (m *machine) operand(op *opcode, keep bool) (arg operand, err error) {
	switch op.operand {
	case bytes1, bytes2, bytes4, bytes8:
		if arg.bytes, err = m.in.take(1 << (op.operand - bytes1)); err == nil && op.operand != bytes8 {
			arg.n = number(arg.bytes)
		}
	case counted1, counted4, counted8:
		width := int64(1)
		switch op.operand {
		case counted4:
			width = 4
		case counted8:
			width = 8
		}
		length, err := m.in.take(width)
		if err != nil {
			return arg, err
		}
		arg.n = number(length)
		if !keep {
			return arg, m.in.skip(arg.n)
		}
		if err = m.in.check(arg.n); err == nil {
			err = m.charge(arg.n)
		}
		if err != nil {
			return arg, err
		}
		arg.bytes, err = m.in.take(arg.n)
		return arg, err
	case oneLine:
		arg.bytes, err = m.in.line()
	case twoLines:
		var first []byte
		if first, err = m.in.line(); err == nil {
			arg.bytes = append([]byte{}, first...)
			arg.second, err = m.in.line()
		}
	}
	return arg, err
}

// number reads a little-endian number of up to 8 bytes.
func number(p []byte) int64 {
	var wide [8]byte
	copy(wide[:], p)
	return int64(binary.LittleEndian.Uint64(wide[:]))
}

// findUses is the first pass: it goes through the opcodes for the memo entries that are read.
func (m *machine) findUses() error {
	for {
		op, arg, err := m.next(false)
		if err != nil {
			return err
		}
		switch op.name {
		case "STOP":
			return nil
		case "BINGET", "LONG_BINGET":
			if at := arg.n; at < m.in.pos && !m.uses.has(at) { // an entry past that was not written
				if err = m.charge(memoryMemo + m.uses.growth(at)); err == nil {
					m.uses.add(at)
				}
			}
		case "PROTO":
			err = m.proto(arg)
		case "FRAME":
			err = m.frame(arg)
		}
		if err != nil {
			return err
		}
	}
}

// bits is a set of numbers.
type bits []uint64

func (b bits) has(n int64) bool { return n/64 < int64(len(b)) && b[n/64]>>(n%64)&1 != 0 }

// growth returns the bytes of memory that it takes to add a number. The set grows by doubling.
func (b bits) growth(n int64) int64 { return 16 * max(0, n/64+1-int64(len(b))) }

func (b *bits) add(n int64) {
	if more := n/64 + 1 - int64(len(*b)); more > 0 {
		*b = append(*b, make(bits, more)...)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

// run is the second pass: it builds the value.
func (m *machine) run() (any, error) {
	m.memo, m.globals, m.shared, m.frameEnd = map[uint32]any{}, map[Global]any{}, map[*Object]bool{}, 0
	for {
		op, arg, err := m.next(true)
		if err == nil {
			err = m.charge(op.memory)
		}
		if err == nil {
			err = op.run(m, arg)
		}
		if err != nil {
			return nil, err
		}
		if m.done {
			return m.stack[0].value, nil
		}
	}
}

// charge counts n bytes of memory.
func (m *machine) charge(n int64) error {
	m.memory += n
	if m.memory > m.config.MaxMemory {
		return tensor.Bad("pickle would take more than %d MiB to read", m.config.MaxMemory>>20)
	}
	return nil
}

// keep counts n bytes of memory that stay for good.
func (m *machine) keep(n int64) error {
	m.kept += n
	return m.charge(n)
}

// reclaim counts the memory of all that was made since then as released, apart from kept bytes and what
// is in the memo. If any of it may have been added to a value in the memo, nothing is released.
func (m *machine) reclaim(since level, kept int64) error {
	if m.mutable == since.mutable {
		m.memory = since.memory + m.kept - since.kept
	}
	return m.charge(kept)
}

// remember puts a value into the memo if it is read from there.
func (m *machine) remember(at uint32, v any) {
	if !m.uses.has(int64(at)) {
		return
	}
	m.memo[at] = v
	if o, ok := v.(*Object); ok && o.isNew() {
		m.shared[o] = true
		m.kept += memoryCall
	} else if n, ok := immutable(v); ok {
		m.kept += n
	} else {
		m.mutable++
	}
}

// added counts that items or entries were added to an object, which may be in the memo.
func (m *machine) added(o *Object) {
	if m.shared[o] {
		m.mutable++
	}
}

// immutable returns the memory of a value to which nothing can be added.
func immutable(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case nil, *Func, *Global:
		return memoryNumber, true
	case string:
		return memoryText + int64(len(v)), true
	case []int64:
		return memoryList + 8*int64(len(v)), true
	case *Tuple:
		total := memoryList + 16*int64(len(v.Items))
		for _, item := range v.Items {
			if _, nested := item.(*Tuple); nested {
				return 0, false
			}
			n, ok := immutable(item)
			if !ok {
				return 0, false
			}
			total += n
		}
		return total, true
	}
	switch reflect.TypeOf(v).Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Interface:
		return 0, false
	}
	return memoryNumber, true // a constant of Config.Names
}
