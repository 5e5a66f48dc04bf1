package pickle

import (
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// attacks are the modules that malicious pickles call to run programs, load code or reach the network,
// with the names in them that count; nil stands for all names. No checkpoint refers to them.
var attacks = map[string][]string{
	"builtins": {"__import__", "breakpoint", "compile", "delattr", "eval", "exec", "execfile", "exit", "globals", "input",
		"locals", "open", "quit", "setattr", "vars"},
	"_posixsubprocess": nil, "asyncio": nil, "bdb": nil, "code": nil, "codeop": nil, "commands": nil, "cProfile": nil,
	"ctypes": nil, "distutils": nil, "ftplib": nil, "http": nil, "httplib": nil, "imp": nil, "importlib": nil, "marshal": nil,
	"nt": nil, "os": nil, "pdb": nil, "pip": nil, "pkgutil": nil, "popen2": nil, "posix": nil, "profile": nil, "pty": nil,
	"pydoc": nil, "requests": nil, "runpy": nil, "setuptools": nil, "shutil": nil, "signal": nil, "smtplib": nil, "socket": nil,
	"subprocess": nil, "sys": nil, "telnetlib": nil, "tempfile": nil, "timeit": nil, "trace": nil, "urllib": nil,
	"urllib2": nil, "venv": nil, "webbrowser": nil, "xmlrpc": nil,
	"pickle":  {"load", "loads", "Unpickler"},
	"_pickle": {"load", "loads", "Unpickler"},
}

// renamed are modules that Python 3 has under another name than Python 2.
var renamed = map[string]string{"__builtin__": "builtins", "copy_reg": "copyreg"}

func (m *machine) global(arg operand) error {
	if !utf8.Valid(arg.bytes) || !utf8.Valid(arg.second) {
		return tensor.Bad("name of a class is not UTF-8")
	}
	return m.refer(string(arg.bytes), string(arg.second))
}

func (m *machine) stackGlobal(operand) error {
	name, err := popAs[string](m, "the name of a class")
	if err != nil {
		return err
	}
	module, err := popAs[string](m, "the module of a class")
	if err != nil {
		return err
	}
	return m.refer(module, name)
}

// refer pushes what stands for a name.
func (m *machine) refer(module, name string) error {
	v, err := m.resolve(module, name)
	if err != nil {
		return err
	}
	return m.push(v)
}

// resolve returns what stands for a name: the same value each time.
func (m *machine) resolve(module, name string) (any, error) {
	if module == "" || name == "" || m.config.NoNames {
		return nil, refused(module, name)
	}
	if to := renamed[module]; to != "" {
		module = to
	}
	g := Global{module, name}
	if v, ok := m.globals[g]; ok {
		return v, nil
	}
	if isAttack(g) {
		return nil, refused(module, name)
	}
	v, ok := m.config.Own[g]
	if !ok {
		v, ok = m.config.Names[g]
	}
	if !ok {
		v = &Global{module, name}
	}
	m.globals[g] = v
	return v, m.keep(int64(memoryName + len(module) + len(name)))
}

// isAttack reports whether a name is in the table attacks. Names with dots are looked up in the
// module: a pickle can write os.path.os as the name "path.os" of the module os.
func isAttack(g Global) bool {
	top, _, _ := strings.Cut(g.Module, ".")
	names, ok := attacks[top]
	if !ok || names == nil {
		return ok
	}
	first, _, _ := strings.Cut(g.Name, ".")
	for _, n := range names {
		if n == first {
			return true
		}
	}
	return false
}

func refused(module, name string) error {
	return tensor.Bad("pickle refers to %q, which is not part of a checkpoint of tensors", tensor.Clip(module+"."+name)).
		Because(RefusedName)
}

// RefusedName is the reason of the error about a name that no checkpoint refers to.
const RefusedName tensor.Reason = "refused name in a pickle"

// call is REDUCE and NEWOBJ: a call of the second value with the arguments on top.
func (m *machine) call(operand) error {
	args, err := popAs[*Tuple](m, "the arguments of a call")
	if err != nil {
		return err
	}
	class, err := m.popSlot()
	if err != nil {
		return err
	}
	return m.make(class, args, nil)
}

// callWithNames is NEWOBJ_EX: a call with a dict of named arguments on top.
func (m *machine) callWithNames(operand) error {
	named, err := popAs[*Dict](m, "the named arguments of a call")
	if err != nil {
		return err
	}
	args, err := popAs[*Tuple](m, "the arguments of a call")
	if err != nil {
		return err
	}
	class, err := m.popSlot()
	if err != nil {
		return err
	}
	return m.make(class, args, named)
}

// instance is INST: an instance of a class that is named here, of the values down to the mark.
func (m *machine) instance(arg operand) error {
	class, err := m.resolve(string(arg.bytes), string(arg.second))
	if err != nil {
		return err
	}
	items, at, err := m.popMark()
	if err != nil {
		return err
	}
	return m.make(slot{class, at.level}, &Tuple{values(items)}, nil)
}

// object is OBJ: an instance of the class above the mark, of the values above that.
func (m *machine) object(operand) error {
	items, _, err := m.popMark()
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return tensor.Bad("pickle takes a value from an empty stack")
	}
	return m.make(items[0], &Tuple{values(items[1:])}, nil)
}

// make pushes what a call of class gives. All that was made since class was pushed is the arguments.
func (m *machine) make(class slot, args *Tuple, named *Dict) error {
	if err := m.charge(16 * int64(len(args.Items))); err != nil {
		return err
	}
	switch c := class.value.(type) {
	case *Func:
		if named == nil {
			made, err := c.Call(args.Items)
			if err == nil && m.config.Kept != nil {
				before := m.funcs
				m.funcs = m.config.Kept()
				err = m.keep(m.funcs - before)
			}
			if compact, ok := made.(Compact); ok && err == nil {
				err = m.reclaim(class.level, compact.Memory())
			}
			if err != nil {
				return err
			}
			return m.push(made)
		}
	case *Global, *Object:
		return m.push(&Object{Class: c, Args: args, Named: named})
	}
	return misplaced("the function of a call")
}

// build gives the value below the top the state on top.
func (m *machine) build(operand) error {
	state, err := m.popSlot()
	if err != nil {
		return err
	}
	target, err := m.top()
	if err != nil {
		return err
	}
	since := m.stack[len(m.stack)-1].level
	switch t := target.(type) {
	case Stateful:
		kept, err := t.SetState(state.value)
		if err != nil {
			return err
		}
		return m.reclaim(since, kept)
	case *Object:
		if t.State != nil {
			t.Items = append(t.Items, t.State)
		}
		t.State = state.value
		if m.shared[t] {
			m.kept += m.memory - since.memory
		}
		return nil
	case *Dict:
		if t.Class != nil {
			return m.reclaim(state.level, 0) // attributes, such as the _metadata that Module.state_dict adds
		}
	case *Set:
		return nil
	}
	return misplaced("an object with a state")
}

func (m *machine) persistentID(operand) error {
	if m.config.Persistent == nil {
		return tensor.Bad("pickle refers to a storage where none is expected")
	}
	id, err := m.pop()
	if err != nil {
		return err
	}
	v, kept, err := m.config.Persistent(id)
	if err != nil {
		return err
	}
	if err := m.keep(kept); err != nil {
		return err
	}
	return m.push(v)
}
