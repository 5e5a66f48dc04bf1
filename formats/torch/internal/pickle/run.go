package pickle

import (
	"encoding/binary"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// This file has what each opcode does to the stack, the marks and the memo.

func (m *machine) push(v any) error {
	m.stack = append(m.stack, slot{v, m.level})
	if len(m.stack) <= m.highest {
		return nil
	}
	m.highest = len(m.stack)
	return m.charge(memorySlot)
}

// pop takes the value on top, which has to be above the last mark.
func (m *machine) pop() (any, error) {
	s, err := m.popSlot()
	return s.value, err
}

func (m *machine) popSlot() (slot, error) {
	floor := 0
	if len(m.marks) > 0 {
		floor = m.marks[len(m.marks)-1].height
	}
	if len(m.stack) <= floor {
		return slot{}, tensor.Bad("pickle takes a value from an empty stack")
	}
	s := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return s, nil
}

// popAs takes the value on top, which has to be a T.
func popAs[T any](m *machine, what string) (T, error) {
	v, err := m.pop()
	t, ok := v.(T)
	if err == nil && !ok {
		err = misplaced(what)
	}
	return t, err
}

func misplaced(what string) error {
	return tensor.Bad("pickle has a value of another kind instead of %s", what)
}

// popMark takes the values down to the last mark, and the mark. They are valid until the next push.
func (m *machine) popMark() (items []slot, at mark, err error) {
	if len(m.marks) == 0 {
		return nil, mark{}, tensor.Bad("pickle has no MARK where one is expected")
	}
	at = m.marks[len(m.marks)-1]
	items = m.stack[at.height:]
	m.stack = m.stack[:at.height]
	m.marks = m.marks[:len(m.marks)-1]
	return items, at, nil
}

// top returns the value on top without taking it.
func (m *machine) top() (any, error) {
	v, err := m.pop()
	if err == nil {
		m.stack = m.stack[:len(m.stack)+1]
	}
	return v, err
}

func values(items []slot) []any {
	list := make([]any, len(items))
	for i := range items {
		list[i] = items[i].value
	}
	return list
}

func (m *machine) mark(operand) error {
	m.marks = append(m.marks, mark{len(m.stack), m.level})
	return nil
}

func (m *machine) stop(operand) error {
	if _, err := m.top(); err != nil {
		return err
	}
	if len(m.stack) > 1 || len(m.marks) > 0 {
		return tensor.Bad("pickle ends with values left on its stack")
	}
	m.done = true
	return nil
}

// drop takes the value on top, or the mark if that is on top. Picklers write it for tuples that contain
// themselves.
func (m *machine) drop(operand) error {
	if n := len(m.marks); n > 0 && m.marks[n-1].height == len(m.stack) {
		m.marks = m.marks[:n-1]
		return nil
	}
	_, err := m.pop()
	return err
}

func (m *machine) dropMark(operand) error {
	_, _, err := m.popMark()
	return err
}

func pushes(v any) func(*machine, operand) error {
	return func(m *machine, _ operand) error { return m.push(v) }
}

func (m *machine) unsigned(arg operand) error { return m.push(arg.n) }

func (m *machine) signed(arg operand) error { return m.push(int64(int32(arg.n))) }

func (m *machine) float(arg operand) error {
	return m.push(math.Float64frombits(binary.BigEndian.Uint64(arg.bytes)))
}

// decimal is a number in decimal, as protocol 1 writes it, which writes booleans as 00 and 01.
func (m *machine) decimal(arg operand) error {
	switch string(arg.bytes) {
	case "00":
		return m.push(false)
	case "01":
		return m.push(true)
	}
	return m.pushDecimal(string(arg.bytes))
}

func (m *machine) decimalLong(arg operand) error {
	return m.pushDecimal(strings.TrimSuffix(string(arg.bytes), "L"))
}

func (m *machine) pushDecimal(text string) error {
	digits := strings.TrimPrefix(text, "-")
	if len(digits) == 0 || len(digits) > 40 {
		return tensor.Bad("integer of %d digits", len(digits))
	}
	if strings.Trim(digits, "0123456789") != "" {
		return tensor.Bad("%q is not an integer", text)
	}
	n, _ := new(big.Int).SetString(text, 10)
	return m.pushInteger(n)
}

// long is a little-endian integer of up to 255 bytes in two's complement.
func (m *machine) long(arg operand) error {
	if len(arg.bytes) == 0 {
		return tensor.Bad("integer of no bytes")
	}
	digits := make([]byte, len(arg.bytes))
	for i, b := range arg.bytes {
		digits[len(digits)-1-i] = b
	}
	n := new(big.Int).SetBytes(digits)
	if digits[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(digits))))
	}
	return m.pushInteger(n)
}

func (m *machine) pushInteger(n *big.Int) error {
	if n.IsInt64() {
		return m.push(n.Int64())
	}
	return m.push(n)
}

func (m *machine) text(arg operand) error {
	if !utf8.Valid(arg.bytes) {
		return tensor.Bad("text is not UTF-8")
	}
	return m.push(string(arg.bytes))
}

// python2Text is a str of Python 2, in an unknown encoding.
func (m *machine) python2Text(arg operand) error { return m.push(string(arg.bytes)) }

func (m *machine) bytes(arg operand) error { return m.push(Bytes(arg.n)) }

func (m *machine) tuple(operand) error {
	items, _, err := m.popMark()
	if err != nil {
		return err
	}
	if err := m.charge(16 * int64(len(items))); err != nil {
		return err
	}
	return m.push(&Tuple{values(items)})
}

func tupleOf(n int) func(*machine, operand) error {
	return func(m *machine, _ operand) error {
		items := make([]any, n)
		for i := n - 1; i >= 0; i-- {
			var err error
			if items[i], err = m.pop(); err != nil {
				return err
			}
		}
		return m.push(&Tuple{items})
	}
}

func (m *machine) frozenSet(operand) error {
	items, _, err := m.popMark()
	if err != nil {
		return err
	}
	if err := m.charge(16 * int64(len(items))); err != nil {
		return err
	}
	return m.push(&Set{Items: values(items), Frozen: true})
}

func (m *machine) appendOne(operand) error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	return m.add("a list", v)
}

func (m *machine) appendMark(operand) error { return m.addAll("a list") }

func (m *machine) addMark(operand) error { return m.addAll("a set") }

func (m *machine) addAll(what string) error {
	items, _, err := m.popMark()
	if err != nil {
		return err
	}
	return m.add(what, values(items)...)
}

// add adds items to the list or set on top.
func (m *machine) add(what string, items ...any) error {
	target, err := m.top()
	if err != nil {
		return err
	}
	if err := m.charge(memoryItem * int64(len(items))); err != nil {
		return err
	}
	switch t := target.(type) {
	case *List:
		if what == "a list" {
			t.Items = append(t.Items, items...)
			return nil
		}
	case *Set:
		if what == "a set" {
			t.Items = append(t.Items, items...)
			return nil
		}
	case *Object:
		t.Items = append(t.Items, items...)
		m.added(t)
		return nil
	}
	return misplaced(what)
}

func (m *machine) setOne(operand) error {
	if len(m.stack) < 2 {
		return tensor.Bad("pickle takes a value from an empty stack")
	}
	key := m.stack[len(m.stack)-2]
	value, err := m.pop()
	if err == nil {
		_, err = m.pop()
	}
	if err != nil {
		return err
	}
	return m.set([]slot{key, {value: value}}, key.level)
}

func (m *machine) setMark(operand) error {
	items, at, err := m.popMark()
	if err != nil {
		return err
	}
	if len(items)%2 != 0 {
		return tensor.Bad("pickle sets %d keys and values, an odd number", len(items))
	}
	return m.set(items, at.level)
}

// set adds keys and values, one after the other, to the dict on top. since is from before they were
// made.
func (m *machine) set(items []slot, since level) error {
	target, err := m.top()
	if err != nil {
		return err
	}
	var entries *[]Entry
	offer := m.config.Item
	switch t := target.(type) {
	case *Dict:
		entries = &t.Entries
	case *Object:
		entries, offer = &t.Entries, nil
		m.added(t)
	default:
		return misplaced("a dict")
	}
	left, kept := 0, int64(0)
	for i := 0; i < len(items); i += 2 {
		key, value := items[i].value, items[i+1].value
		if offer != nil {
			taken, n, err := offer(key, value)
			if err != nil {
				return err
			}
			if taken {
				kept += n
				continue
			}
		}
		left++
		*entries = append(*entries, Entry{key, value})
	}
	if left == 0 {
		return m.reclaim(since, kept)
	}
	return m.charge(kept + memoryEntry*int64(left))
}

// put writes the value on top to the memo. Picklers count up from 0; an index past the number of bytes
// read so far is not one of theirs.
func (m *machine) put(arg operand) error {
	if arg.n >= m.in.pos {
		return tensor.Bad("memo index %d is out of order", arg.n)
	}
	m.puts = true
	return m.write(uint32(arg.n))
}

func (m *machine) memoize(operand) error {
	m.memoized++
	return m.write(m.memoized - 1)
}

func (m *machine) write(at uint32) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	if m.puts && m.memoized > 0 {
		return tensor.Bad("pickle numbers its memo in two ways")
	}
	m.remember(at, v)
	return nil
}

func (m *machine) get(arg operand) error {
	v, ok := m.memo[uint32(arg.n)]
	if !ok {
		return tensor.Bad("memo has no entry %d", arg.n)
	}
	if o, ok := v.(*Object); ok && m.shared[o] {
		return m.push(v) // build and added count what is given to it
	}
	if _, fixed := immutable(v); !fixed {
		m.mutable++ // what is made from now on may be added to it
	}
	return m.push(v)
}

// proto checks PROTO, which stands first or not at all.
func (m *machine) proto(arg operand) error {
	if m.at != 0 {
		return tensor.Bad("PROTO inside a pickle")
	}
	if arg.n > 5 {
		return tensor.Bad("unknown pickle protocol %d", arg.n)
	}
	m.protocol = int(arg.n)
	return nil
}

func (m *machine) frame(arg operand) error {
	if m.at < m.frameEnd {
		return tensor.Bad("frame within a frame")
	}
	n := binary.LittleEndian.Uint64(arg.bytes)
	if n > uint64(m.in.max) {
		return tensor.Bad("frame of %d bytes exceeds the largest pickle (%d MiB)", n, m.in.max>>20)
	}
	if err := m.in.check(int64(n)); err != nil {
		return err
	}
	m.frameEnd = m.in.pos + int64(n)
	return nil
}
