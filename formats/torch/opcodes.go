package torch

// operand is what follows an opcode in a pickle.
type operand uint8

const (
	noOperand   operand = iota
	bytes1              // a number of that many bytes
	bytes2              //
	bytes4              //
	bytes8              //
	counted1            // a length of that many bytes, then as many bytes
	counted4            //
	oneLine             // text up to a newline
	twoLines            //
	firstOfFile         // one byte, only at the start of a pickle
)

// opcode is an opcode that a checkpoint may use.
type opcode struct {
	name    string
	operand operand
	cost    int64 // upper bound of the bytes that gopickle and this package allocate for it
	check   func(s *scanner, arg []byte) error
}

// The costs of values in bytes, rounded up: in gopickle v0.3.0, in the scanner, and while the values are
// walked.
const (
	costMark  = 320 // a stack of 16 interfaces for every MARK
	costDict  = 288 // four entries from the start
	costList  = 208
	costTuple = 144
	costMemo  = 96  // an entry in two maps, both growing by doubling
	costItem  = 96  // a slot of a growing list or dictionary
	costSlot  = 80  // a slot of both stacks, counted when a stack grows
	costText  = 48  // and twice its bytes
	costCall  = 176 // a tensor, the largest result of a call
	costRef   = 240 // a new storage
	costName  = 160
)

// opcodes are the opcodes that torch, libtorch and both generations of Python's pickler write for
// checkpoints, in protocols 1 to 5 (torch does not write protocol 0). All others are refused, among
// them those that make instances of classes (INST, OBJ, NEWOBJ), those of protocol 0, EXT, buffers,
// 8-byte lengths, LONG4, DUP and POP.
var opcodes = [256]opcode{
	'(':  {"MARK", noOperand, costMark, (*scanner).mark},
	'.':  {"STOP", noOperand, 0, (*scanner).stop},
	'N':  {"NONE", noOperand, 0, pushes(plain)},
	0x88: {"NEWTRUE", noOperand, 0, pushes(plain)},
	0x89: {"NEWFALSE", noOperand, 0, pushes(plain)},
	'I':  {"INT", oneLine, costText, (*scanner).decimal},
	'L':  {"LONG", oneLine, costText, (*scanner).decimal},
	'J':  {"BININT", bytes4, 16, pushes(plain)},
	'K':  {"BININT1", bytes1, 16, pushes(plain)},
	'M':  {"BININT2", bytes2, 16, pushes(plain)},
	0x8a: {"LONG1", counted1, 128, (*scanner).long},
	'G':  {"BINFLOAT", bytes8, 16, pushes(plain)},
	'X':  {"BINUNICODE", counted4, costText, (*scanner).text},
	0x8c: {"SHORT_BINUNICODE", counted1, costText, (*scanner).text},
	'T':  {"BINSTRING", counted4, costText, (*scanner).python2Text},
	'U':  {"SHORT_BINSTRING", counted1, costText, (*scanner).python2Text},
	'B':  {"BINBYTES", counted4, costText, pushes(plain)},
	'C':  {"SHORT_BINBYTES", counted1, costText, pushes(plain)},
	')':  {"EMPTY_TUPLE", noOperand, costTuple, pushes(tuple)},
	't':  {"TUPLE", noOperand, costTuple, (*scanner).tupleOfMark},
	0x85: {"TUPLE1", noOperand, costTuple, tupleOf(1)},
	0x86: {"TUPLE2", noOperand, costTuple + 16, tupleOf(2)},
	0x87: {"TUPLE3", noOperand, costTuple + 32, tupleOf(3)},
	']':  {"EMPTY_LIST", noOperand, costList, pushes(list)},
	'a':  {"APPEND", noOperand, costItem, (*scanner).appendOne},
	'e':  {"APPENDS", noOperand, 0, (*scanner).appendMark},
	'}':  {"EMPTY_DICT", noOperand, costDict, pushes(dict)},
	's':  {"SETITEM", noOperand, costItem, (*scanner).setOne},
	'u':  {"SETITEMS", noOperand, 0, (*scanner).setMark},
	0x8f: {"EMPTY_SET", noOperand, costName + costCall, (*scanner).emptySet},
	0x90: {"ADDITEMS", noOperand, 0, (*scanner).addMark},
	'q':  {"BINPUT", bytes1, costMemo, (*scanner).put},
	'r':  {"LONG_BINPUT", bytes4, costMemo, (*scanner).put},
	0x94: {"MEMOIZE", noOperand, costMemo, (*scanner).memoize},
	'h':  {"BINGET", bytes1, 0, (*scanner).get},
	'j':  {"LONG_BINGET", bytes4, 0, (*scanner).get},
	'c':  {"GLOBAL", twoLines, costName, (*scanner).global},
	0x93: {"STACK_GLOBAL", noOperand, costName, (*scanner).stackGlobal},
	'R':  {"REDUCE", noOperand, costCall, (*scanner).reduce},
	'b':  {"BUILD", noOperand, 0, (*scanner).build},
	'Q':  {"BINPERSID", noOperand, costRef, (*scanner).persistentID},
	0x80: {"PROTO", firstOfFile, 0, (*scanner).protocol},
	0x95: {"FRAME", bytes8, 0, (*scanner).frame},
}

// refusedOpcodes are the names of refused opcodes, for error messages.
var refusedOpcodes = map[byte]string{
	'0': "POP", '1': "POP_MARK", '2': "DUP", 'F': "FLOAT", 'P': "PERSID", 'S': "STRING", 'V': "UNICODE",
	'd': "DICT", 'l': "LIST", 'g': "GET", 'p': "PUT", 'i': "INST", 'o': "OBJ", 0x81: "NEWOBJ", 0x82: "EXT1",
	0x83: "EXT2", 0x84: "EXT4", 0x8b: "LONG4", 0x8d: "BINUNICODE8", 0x8e: "BINBYTES8", 0x91: "FROZENSET",
	0x92: "NEWOBJ_EX", 0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
}
