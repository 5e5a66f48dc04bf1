package torch

import (
	"encoding/binary"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/nlpodyssey/gopickle/types"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// load scans and builds a pickle.
func load(data string) (any, error) {
	length, copied, _, err := scan([]byte(data), true)
	if err != nil {
		return nil, err
	}
	if length != len(data) {
		return nil, errors.New("scanned in part")
	}
	return (&loader{storages: map[string]*storageInfo{}}).unpickle(copied)
}

func u32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func u64(n int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

const (
	orderedDictName = "ccollections\nOrderedDict\n"
	setName         = "c__builtin__\nset\n"
)

// TestScanAccepts has every opcode of the table in a pickle that uses it well.
func TestScanAccepts(t *testing.T) {
	huge, _ := new(big.Int).SetString("-1234567890123456789012345678901234567890", 10)
	for name, c := range map[string]struct {
		pickle string
		want   any // compared if it is no container
	}{
		"none":          {"N.", nil},
		"true":          {"\x80\x02\x88.", true},
		"false":         {"\x80\x02\x89.", false},
		"true, old":     {"I01\n.", true},
		"int, old":      {"I-12\n.", -12},
		"long, old":     {"L-1234567890123456789012345678901234567890L\n.", huge},
		"byte":          {"K\xff.", 255},
		"two bytes":     {"M\xff\xff.", 65535},
		"four bytes":    {"J\xff\xff\xff\xff.", -1},
		"long":          {"\x80\x02\x8a\x05\x00\x00\x00\x00\x01.", 1 << 32},
		"negative long": {"\x80\x02\x8a\x01\x80.", -128},
		"float":         {"G\x3f\xd0\x00\x00\x00\x00\x00\x00.", 0.25},
		"text":          {"X" + u32(2) + "é.", "é"},
		"short text":    {"\x80\x04\x8c\x02é.", "é"},
		"py2 text":      {"U\x01\xff.", "\xff"},
		"py2 long text": {"T" + u32(1) + "a.", "a"},
		"bytes":         {"\x80\x03C\x02ab.", nil},
		"many bytes":    {"\x80\x03B" + u32(1) + "a.", nil},
		"tuples":        {"()K\x01\x85K\x01K\x02\x86K\x01K\x02K\x03\x87t.", nil},
		"list":          {"]K\x01a(K\x02K\x03e.", nil},
		"dict":          {"}K\x01Ns(K\x02NK\x03Nu.", nil},
		"set":           {"\x80\x04\x8f(K\x01\x90.", nil},
		"set, old":      {"\x80\x02" + setName + "]K\x01a\x85R.", nil},
		"memo":          {"]q\x00h\x00ar" + u32(1) + "j" + u32(1) + "ah\x00a.", nil},
		"memoize":       {"\x80\x04]\x94h\x00a.", nil},
		"ordered dict":  {orderedDictName + ")RK\x01Ns}b.", nil},
		"stack global":  {"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R.", nil},
		"frames":        {"\x80\x04\x95" + u64(1) + "]\x95" + u64(3) + "K\x01a.", nil},
	} {
		v, err := load(c.pickle)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want, ok := c.want.(*big.Int); ok {
			if got, _ := v.(*big.Int); got == nil || got.Cmp(want) != 0 {
				t.Errorf("%s: %v, want %v", name, v, want)
			}
		} else if c.want != nil && v != c.want {
			t.Errorf("%s: %v, want %v", name, v, c.want)
		}
	}
}

func TestScanKeepsValues(t *testing.T) {
	v, err := load("\x80\x04(" + "\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93)R" + "K\x01h\x00s" + "\x8f(K\x07\x90" + "t.")
	if err != nil {
		t.Fatal(err)
	}
	parts := v.(*types.Tuple)
	d, s := parts.Get(0).(*orderedDict), parts.Get(1).(*pySet)
	if key, value := d.at(0); d.len() != 1 || key != 1 || value != "collections" {
		t.Errorf("dict of %v: %v", key, value)
	}
	if _, item := s.at(0); s.len() != 1 || item != 7 {
		t.Errorf("set of %v", item)
	}
}

// TestScanRefuses has pickles that gopickle would panic on, hang on, take much memory for or give
// something else for than Python does.
func TestScanRefuses(t *testing.T) {
	for name, c := range map[string]struct{ pickle, want string }{
		"empty":                      {"", errTruncated.Error()},
		"no stop":                    {"N", errTruncated.Error()},
		"unknown opcode":             {"\xff", "unknown pickle opcode 0xff"},
		"proto 6":                    {"\x80\x06N.", "protocol 6"},
		"proto inside":               {"N\x80\x02.", "PROTO inside"},
		"stop on nothing":            {".", "empty stack"},
		"stop with more":             {"NN.", "left on its stack"},
		"stop in a mark":             {"N(N.", "left on its stack"},
		"append below the mark":      {"](Na.", "empty stack"},
		"tuple without mark":         {"Nt.", "no MARK"},
		"tuple3 of two":              {"NN\x87.", "empty stack"},
		"append to a dict":           {"}Na.", "instead of a list"},
		"appends to a tuple":         {")(Ne.", "instead of a list"},
		"setitem on a list":          {"]NNs.", "instead of a dict"},
		"setitems on a list":         {"](NNu.", "instead of a dict"},
		"odd setitems":               {"}(Nu.", "an odd number"},
		"additems to a list":         {"](N\x90.", "instead of a set"},
		"build a dict":               {"}}b.", "instead of an object with a state"},
		"build a number":             {"K\x01}b.", "instead of an object with a state"},
		"reduce a number":            {"K\x01)R.", "instead of the function of a call"},
		"reduce without tuple":       {orderedDictName + "]R.", "instead of the arguments of a call"},
		"reduce a type":              {"ctorch\nfloat32\n)R.", "calls torch.float32, which is not a function"},
		"memo not written":           {"h\x00.", "no entry 0"},
		"memo index from nowhere":    {"Nr" + u32(1<<31) + ".", "out of order"},
		"memo of nothing":            {"q\x00N.", "empty stack"},
		"text not UTF-8":             {"X" + u32(1) + "\xff.", "not UTF-8"},
		"surrogate":                  {"X" + u32(3) + "\xed\xa0\x80.", "not UTF-8"},
		"text too long":              {"X\xff\xff\xff\xffa.", "exceeds the largest pickle"},
		"text cut":                   {"X" + u32(9) + "a.", errTruncated.Error()},
		"int of letters":             {"Iabc\n.", "not an integer"},
		"int with space":             {"I 1\n.", "not an integer"},
		"int of nothing":             {"I\n.", "integer of 0 digits"},
		"int with L":                 {"I1L\n.", "not an integer"},
		"int too wide":               {"I99999999999999999999\n.", "cannot be read"},
		"long of 41 digits":          {"L" + strings.Repeat("1", 41) + "\n.", "integer of 41 digits"},
		"long of no bytes":           {"\x80\x02\x8a\x00.", "integer of no bytes"},
		"endless line":               {"I" + strings.Repeat("1", 2000), "line of more than"},
		"frame too large":            {"\x80\x04\x95" + u64(1<<40) + "N.", "frame of"},
		"frame past the end":         {"\x80\x04\x95" + u64(40) + "N.", errTruncated.Error()},
		"frame in a frame":           {"\x80\x04\x95" + u64(12) + "\x95" + u64(1) + "NNN.", "frame within a frame"},
		"frame crossed":              {"\x80\x04\x95" + u64(1) + "K\x01.", "crosses the end of its frame"},
		"frame length overflows":     {"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.", "frame of"},
		"class not listed":           {"cos\nsystem\n.", `"os.system"`},
		"class with dots":            {"\x80\x04\x8c\x05torch\x8c\x12serialization.load\x93.", `"torch.serialization.load"`},
		"class of numbers":           {"\x80\x04K\x01K\x02\x93.", "instead of the name of a class"},
		"class by row number":        {"c\n0\n.", `".0"`},
		"gopickle's own class":       {"ccopy_reg\n_reconstructor\n.", `"copy_reg._reconstructor"`},
		"quantized":                  {"ctorch._utils\n_rebuild_qtensor\n.", "a quantized tensor"},
		"instance":                   {"(ios\nsystem\n.", "opcode INST"},
		"newobj":                     {orderedDictName + ")\x81.", "opcode NEWOBJ"},
		"persistent text":            {"P1\n.", "opcode PERSID"},
		"persistent number":          {"K\x01Q.", "instead of the tuple that describes a storage"},
		"persistent nothing":         {")Q.", "not describe a storage"},
		"persistent module":          {"(X" + u32(6) + "moduleNNNNtQ.", "not describe a storage"},
		"persistent key":             {"(X" + u32(7) + "storagectorch\nFloatStorage\nX" + u32(2) + "-1NK\x01tQ.", `key "-1"`},
		"persistent class":           {"(X" + u32(7) + "storagectorch\nfloat32\nX" + u32(1) + "1NK\x01tQ.", "not a storage class of torch"},
		"persistent numel":           {"(X" + u32(7) + "storagectorch\nFloatStorage\nX" + u32(1) + "1NNtQ.", "claims"},
		"more than memory":           {"(" + strings.Repeat("}", 400_000) + "t.", "more than 64 MiB"},
		"more than memory, by marks": {strings.Repeat("(", 400_000), "more than 64 MiB"},
	} {
		_, err := load(c.pickle)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
			continue
		}
		var bad *tensor.FormatError
		if err != errTruncated && !errors.As(err, &bad) {
			t.Errorf("%s: %v is no format error", name, err)
		}
	}
}

// TestScanRefusesOpcodes goes through all opcodes that are not in the table.
func TestScanRefusesOpcodes(t *testing.T) {
	for code := range opcodes {
		if opcodes[code].check != nil {
			continue
		}
		if _, _, _, err := scan([]byte{byte(code), '.'}, true); err == nil || !strings.Contains(err.Error(), "opcode") {
			t.Errorf("opcode 0x%02x: %v", code, err)
		}
	}
}

// TestScanWithoutNames is for the pickles of a legacy file that hold only facts.
func TestScanWithoutNames(t *testing.T) {
	for _, pickle := range []string{orderedDictName + ")R.", ")Q."} {
		if _, _, _, err := scan([]byte(pickle), false); err == nil {
			t.Errorf("%q is accepted", pickle)
		}
	}
}

// TestWalk has graphs of values that are no trees.
func TestWalk(t *testing.T) {
	tensorOf := "ctorch._utils\n_rebuild_tensor_v2\n((X" + u32(7) + "storagectorch\nFloatStorage\nX" + u32(1) + "0NK\x01tQK\x00))N"
	tensorOf += "NtR"
	bomb := func(levels int, leaf string) string { // each list holds the one below twice
		p := leaf
		for i := range levels {
			p = "](" + p + "q" + string(rune(i)) + "h" + string(rune(i)) + "e"
		}
		return p + "."
	}
	for name, c := range map[string]struct {
		pickle string
		names  string // of the tensors, in order
		want   string // of the error
	}{
		"bare":             {tensorOf + ".", "tensor", ""},
		"dict":             {"}X" + u32(1) + "a" + tensorOf + "s.", "a", ""},
		"number as key":    {"}K\x05" + tensorOf + "s.", "5", ""},
		"truth as key":     {"}\x88" + tensorOf + "s.", "True", ""},
		"empty names":      {"}U\x00}U\x00" + tensorOf + "ss.", ".", ""},
		"nothing":          {"}.", "", "holds no tensor"},
		"only numbers":     {"](K\x01K\x02e.", "", "holds no tensor"},
		"empty list":       {"].", "", "holds no tensor"},
		"bare number":      {"K\x01.", "", "holds no tensor"},
		"itself":           {"]q\x00(" + tensorOf + "h\x00e.", "", "contains itself"},
		"itself, deeper":   {"]q\x00]h\x00aa.", "", "contains itself"},
		"list":             {"]q\x00" + tensorOf + "a.", "0", ""},
		"twice":            {"(" + tensorOf + "q\x00h\x00t.", "0 1", ""},
		"shared list":      {"(]" + tensorOf + "aq\x00h\x00t.", "0.0 1.0", ""},
		"float as key":     {"}G" + u64(0) + tensorOf + "s.", "", "neither text nor an integer"},
		"key not UTF-8":    {"}U\x01\xff" + tensorOf + "s.", "", "not UTF-8"},
		"tensor in a set":  {setName + "]" + tensorOf + "a\x85R.", "", "set holds tensors"},
		"key twice":        {"}(K\x01NK\x01Nu.", "", `key "1" twice`},
		"list as key":      {"}]Ns.", "", "key that is a container"},
		"names collide":    {"}(X" + u32(1) + "0" + tensorOf + "K\x00" + tensorOf + "u.", "0 0", ""},
		"bomb of nothing":  {bomb(60, "K\x01"), "", "holds no tensor"},
		"bomb of tensors":  {bomb(64, tensorOf), "", "more than 131072 tensors"},
		"deep":             {strings.Repeat("]", 10_000) + tensorOf + strings.Repeat("a", 10_000) + ".", strings.Repeat("0.", 9_999) + "0", ""},
		"pairs of Python2": {orderedDictName + "](](U\x01a" + tensorOf + "eetR.", "", "no MARK"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := load(c.pickle)
			var found []named
			if err == nil {
				found, _, err = collect(v)
			}
			checkError(t, err, c.want)
			var names []string
			for _, f := range found {
				names = append(names, f.name)
			}
			if got := strings.Join(names, " "); got != c.names {
				t.Errorf("%.100q, want %.100q", got, c.names)
			}
		})
	}
}
