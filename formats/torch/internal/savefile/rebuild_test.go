package savefile

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// dictOf pickles {"w": value}.
func dictOf(value string) string { return "\x80\x02}X" + u32(1) + "w" + value + "s." }

func str(s string) string { return "X" + u32(len(s)) + s }

// storageID is a persistent id of a zip file.
func storageID(class, key string, numel int) string {
	return "(" + str("storage") + class + str(key) + str("cpu") + "J" + u32(numel) + "tQ"
}

const (
	old     = "ctorch._utils\n_rebuild_tensor\n"
	v2, v3  = "ctorch._utils\n_rebuild_tensor_v2\n", "ctorch._utils\n_rebuild_tensor_v3\n"
	float   = "ctorch\nFloatStorage\n"
	double  = "ctorch\nDoubleStorage\n"
	untyped = "ctorch.storage\nUntypedStorage\n"
)

// long is a pickled integer of 8 bytes.
func long(n uint64) string { return "\x8a\x08" + u64(int(n)) }

// TestRebuild has tensors that are described in odd ways, over the 24 bytes of storage 0.
func TestRebuild(t *testing.T) {
	storage := storageID(float, "0", 6)
	parameter := "ctorch._utils\n_rebuild_parameter\n"
	fromType := "ctorch._tensor\n_rebuild_from_type_v2\n"
	plain := v2 + "(" + storage + "K\x00(K\x06t(K\x01t\x89NtR"
	for name, c := range map[string]struct{ value, want string }{
		"sound":                    {plain, ""},
		"before torch 0.4":         {old + "(" + storage + "K\x00(K\x06t(K\x01ttR", ""},
		"size":                     {v2 + "(" + storage + "K\x00ctorch\nSize\n](K\x02K\x03e\x85R(K\x03K\x01t\x89NtR", ""},
		"parameter":                {parameter + "(" + plain + "\x88)tR", ""},
		"from type":                {fromType + "(" + v2 + "ctorch\nTensor\n(" + storage + "K\x00(K\x06t(K\x01t\x89Nt}tR", ""},
		"typed and untyped":        {"(" + plain + v3 + "(" + storageID(untyped, "0", 24) + "K\x00(K\x0ct(K\x01t\x89Nctorch\nuint16\ntRt", ""},
		"storage in two sizes":     {"(" + plain + v2 + "(" + storageID(float, "0", 5) + "K\x00(K\x05t(K\x01t\x89NtRt", "is described as 24 bytes of float32 and as 20"},
		"v2 of bytes":              {v2 + "(" + storageID(untyped, "0", 24) + "K\x00(K\x06t(K\x01t\x89NtR", "no element type"},
		"v3 without type":          {v3 + "(" + storageID(untyped, "0", 24) + "K\x00(K\x06t(K\x01t\x89NNtR", "has no element type"},
		"state of before 0.4":      {plain + "\x88\x89N\x87b", ""},
		"state of a view":          {plain + "(" + storage + "K\x00(K\x03t(K\x01ttb", "tensor's state is not"},
		"state of a tensor":        {plain + plain + "\x85b", "tensor's state is not"},
		"state of three":           {plain + "(" + storage + "K\x00)tb", "tensor's state is not"},
		"size of nothing":          {v2 + "(" + storage + "K\x00ctorch\nSize\n)R)\x89NtR", ""},
		"size of a number":         {v2 + "(" + storage + "K\x00ctorch\nSize\nK\x06\x85R(K\x01t\x89NtR", "size is made of 6"},
		"size of a text":           {v2 + "(" + storage + "K\x00ctorch\nSize\n(" + str("6") + "t\x85R(K\x01t\x89NtR", "not an integer"},
		"size of two tuples":       {v2 + "(" + storage + "K\x00ctorch\nSize\n(K\x06t)\x86R(K\x01t\x89NtR", "not an integer"},
		"hooks of too few values":  {v2 + "(" + storage + "K\x00(K\x06t(K\x01t\x89" + old + ")RtR", "rebuilt from 0 values"},
		"dropped, too few values":  {old + ")R0" + plain, "rebuilt from 0 values"},
		"dropped, size of a text":  {"ctorch\nSize\n" + str("6") + "\x85R0" + plain, "size is made of"},
		"too few values":           {v2 + "(" + storage + "tR", "rebuilt from 1 values"},
		"v2 of five":               {v2 + "(" + storage + "K\x00(K\x06t(K\x01t\x89tR", "rebuilt from 5 values"},
		"before torch 0.4, of six": {old + "(" + storage + "K\x00(K\x06t(K\x01t\x89NtR", "rebuilt from 6 values"},
		"parameter of two":         {parameter + "(" + v2 + "(" + storage + "K\x00(K\x06t(K\x01t\x89NtR\x88tR", "parameter is rebuilt from 2 values"},
		"v3 of six":                {v3 + "(" + storage + "K\x00(K\x06t(K\x01t\x89NtR", "rebuilt from 6 values"},
		"not a storage":            {v2 + "(NK\x00(K\x06t(K\x01t\x89NtR", "not a storage"},
		"list as size":             {v2 + "(" + storage + "K\x00]K\x06a(K\x01t\x89NtR", "an integer and two tuples"},
		"float as offset":          {v2 + "(" + storage + "G" + u64(0) + "(K\x06t(K\x01t\x89NtR", "an integer and two tuples"},
		"text in size":             {v2 + "(" + storage + "K\x00(" + str("6") + "t(K\x01t\x89NtR", "not an integer"},
		"65 axes":                  {v2 + "(" + storage + "K\x00(" + strings.Repeat("K\x01", 65) + "tq\x00h\x00\x89NtR", "tensor of 65 axes"},
		"bytes overflow":           {v2 + "(" + storageID(double, "0", 3) + "K\x00(" + long(1<<61) + "t(K\x00t\x89NtR", "overflow"},
		"empty metadata":           {v2 + "(" + storage + "K\x00(K\x06t(K\x01t\x89N}tR", ""},
		"negative":                 {v2 + "(" + storage + "K\x00(K\x06t(K\x01t\x89N}" + str("neg") + "\x88stR", `flag "neg"`},
		"metadata is a list":       {v2 + "(" + storage + "K\x00(K\x06t(K\x01t\x89N]tR", "metadata is not a dict"},
		"parameter of a number":    {parameter + "(K\x01\x88)tR", "not a tensor"},
		"from type by a class":     {fromType + "(" + orderedDictName + "ctorch\nTensor\n)}tR", "does not return tensors"},
		"from type by itself":      {fromType + "(" + fromType + "ctorch\nTensor\n)}tR", "does not return tensors"},
		"more made than is held":   {"(" + setName + "q\x00](" + strings.Repeat("N", 50_000) + "e\x85q\x01" + strings.Repeat("h\x00h\x01R", 40) + "t", "more values than it can list"},
		"storage on its own":       {"(" + plain + storage + "t", ""},
		"storage of negative size": {v2 + "(" + storageID(float, "0", -1) + "K\x00(K\x06t(K\x01t\x89NtR", "claims -1 elements"},
		"storage of a list":        {v2 + "((" + str("storage") + float + str("0") + str("cpu") + "]tQK\x00(K\x06t(K\x01t\x89NtR", "claims a list elements of"},
	} {
		t.Run(name, func(t *testing.T) {
			parts := goodParts()
			parts[0].content = dictOf(c.value)
			ckpt, err := openBytes(zipped(t, parts...))
			checkError(t, err, c.want)
			if err == nil {
				readSome(t, ckpt.Tensors()[0])
			}
		})
	}
}

// legacyFile is a legacy file of one tensor of six float32.
func legacyFile(view, keys, storages string) []byte {
	object := dictOf(v2 + "((" + str("storage") + float + str("11") + str("cpu") + "K\x06" + view + "tQK\x00(K\x02t(K\x01t\x89NtR")
	return []byte("\x80\x02\x8a\x0a" + string(legacyMagic) + ".\x80\x02M\xe9\x03.\x80\x02}." + object + keys + storages)
}

func TestLegacy(t *testing.T) {
	keys := "\x80\x02]" + str("11") + "a."
	storage := u64(6) + strings.Repeat("\x00\x00\x80\x3f", 6)
	viewOf := func(offset, numel int) string {
		return fmt.Sprintf("(X\x01\x00\x00\x000J%sJ%st", u32(offset), u32(numel))
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"sound":               {legacyFile("N", keys, storage), ""},
		"view":                {legacyFile(viewOf(4, 2), keys, storage), ""},
		"view too far":        {legacyFile(viewOf(5, 2), keys, storage), "offset 5 and 2 elements, is not within"},
		"view before":         {legacyFile(viewOf(-1, 2), keys, storage), "is not within"},
		"view negative":       {legacyFile(viewOf(0, -2), keys, storage), "is not within"},
		"view too short":      {legacyFile(viewOf(0, 1), keys, storage), "of a storage of 1"},
		"view of two":         {legacyFile("(K\x00K\x01t", keys, storage), "not a tuple of 3"},
		"key twice":           {legacyFile("N", "\x80\x02]("+str("11")+str("11")+"e.", storage+storage), "twice"},
		"key not in the list": {legacyFile("N", "\x80\x02].", ""), "storage 11 is not in the file"},
		"keys in a dict":      {legacyFile("N", "\x80\x02}.", ""), "not a list"},
		"class in the keys":   {legacyFile("N", orderedDictName+".", ""), "collections.OrderedDict"},
		"more bytes":          {legacyFile("N", keys, storage+"\x00"), "1 bytes follow the last storage"},
		"cut in a storage":    {legacyFile("N", keys, storage[:20]), "12 bytes before the end of storage 11"},
		"cut in a count":      {legacyFile("N", keys, storage[:5]), "data ends 3 bytes early"},
		"cut in a pickle":     {legacyFile("N", keys[:8], ""), "file ends within a pickle"},
		"magic in two pieces": {append([]byte("\x80\x02N."), legacyMagic...), "magic number"},
	} {
		t.Run(name, func(t *testing.T) {
			ckpt, err := openBytes(c.file)
			checkError(t, err, c.want)
			if err == nil {
				checkData(t, ckpt.Tensors()[0], []byte(strings.Repeat("\x00\x00\x80\x3f", 2)))
			}
		})
	}
}

// TestLongLegacyPickle has a pickle that does not fit into the first piece that is read.
func TestLongLegacyPickle(t *testing.T) {
	file := string(legacyFile("N", "\x80\x02]"+str("11")+"a.", u64(6)+strings.Repeat("\x00\x00\x80\x3f", 6)))
	comment := strings.Repeat("x", 300<<10)
	file = strings.Replace(file, "}X\x01\x00\x00\x00w", "}"+str(comment)+"NsX\x01\x00\x00\x00w", 1)
	c, err := openBytes([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	checkData(t, c.Tensors()[0], []byte(strings.Repeat("\x00\x00\x80\x3f", 2)))
}

// checkData reads a tensor from several offsets, and checks its checksum.
func checkData(t *testing.T, got *tensor.Tensor, want []byte) {
	t.Helper()
	for _, off := range []int{0, 1, len(want) / 2, len(want)} {
		if off > len(want) {
			continue
		}
		r, err := got.Data.Stream(int64(off))
		if err != nil {
			t.Errorf("%s: %v", got.Name, err)
			return
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(data, want[off:]) {
			t.Errorf("%s from byte %d is %x (%v), want %x", got.Name, off, data, err, want[off:])
		}
	}
	if c, ok := got.Data.(tensor.Checker); ok {
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", got.Name, err)
		}
	}
}
