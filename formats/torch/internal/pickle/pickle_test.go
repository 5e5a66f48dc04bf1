package pickle_test

import (
	"encoding/binary"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

var names = map[pickle.Global]any{
	{Module: "collections", Name: "OrderedDict"}: &pickle.Func{Call: func([]any) (any, error) {
		return &pickle.Dict{Class: &pickle.Global{Module: "collections", Name: "OrderedDict"}}, nil
	}},
	{Module: "torch", Name: "float32"}: tensor.F32,
}

func config() pickle.Config {
	return pickle.Config{
		Names:      names,
		Persistent: func(id any) (any, int64, error) { return nil, 0, nil },
		MaxBytes:   16 << 20, MaxMemory: 64 << 20,
	}
}

func load(data string) (any, error) {
	r, err := pickle.Read(strings.NewReader(data), 0, int64(len(data)), config())
	if err == nil && r.Length != int64(len(data)) {
		return nil, errors.New("read in part")
	}
	return r.Value, err
}

func u32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func u64(n int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

func list(items ...any) *pickle.List { return &pickle.List{Items: items} }

func dict(items ...any) *pickle.Dict {
	d := &pickle.Dict{}
	for i := 0; i < len(items); i += 2 {
		d.Entries = append(d.Entries, pickle.Entry{Key: items[i], Value: items[i+1]})
	}
	return d
}

func tuple(items ...any) *pickle.Tuple { return &pickle.Tuple{Items: items} }

func global(module, name string) *pickle.Global { return &pickle.Global{Module: module, Name: name} }

const orderedDict = "ccollections\nOrderedDict\n"

// TestRead has every opcode of the table in a pickle that uses it well.
func TestRead(t *testing.T) {
	huge, _ := new(big.Int).SetString("-1234567890123456789012345678901234567890", 10)
	ordered := dict(int64(1), nil)
	ordered.Class = global("collections", "OrderedDict")
	shared := list()
	namespace := global("argparse", "Namespace")
	for name, c := range map[string]struct {
		pickle string
		want   any
	}{
		"none":           {"N.", nil},
		"true":           {"\x80\x02\x88.", true},
		"false":          {"\x80\x02\x89.", false},
		"true, old":      {"I01\n.", true},
		"int, old":       {"I-12\n.", int64(-12)},
		"wide int, old":  {"I-1234567890123456789012345678901234567890\n.", huge},
		"long, old":      {"L-1234567890123456789012345678901234567890L\n.", huge},
		"byte":           {"K\xff.", int64(255)},
		"two bytes":      {"M\xff\xff.", int64(65535)},
		"four bytes":     {"J\xff\xff\xff\xff.", int64(-1)},
		"long":           {"\x80\x02\x8a\x05\x00\x00\x00\x00\x01.", int64(1) << 32},
		"negative long":  {"\x80\x02\x8a\x01\x80.", int64(-128)},
		"float":          {"G\x3f\xd0\x00\x00\x00\x00\x00\x00.", 0.25},
		"text":           {"X" + u32(2) + "é.", "é"},
		"short text":     {"\x80\x04\x8c\x02é.", "é"},
		"py2 text":       {"U\x01\xff.", "\xff"},
		"py2 long text":  {"T" + u32(1) + "a.", "a"},
		"bytes":          {"\x80\x03C\x02ab.", pickle.Bytes(2)},
		"many bytes":     {"\x80\x03B" + u32(1) + "a.", pickle.Bytes(1)},
		"bytearray":      {"\x80\x05\x96" + u64(3) + "abc.", pickle.Bytes(3)},
		"tuples":         {"()K\x01\x85K\x01K\x02\x86K\x01K\x02K\x03\x87t.", tuple(tuple(), tuple(int64(1)), tuple(int64(1), int64(2)), tuple(int64(1), int64(2), int64(3)))},
		"list":           {"]K\x01a(K\x02K\x03e.", list(int64(1), int64(2), int64(3))},
		"dict":           {"}K\x01Ns(K\x02NK\x03Nu.", dict(int64(1), nil, int64(2), nil, int64(3), nil)},
		"set":            {"\x80\x04\x8f(K\x01\x90.", &pickle.Set{Items: []any{int64(1)}}},
		"frozenset":      {"\x80\x04(K\x01\x91.", &pickle.Set{Items: []any{int64(1)}, Frozen: true}},
		"memo":           {"]q\x00h\x00a.", shared},
		"wide memo":      {"Nr" + u32(1) + "j" + u32(1) + "\x86.", tuple(nil, nil)},
		"memoize":        {"\x80\x04K\x05\x94K\x06\x94h\x00\x87.", tuple(int64(5), int64(6), int64(5))},
		"ordered dict":   {orderedDict + ")RK\x01Ns}b.", ordered},
		"constant":       {"ctorch\nfloat32\n.", tensor.F32},
		"stack global":   {"\x80\x04\x8c\x08argparse\x8c\x09Namespace\x93.", namespace},
		"frames":         {"\x80\x04\x95" + u64(1) + "]\x95" + u64(3) + "K\x01a.", list(int64(1))},
		"pop":            {"NK\x010.", nil},
		"pop of a mark":  {"N(0.", nil},
		"pop to a mark":  {"N(NN1.", nil},
		"persistent id":  {")Q.", nil},
		"instance":       {"cargparse\nNamespace\n)\x81}K\x01Nsb.", &pickle.Object{Class: namespace, Args: tuple(), State: dict(int64(1), nil)}},
		"named":          {"\x80\x04cargparse\nNamespace\n)}\x92.", &pickle.Object{Class: namespace, Args: tuple(), Named: dict()}},
		"call":           {"cargparse\nNamespace\nN\x85R.", &pickle.Object{Class: namespace, Args: tuple(nil)}},
		"call of a call": {"cargparse\nNamespace\n)R)R.", &pickle.Object{Class: &pickle.Object{Class: namespace, Args: tuple()}, Args: tuple()}},
		"INST":           {"(Niargparse\nNamespace\n.", &pickle.Object{Class: namespace, Args: tuple(nil)}},
		"OBJ":            {"(cargparse\nNamespace\nNo.", &pickle.Object{Class: namespace, Args: tuple(nil)}},
		"list subclass":  {"cargparse\nNamespace\n)R(Ne(NNu.", &pickle.Object{Class: namespace, Args: tuple(), Items: []any{nil}, Entries: []pickle.Entry{{}}}},
		"Python 2 names": {"c__builtin__\nbytearray\n.", global("builtins", "bytearray")},
	} {
		got, err := load(c.pickle)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if l, ok := got.(*pickle.List); ok && c.want == shared {
			if len(l.Items) != 1 || l.Items[0] != got {
				t.Errorf("%s: the list does not hold itself", name)
			}
			continue
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %#v, want %#v", name, got, c.want)
		}
	}
}

// TestRefuses has pickles that are broken, that Python's unpickler refuses or that take too much memory.
func TestRefuses(t *testing.T) {
	for name, c := range map[string]struct{ pickle, want string }{
		"empty":                      {"", "truncated"},
		"no stop":                    {"N", "truncated"},
		"unknown opcode":             {"\xff", "unknown pickle opcode 0xff"},
		"proto 6":                    {"\x80\x06N.", "protocol 6"},
		"proto inside":               {"N\x80\x02.", "PROTO inside"},
		"stop on nothing":            {".", "empty stack"},
		"stop with more":             {"NN.", "left on its stack"},
		"stop in a mark":             {"N(N.", "left on its stack"},
		"append below the mark":      {"](Na.", "empty stack"},
		"set below the mark":         {"}N(Ns.", "empty stack"},
		"tuple without mark":         {"Nt.", "no MARK"},
		"tuple3 of two":              {"NN\x87.", "empty stack"},
		"pop of nothing":             {"0.", "empty stack"},
		"append to a dict":           {"}Na.", "instead of a list"},
		"append to a set":            {"\x80\x04\x8fNa.", "instead of a list"},
		"appends to a tuple":         {")(Ne.", "instead of a list"},
		"setitem on a list":          {"]NNs.", "instead of a dict"},
		"setitems on a list":         {"](NNu.", "instead of a dict"},
		"odd setitems":               {"}(Nu.", "an odd number"},
		"additems to a list":         {"](N\x90.", "instead of a set"},
		"build a dict":               {"}}b.", "instead of an object with a state"},
		"build a number":             {"K\x01}b.", "instead of an object with a state"},
		"reduce a number":            {"K\x01)R.", "instead of the function of a call"},
		"reduce without tuple":       {orderedDict + "]R.", "instead of the arguments of a call"},
		"reduce a constant":          {"ctorch\nfloat32\n)R.", "instead of the function of a call"},
		"object of nothing":          {"(o.", "empty stack"},
		"memo not written":           {"h\x00.", "no entry 0"},
		"memo index from nowhere":    {"Nr" + u32(1<<31) + ".", "out of order"},
		"memo of nothing":            {"q\x00N.", "empty stack"},
		"memo in two ways":           {"\x80\x04N\x94q\x00.", "in two ways"},
		"text not UTF-8":             {"X" + u32(1) + "\xff.", "not UTF-8"},
		"class not UTF-8":            {"ca\xff\nb\n.", "not UTF-8"},
		"surrogate":                  {"X" + u32(3) + "\xed\xa0\x80.", "not UTF-8"},
		"text too long":              {"X\xff\xff\xff\xffa.", "exceeds the largest pickle"},
		"text cut":                   {"X" + u32(9) + "a.", "truncated"},
		"bytes cut":                  {"B" + u32(9) + "a.", "truncated"},
		"bytearray too long":         {"\x80\x05\x96" + u64(1<<40) + "a.", "exceeds the largest pickle"},
		"bytearray of -1 bytes":      {"\x80\x05\x96" + u64(-1) + "a.", "length 18446744073709551615 exceeds"},
		"int of letters":             {"Iabc\n.", "not an integer"},
		"int with space":             {"I 1\n.", "not an integer"},
		"int of nothing":             {"I\n.", "integer of 0 digits"},
		"int with L":                 {"I1L\n.", "not an integer"},
		"long of 41 digits":          {"L" + strings.Repeat("1", 41) + "\n.", "integer of 41 digits"},
		"long of no bytes":           {"\x80\x02\x8a\x00.", "integer of no bytes"},
		"endless line":               {"I" + strings.Repeat("1", 2000), "line of more than"},
		"line cut":                   {"I1", "truncated"},
		"frame too large":            {"\x80\x04\x95" + u64(1<<40) + "N.", "frame of"},
		"frame past the end":         {"\x80\x04\x95" + u64(40) + "N.", "truncated"},
		"frame in a frame":           {"\x80\x04\x95" + u64(12) + "\x95" + u64(1) + "NNN.", "frame within a frame"},
		"frame crossed":              {"\x80\x04\x95" + u64(1) + "K\x01.", "crosses the end of its frame"},
		"frame length overflows":     {"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.", "frame of"},
		"attack":                     {"cos\nsystem\n.", `"os.system"`},
		"attack in a submodule":      {"cos.path\nos\n.", `"os.path.os"`},
		"attack by dots":             {"\x80\x04\x8c\x08builtins\x8c\x0deval.__call__\x93.", `"builtins.eval.__call__"`},
		"attack by INST":             {"(ios\nsystem\n.", `"os.system"`},
		"attack, Python 2":           {"c__builtin__\neval\n.", `"builtins.eval"`},
		"class of numbers":           {"\x80\x04K\x01K\x02\x93.", "instead of the name of a class"},
		"class without module":       {"c\n0\n.", `".0"`},
		"persistent text":            {"P1\n.", "opcode PERSID"},
		"persistent nothing":         {"Q.", "empty stack"},
		"more than memory":           {"(" + strings.Repeat("}", 1_000_000) + "t.", "more than 64 MiB"},
		"more than memory, by marks": {strings.Repeat("(", 1_000_000) + "N.", "more than 64 MiB"},
		"more than memory, by items": {"]Nq\x00" + strings.Repeat("0(h\x00"+strings.Repeat("h\x00", 1000)+"eh\x00", 3000) + "0.", "more than 64 MiB"},
		"more than memory, by text":  {strings.Repeat("\x8c\x000", 3_000_000) + "N.", "more than 64 MiB"},
	} {
		_, err := load(c.pickle)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
			continue
		}
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || bad.Offset < 0 {
			t.Errorf("%s: %v is not a format error with an offset", name, err)
		}
	}
}

// TestRefusesOpcodes goes through all opcodes that are not in the table.
func TestRefusesOpcodes(t *testing.T) {
	refused := 0
	for code := range 256 {
		_, err := load(string([]byte{byte(code)}) + strings.Repeat("\x00", 300))
		if err != nil && strings.Contains(err.Error(), " opcode ") {
			refused++
		}
	}
	if refused < 200 {
		t.Errorf("%d bytes are refused as opcodes", refused)
	}
}

// TestNoNames is for pickles that hold only facts.
func TestNoNames(t *testing.T) {
	for _, data := range []string{orderedDict + ")R.", ")Q."} {
		c := config()
		c.NoNames, c.Persistent = true, nil
		if _, err := pickle.Read(strings.NewReader(data), 0, int64(len(data)), c); err == nil {
			t.Errorf("%q is accepted", data)
		}
	}
}

// TestLength reads a pickle that others surround.
func TestLength(t *testing.T) {
	data := "xxK\x07.K\x08."
	r, err := pickle.Read(strings.NewReader(data), 2, int64(len(data)-2), config())
	if err != nil || r.Value != int64(7) || r.Length != 3 {
		t.Errorf("%v, %v", r, err)
	}
	_, err = pickle.Read(strings.NewReader("N"), 0, 1, config())
	if tensor.ReasonOf(err) != pickle.Truncated {
		t.Errorf("%v has the reason %q", err, tensor.ReasonOf(err))
	}
}

// pair takes a state and keeps nothing of it.
type pair struct{ first, second any }

func (p *pair) SetState(state any) (int64, error) {
	p.first, p.second = pickle.Attribute(state, "a"), pickle.Attribute(state, "b")
	return 32, nil
}

// TestMemoryIsReleased reads more than the limit allows at once: the states of objects are released as
// soon as the objects have them, and items as soon as they are taken.
func TestMemoryIsReleased(t *testing.T) {
	c := config()
	c.Names = map[pickle.Global]any{{Module: "m", Name: "C"}: &pickle.Func{Call: func([]any) (any, error) { return &pair{}, nil }}}
	c.MaxMemory = 1 << 20
	taken := 0
	c.Item = func(key, value any) (bool, int64, error) {
		if _, ok := value.(*pair); ok {
			taken++
			return true, 8, nil
		}
		return false, 0, nil
	}
	instance := "cm\nC\n)\x81}(U\x01aK\x01U\x01b(K\x01K\x02K\x03K\x04tub" // a dict, a tuple, some numbers
	item := "(" + strings.Repeat("U\x01k"+instance, 10) + "u"
	data := "}" + strings.Repeat(item, 3000) + "."
	if _, err := pickle.Read(strings.NewReader(data), 0, int64(len(data)), c); err != nil {
		t.Fatal(err)
	}
	if taken != 30_000 {
		t.Errorf("%d items were taken", taken)
	}
	// What an instance of a batch adds to a list in the memo stays there.
	hidden := "]q\x000" + "}" + strings.Repeat("(U\x01kcm\nC\n)\x81h\x00(U\x01aU\x01be0}bu", 60_000) + "."
	if _, err := pickle.Read(strings.NewReader(hidden), 0, int64(len(hidden)), c); err == nil {
		t.Error("memory that a list in the memo keeps is not counted")
	}
}

// TestMemoOfHighIndexes reads entries of the memo far from the first, and counts what it takes to know that they are read.
func TestMemoOfHighIndexes(t *testing.T) {
	c := config()
	text := "T" + u32(1<<20) + strings.Repeat("x", 1<<20) + "0"
	data := text + "]r" + u32(1<<20) + "j" + u32(1<<20) + "a."
	c.MaxMemory = 2 << 20
	if r, err := pickle.Read(strings.NewReader(data), 0, int64(len(data)), c); err != nil || len(r.Value.(*pickle.List).Items) != 1 {
		t.Errorf("%v, %v", r.Value, err)
	}
	c.MaxMemory = 1<<17 + 1<<10
	data = "B" + text[1:] + "j" + u32(1<<20) + "."
	if _, err := pickle.Read(strings.NewReader(data), 0, int64(len(data)), c); err == nil || !strings.Contains(err.Error(), "would take more than") {
		t.Errorf("%v", err)
	}
}

// compact is the result of a call that keeps nothing of its arguments.
type compact struct{ memory int64 }

func (c compact) Memory() int64 { return c.memory }

// TestArgumentsAreReleased makes more calls than the limit allows to keep the arguments of.
func TestArgumentsAreReleased(t *testing.T) {
	c := config()
	c.MaxMemory = 4 << 20
	keeps := int64(8)
	c.Names = map[pickle.Global]any{{Module: "m", Name: "f"}: &pickle.Func{Call: func([]any) (any, error) { return compact{keeps}, nil }}, {Module: "m", Name: "D"}: names[pickle.Global{Module: "collections", Name: "OrderedDict"}]}
	read := func(data string) error {
		_, err := pickle.Read(strings.NewReader(data), 0, int64(len(data)), c)
		return err
	}
	calls := "]" + strings.Repeat("(cm\nf\n(U\x01a(K\x01K\x02ttRe", 30_000) + "."
	if err := read(calls); err != nil {
		t.Error(err)
	}
	keeps = 200
	if read(calls) == nil {
		t.Error("memory that results take is not counted")
	}
	keeps = 8
	// Arguments in the memo stay.
	if read("]]q\x000"+strings.Repeat("(cm\nf\nh\x00(U\x01aU\x01bU\x01ce\x85Re", 30_000)+".") == nil {
		t.Error("memory that a list in the memo keeps is not counted")
	}
	// What stays of persistent ids stays when the arguments that the values were in are released.
	stays := int64(0)
	c.Persistent = func(any) (any, int64, error) { return nil, stays, nil }
	calls = "]" + strings.Repeat("(cm\nf\nNQ\x85Re", 30_000) + "."
	if err := read(calls); err != nil {
		t.Error(err)
	}
	stays = 200
	if read(calls) == nil {
		t.Error("memory that persistent ids keep is not counted")
	}
	// So does what functions keep besides their results.
	table, grows := int64(0), int64(0)
	c.Kept = func() int64 { return table }
	c.Own = map[pickle.Global]any{{Module: "m", Name: "f"}: &pickle.Func{Call: func([]any) (any, error) { table += grows; return compact{keeps}, nil }}}
	calls = "]" + strings.Repeat("(cm\nf\ncm\nf\n)R\x85Re", 30_000) + "."
	if err := read(calls); err != nil {
		t.Error(err)
	}
	if grows = 100; read(calls) == nil {
		t.Error("memory that functions keep is not counted")
	}
	// The attributes of a dict are not read, and the dict's items stay.
	attributes := strings.Repeat("}("+strings.Repeat("U\x01aK\x01", 1000)+"ub", 100)
	if err := read("cm\nD\n)R" + attributes + "."); err != nil {
		t.Error(err)
	}
	if read("cm\nD\n)R"+strings.Repeat("U\x01aK\x01s}b", 60_000)+".") == nil {
		t.Error("the items of a dict with attributes are not counted")
	}
}

// TestInstancesInTheMemo: arguments of which one is an instance in the memo are released, but for what is given to the instance.
func TestInstancesInTheMemo(t *testing.T) {
	c := config()
	c.MaxMemory = 4 << 20
	c.Names = map[pickle.Global]any{{Module: "m", Name: "f"}: &pickle.Func{Call: func([]any) (any, error) { return compact{8}, nil }}}
	const times = 30_000
	calls := func(argument string) error {
		data := "cm\nM\n)\x81q\x00}(U\x01aK\x01ub0]" + strings.Repeat("(cm\nf\n("+argument+"(K\x01K\x02ttRe", times) + "."
		_, err := pickle.Read(strings.NewReader(data), 0, int64(len(data)), c)
		return err
	}
	if err := calls("h\x00"); err != nil {
		t.Error(err)
	}
	for name, argument := range map[string]string{
		"states": "h\x00}(U\x01aU\x01bub", "items": "h\x00(U\x01aU\x01be", "an item": "h\x00U\x01aa", "entries": "h\x00(U\x01aU\x01bu", "an entry": "h\x00U\x01aU\x01bs",
	} {
		if calls(argument) == nil {
			t.Errorf("%s of an instance in the memo are not counted", name)
		}
	}
	// Each call puts an instance with a state into the memo.
	var data strings.Builder
	data.WriteString("]")
	for i := range times {
		data.WriteString("(cm\nf\n(cm\nM\n)\x81r" + u32(i) + "}(U\x01aU\x01bub(K\x01K\x02ttRe")
	}
	for i := range times {
		data.WriteString("j" + u32(i) + "0")
	}
	c.MaxMemory = 16 << 20
	if _, err := pickle.Read(strings.NewReader(data.String()+"."), 0, int64(data.Len()+1), c); err == nil {
		t.Error("the states of instances in the memo are not counted")
	}
}

// TestShow: a message shows no Go value, and no container's items.
func TestShow(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for want, v := range map[string]any{
		"None": nil, "True": true, "-2": int64(-2), "0.5": 0.5, `"1"`: "1", `"` + long[:200] + `…"`: long, "a number of 70 bits": new(big.Int).Lsh(big.NewInt(1), 69),
		"a tuple": &pickle.Tuple{Items: []any{int64(1)}}, "a list": &pickle.List{Items: []any{int64(1)}}, "a dict": &pickle.Dict{}, "an object": &pickle.Global{},
	} {
		if got := pickle.Show(v); got != want {
			t.Errorf("%T is shown as %q, want %q", v, got, want)
		}
	}
}
