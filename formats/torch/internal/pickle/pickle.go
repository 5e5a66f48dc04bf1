// Package pickle reads Python pickles as data.
//
// A pickle is a program for a stack machine that imports what it names and calls it. Here nothing is
// imported and nothing is called: a name that the caller knows stands for a Go value or a Go function
// (Names), any other becomes a *Global, and whatever a pickle makes of it an *Object that only says
// what it was made of. A pickle that names what is known from attacks, such as os.system, is refused.
//
// Memory is bounded by Config.MaxMemory, whatever the pickle says. Time is proportional to the bytes
// of the pickle, which is read twice: first for the memo entries that it reads again, so that only
// those are kept, and then for its value.
package pickle

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Config says how to read a pickle.
type Config struct {
	// Names has the classes, functions and constants that the caller knows: a *Func for what can be
	// called, otherwise the value that stands for the name.
	Names map[Global]any

	// Own has names that stand for something else, or only, in this pickle.
	Own map[Global]any

	// Persistent returns the value of a persistent id. kept is the memory in bytes that the caller keeps besides the
	// value. If it is nil, persistent ids are refused.
	Persistent func(id any) (v any, kept int64, err error)

	// Kept, if not nil, returns the memory in bytes that the Funcs have kept so far besides what they returned.
	Kept func() int64

	// Item, if not nil, is offered each key and value that is about to be added to a dict. If it
	// takes them, they are not added. kept is the memory in bytes that it keeps for them.
	Item func(key, value any) (taken bool, kept int64, err error)

	// NoNames refuses all classes, functions and persistent ids.
	NoNames bool

	MaxBytes  int64 // of the pickle
	MaxMemory int64 // bytes that its value and the work on it take, at most
}

// Func stands for a class or function. Call returns what a call with those arguments gives, whether or not the value of
// the pickle holds it, or an error about arguments with which Python fails. It does not copy them, since one call can have
// those of another.
type Func struct {
	Call func(args []any) (any, error)
}

// Compact is implemented by results of a Func that keep nothing of the arguments. Memory is what the result takes, in bytes; what was
// made for the arguments is released.
type Compact interface{ Memory() int64 }

// Stateful is implemented by results of a Func that take the state of a BUILD opcode: the __dict__ of
// an instance, or what its class's __getstate__ returned. kept is the memory in bytes that the value
// keeps; the rest of what was made for the state is released.
type Stateful interface {
	SetState(state any) (kept int64, err error)
}

// Result is a pickle that was read.
type Result struct {
	Value    any
	Length   int64 // bytes from the first opcode to STOP
	Protocol int
}

// Read reads the pickle at offset in file, of which size bytes are there. More bytes may follow the
// pickle. What is wrong with it is a *tensor.FormatError with the offset from the start of the pickle;
// if it does not end within size, its Reason is Truncated.
func Read(file io.ReaderAt, offset, size int64, config Config) (Result, error) {
	in := input{file: file, base: offset, size: min(size, config.MaxBytes), cut: size, max: config.MaxBytes}
	m := &machine{in: in, config: config}
	if err := m.findUses(); err != nil {
		return Result{}, m.locate(err)
	}
	m.in = in
	v, err := m.run()
	if err != nil {
		return Result{}, m.locate(err)
	}
	return Result{v, m.in.pos, m.protocol}, nil
}

// Truncated is the reason of the error about a pickle that does not end within the bytes at hand.
const Truncated tensor.Reason = "truncated pickle"
