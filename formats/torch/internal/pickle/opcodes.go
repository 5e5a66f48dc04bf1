package pickle

// operandKind says what follows an opcode.
type operandKind uint8

const (
	noOperand operandKind = iota
	bytes1                // a little-endian number of that many bytes
	bytes2
	bytes4
	bytes8
	counted1 // a length of that many bytes, then as many bytes
	counted4
	counted8
	oneLine // text up to a newline
	twoLines
)

// operand is what follows an opcode in a pickle. Its bytes are valid until the next is read.
type operand struct {
	bytes  []byte // of a number or line; of counted bytes only if the opcode keeps them
	second []byte // the second of two lines
	n      int64  // the number of bytes1 to bytes4; the length of counted bytes
}

// opcode is a row of the table of opcodes that a pickle may use.
type opcode struct {
	name    string
	operand operandKind
	keep    bool  // whether counted bytes are part of the value
	memory  int64 // bytes that it allocates, apart from its operand
	run     func(m *machine, arg operand) error
}

// Memory in bytes that values take, and the work on them of a caller that visits each, rounded up.
const (
	memorySlot   = 96 // of the stack, twice since it grows by doubling
	memoryMark   = 80
	memoryItem   = 32 // of a list, which grows by doubling
	memoryEntry  = 64 // of a dict, which grows by doubling
	memoryMemo   = 64
	memoryTuple  = 144
	memoryList   = 208
	memoryDict   = 256
	memoryNumber = 16
	memoryText   = 32 // and its bytes
	memoryName   = 160
	memoryCall   = 200 // the largest thing that a Func makes
)

// opcodes are those that torch, libtorch and both generations of Python's picklers write in protocols
// 1 to 5. The others are refused: those that only protocol 0 has, EXT, PERSID, buffers, and those for
// values of more than 4 GiB.
var opcodes = [256]opcode{
	'(':  {"MARK", noOperand, false, memoryMark, (*machine).mark},
	'.':  {"STOP", noOperand, false, 0, (*machine).stop},
	'0':  {"POP", noOperand, false, 0, (*machine).drop},
	'1':  {"POP_MARK", noOperand, false, 0, (*machine).dropMark},
	'N':  {"NONE", noOperand, false, 0, pushes(nil)},
	0x88: {"NEWTRUE", noOperand, false, 0, pushes(true)},
	0x89: {"NEWFALSE", noOperand, false, 0, pushes(false)},
	'I':  {"INT", oneLine, false, memoryNumber, (*machine).decimal},
	'L':  {"LONG", oneLine, false, memoryNumber, (*machine).decimalLong},
	'J':  {"BININT", bytes4, false, memoryNumber, (*machine).signed},
	'K':  {"BININT1", bytes1, false, 0, (*machine).unsigned},
	'M':  {"BININT2", bytes2, false, memoryNumber, (*machine).unsigned},
	0x8a: {"LONG1", counted1, true, 2 * memoryNumber, (*machine).long},
	'G':  {"BINFLOAT", bytes8, false, memoryNumber, (*machine).float},
	'X':  {"BINUNICODE", counted4, true, memoryText, (*machine).text},
	0x8c: {"SHORT_BINUNICODE", counted1, true, memoryText, (*machine).text},
	'T':  {"BINSTRING", counted4, true, memoryText, (*machine).python2Text},
	'U':  {"SHORT_BINSTRING", counted1, true, memoryText, (*machine).python2Text},
	'B':  {"BINBYTES", counted4, false, memoryNumber, (*machine).bytes},
	'C':  {"SHORT_BINBYTES", counted1, false, memoryNumber, (*machine).bytes},
	0x96: {"BYTEARRAY8", counted8, false, memoryNumber, (*machine).bytes},
	')':  {"EMPTY_TUPLE", noOperand, false, 0, pushes(&Tuple{})},
	't':  {"TUPLE", noOperand, false, memoryTuple, (*machine).tuple},
	0x85: {"TUPLE1", noOperand, false, memoryTuple, tupleOf(1)},
	0x86: {"TUPLE2", noOperand, false, memoryTuple, tupleOf(2)},
	0x87: {"TUPLE3", noOperand, false, memoryTuple, tupleOf(3)},
	']':  {"EMPTY_LIST", noOperand, false, memoryList, func(m *machine, _ operand) error { return m.push(&List{}) }},
	'a':  {"APPEND", noOperand, false, 0, (*machine).appendOne},
	'e':  {"APPENDS", noOperand, false, 0, (*machine).appendMark},
	'}':  {"EMPTY_DICT", noOperand, false, memoryDict, func(m *machine, _ operand) error { return m.push(&Dict{}) }},
	's':  {"SETITEM", noOperand, false, 0, (*machine).setOne},
	'u':  {"SETITEMS", noOperand, false, 0, (*machine).setMark},
	0x8f: {"EMPTY_SET", noOperand, false, memoryList, func(m *machine, _ operand) error { return m.push(&Set{}) }},
	0x90: {"ADDITEMS", noOperand, false, 0, (*machine).addMark},
	0x91: {"FROZENSET", noOperand, false, memoryList, (*machine).frozenSet},
	'q':  {"BINPUT", bytes1, false, 0, (*machine).put},
	'r':  {"LONG_BINPUT", bytes4, false, 0, (*machine).put},
	0x94: {"MEMOIZE", noOperand, false, 0, (*machine).memoize},
	'h':  {"BINGET", bytes1, false, 0, (*machine).get},
	'j':  {"LONG_BINGET", bytes4, false, 0, (*machine).get},
	'c':  {"GLOBAL", twoLines, false, 0, (*machine).global},
	0x93: {"STACK_GLOBAL", noOperand, false, 0, (*machine).stackGlobal},
	'R':  {"REDUCE", noOperand, false, memoryCall, (*machine).call},
	0x81: {"NEWOBJ", noOperand, false, memoryCall, (*machine).call},
	0x92: {"NEWOBJ_EX", noOperand, false, memoryCall, (*machine).callWithNames},
	'i':  {"INST", twoLines, false, memoryCall, (*machine).instance},
	'o':  {"OBJ", noOperand, false, memoryCall, (*machine).object},
	'b':  {"BUILD", noOperand, false, 0, (*machine).build},
	'Q':  {"BINPERSID", noOperand, false, memoryCall, (*machine).persistentID},
	0x80: {"PROTO", bytes1, false, 0, (*machine).proto},
	0x95: {"FRAME", bytes8, false, 0, (*machine).frame},
}

// refusedOpcodes names some that are not in the table.
var refusedOpcodes = map[byte]string{
	'2': "DUP", 'F': "FLOAT", 'P': "PERSID", 'S': "STRING", 'V': "UNICODE", 'd': "DICT", 'l': "LIST", 'g': "GET",
	'p': "PUT", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x8b: "LONG4", 0x8d: "BINUNICODE8", 0x8e: "BINBYTES8",
	0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
}

// IsOpcode reports whether a byte is an opcode of pickles, refused or not.
func IsOpcode(code byte) bool { return opcodes[code].run != nil || refusedOpcodes[code] != "" }
