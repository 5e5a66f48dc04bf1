package savefile

import (
	"encoding/binary"
	"strings"
	"testing"
)

// list reads a pickle and lists its tensors.
func list(data string) (*List, error) {
	l := newLoader(&container{}, nil)
	r, err := l.read(strings.NewReader(data), 0, int64(len(data)), false)
	if err != nil {
		return nil, err
	}
	return (&File{Root: r.Value}).List()
}

func u32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func u64(n int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

const (
	orderedDictName = "ccollections\nOrderedDict\n"
	setName         = "c__builtin__\nset\n"
)

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
		"tensor in a set":  {"c__builtin__\nset\n" + "]" + tensorOf + "a\x85R.", "", "set holds tensors"},
		"key twice":        {"}(K\x01NK\x01Nu.", "", `key "1" twice`},
		"list as key":      {"}]Ns.", "", "key that is a container"},
		"names collide":    {"}(X" + u32(1) + "0" + tensorOf + "K\x00" + tensorOf + "u.", "0 0", ""},
		"bomb of nothing":  {bomb(60, "K\x01"), "", "holds no tensor"},
		"bomb of tensors":  {bomb(64, tensorOf), "", "more than 200000 tensors"},
		"deep":             {strings.Repeat("]", 10_000) + tensorOf + strings.Repeat("a", 10_000) + ".", strings.Repeat("0.", 9_999) + "0", ""},
		"pairs of Python2": {"ccollections\nOrderedDict\n" + "](](U\x01a" + tensorOf + "eetR.", "", "no MARK"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := list(c.pickle)
			var names []string
			if err == nil {
				for _, f := range found.Tensors {
					names = append(names, f.Name)
					if ref := f.Value.(*Ref); ref.problem != nil {
						err = ref.problem
						names = nil
						break
					}
				}
				if len(found.Tensors) == 0 {
					err = found.noTensor(nil)
				}
			}
			checkError(t, err, c.want)
			if got := strings.Join(names, " "); got != c.names {
				t.Errorf("%.100q, want %.100q", got, c.names)
			}
		})
	}
}
