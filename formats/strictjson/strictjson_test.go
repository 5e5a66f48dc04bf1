package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/internal/foreign"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestParseAccepts(t *testing.T) {
	for _, tt := range []struct {
		text string
		want any
	}{
		{`null`, nil},
		{" \t\r\ntrue ", true},
		{`false`, false},
		{`0`, json.Number("0")},
		{`-0.50e+07`, json.Number("-0.50e+07")},
		{`123456789012345678901234567890`, json.Number("123456789012345678901234567890")},
		{`""`, ""},
		{`"\"\\\/\b\f\n\r\t\u0041\u00e9\u0000"`, "\"\\/\b\f\n\r\tAé\x00"},
		{`"\ud83d\ude00 \uD83D\uDE00 😀 \uffff"`, "😀 😀 😀 \uffff"},
		{"\"\x7f\u2028\ufffd\"", "\x7f\u2028\ufffd"},
		{`[]`, []any{}},
		{` [ 1 , [ ] , "a" ] `, []any{json.Number("1"), []any{}, "a"}},
	} {
		got, err := Parse([]byte(tt.text), 2)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %#v, %v", tt.text, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		text    string
		problem string // part of the message
		offset  int64
	}{
		{``, "text is empty", 0},
		{` `, "text is empty", 0},
		{"\ufeff{}", "a byte order mark", 0},
		{"\xff\xfe{\x00}\x00", "UTF-16", 0},
		{"{\ufeff}", `"\ufeff" where a key`, 1},
		{`{} {}`, "data after the end", 3},
		{"{}\x00", "data after the end", 2},
		{`nul`, "where null", 0},
		{`truE`, "where true", 0},
		{`NaN`, "NaN, which is no number", 0},
		{`[True]`, "True, which is true in JSON", 1},
		{`{"a":None}`, "None, which is null in JSON", 5},
		{`Infinity`, "Infinity, which is no number", 0},
		{`[-Infinity]`, "-Infinity, which is no number", 1},
		{`[-NaN]`, "-NaN, which is no number", 1},
		{"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer instead of the file itself", -1},
		{"\n<!DOCTYPE html>\n", "is a web page instead of the file itself", -1},
		{"[<html>", `"<" where a value`, 1},
		{`'a'`, "' where a value is expected: JSON has double quotes", 0},
		{`{“a”:1}`, "“ where a key is expected: JSON has double quotes", 1},
		{`// a`, "a comment", 0},
		{`[1 /* a */]`, "a comment", 3},
		{"{# a\n}", "a comment", 1},
		{`+1`, "where a value", 0},
		{`.5`, "where a value", 0},
		{`5.`, "ends where a digit", 2},
		{`5.e1`, "where a digit", 2},
		{`1e`, "ends where a digit", 2},
		{`1e+`, "ends where a digit", 3},
		{`-`, "ends where a number", 1},
		{`02`, "leading zero", 0},
		{`-02`, "leading zero", 0},
		{`1x`, "data after the end", 1},
		{`0x10`, "data after the end", 1},
		{`[1`, "ends where a comma or ]", 2},
		{`[1,`, "ends where a value", 3},
		{`[1, ]`, "a comma before ]", 2},
		{`[1,,2]`, `"," where a value`, 3},
		{`[[1,2],]`, "a comma before ]", 6},
		{`[}`, `"}" where a value`, 1},
		{`[[1,2]}`, `"}" where a comma or ]`, 6},
		{`[,1]`, `"," where a value`, 1},
		{`[1 2]`, "a comma is missing before this value", 3},
		{`{"a":1 "b":2}`, "a comma is missing before this key", 7},
		{`{"a":1 bc:2}`, `"bc" where a comma or }`, 7},
		{`[1}`, `"}" where a comma or ]`, 2},
		{`{`, "ends where a key", 1},
		{`{"a"`, "ends where a colon", 4},
		{`{"a":`, "ends where a value", 5},
		{"{\"a\":1,\n}", "a comma before }", 6},
		{`{"a" 1}`, "where a colon", 5},
		{`{a_1:1}`, "the key a_1 has no double quote before it", 1},
		{`{1:1}`, "the key 1 has no double quote before it", 1},
		{`{"a":1,"b":2,"\u0061":3}`, `duplicate key "a"`, 13},
		{`{"a":{"b":1,"b":1}}`, `duplicate key "b"`, 12},
		{`{"":1,"":1}`, `duplicate key ""`, 6},
		{`{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"9":0}`, `duplicate key "9"`, 62},
		{`"a`, "ends within a string", 2},
		{`"a\n`, "ends within a string", 4},
		{`"a\`, "invalid escape", 2},
		{`"\x41"`, "invalid escape", 1},
		{`"\u12"`, "four hexadecimal", 1},
		{`"\u12g4"`, "four hexadecimal", 1},
		{`"\u+123"`, "four hexadecimal", 1},
		{"\"a\nb\"", "does not end on its line", 0},
		{"[\"\\n\r\"]", "does not end on its line", 1},
		{"\"a\tb\"", "control character 0x09", 2},
		{"\"a\x00\"", "control character 0x00", 2},
		{"\"\\n\x1f\"", "control character 0x1f", 3},
		{"\"\xff\"", "not valid UTF-8", 1},
		{"\"\xc0\x80\"", "not valid UTF-8", 1},
		{"\"\xed\xa0\x80\"", "not valid UTF-8", 1},
		{"\"\\n\xe2\x82\"", "not valid UTF-8", 3},
		{`"\ud800"`, "half of a surrogate pair", 1},
		{`"\udc00"`, "half of a surrogate pair", 1},
		{`"\ud800\u0041"`, "half of a surrogate pair", 1},
		{`"\udc00\ud800"`, "half of a surrogate pair", 1},
		{`"\ud800\n"`, "half of a surrogate pair", 1},
		{`[[[1]]]`, "nested more than 2 deep", 2},
		{`{"a":[{}]}`, "nested more than 2 deep", 6},
		{strings.Repeat("[", 1e6), "nested more than 2 deep", 2},
	} {
		v, err := Parse([]byte(tt.text), 2)
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || v != nil {
			t.Errorf("%.60q: got %#v, %v", tt.text, v, err)
			continue
		}
		if !strings.Contains(bad.Problem, tt.problem) || bad.Offset != tt.offset {
			t.Errorf("%.60q: got %v; want %q at %d", tt.text, err, tt.problem, tt.offset)
		}
	}
}

// What is skipped is checked as what is read.
func TestSkipRefusesWhatParseRefuses(t *testing.T) {
	for _, text := range []string{`{"a":1,"a":2}`, `["\ud800"]`, `[01]`, `[[[]]]`, `[nule]`, `[`} {
		d := NewDecoder([]byte(text), 2)
		if err := d.Skip(); err == nil && d.End() == nil {
			t.Errorf("%s is skipped", text)
		}
	}
}

func TestObject(t *testing.T) {
	for _, n := range []int{0, 1, fewKeys, fewKeys + 1, 1000} {
		var text bytes.Buffer
		var keys []string
		text.WriteString("{")
		for i := range n {
			keys = append(keys, strings.Repeat("k", n-i))
			if i > 0 {
				text.WriteString(",")
			}
			text.WriteString(`"` + keys[i] + `":` + strings.Repeat("1", i%9+1))
		}
		text.WriteString("}")
		v, err := Parse(text.Bytes(), 1)
		if err != nil {
			t.Fatal(err)
		}
		o := v.(*Object)
		if !slices.Equal(o.Keys(), keys) || o.Len() != n {
			t.Errorf("%d keys: wrong keys or order", n)
		}
		for i, k := range keys {
			if v, ok := o.Get(k); !ok || v != json.Number(strings.Repeat("1", i%9+1)) {
				t.Errorf("%d keys: %s is %v, %v", n, k, v, ok)
			}
		}
		if _, ok := o.Get("K"); ok {
			t.Errorf("%d keys: K was found", n)
		}
	}
}

func TestIntegers(t *testing.T) {
	for _, tt := range []struct {
		text string
		uint int64 // -1 for refused
		int  bool
	}{
		{"0", 0, true}, {"12", 12, true}, {"9223372036854775807", 1<<63 - 1, true},
		{"9223372036854775808", -1, false}, {"99999999999999999999999", -1, false},
		{"-2", -1, true}, {"2.0", -1, false}, {"2e0", -1, false}, {`"2"`, -1, false}, {"-0", -1, true},
	} {
		n, err := NewDecoder([]byte(tt.text), 0).Uint()
		if (err != nil) != (tt.uint < 0) || err == nil && n != tt.uint {
			t.Errorf("Uint of %s: %d, %v", tt.text, n, err)
		}
		v, err := Parse([]byte(tt.text), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := Int(v); ok != tt.int {
			t.Errorf("Int of %s: %v", tt.text, ok)
		}
	}
}

// A reader that is asked for one kind refuses the others.
func TestWrongKinds(t *testing.T) {
	texts := map[Kind]string{KindObject: "{}", KindArray: "[]", KindString: `""`, KindNumber: "1", KindBool: "true", KindNull: "null"}
	for is, text := range texts {
		for want := range texts {
			d := NewDecoder([]byte(text), 1)
			if d.Peek() != is {
				t.Errorf("%s: kind %d", text, d.Peek())
			}
			var err error
			switch want {
			case KindObject:
				err = d.Object(func(string) error { return d.Skip() })
			case KindArray:
				err = d.Array(d.Skip)
			case KindString:
				_, err = d.String()
			case KindNumber:
				_, err = d.Number()
			case KindBool:
				_, err = d.Bool()
			case KindNull:
				err = d.Null()
			}
			if (err == nil) != (is == want) {
				t.Errorf("%s read as kind %d: %v", text, want, err)
			}
		}
	}
}

// FuzzParse holds Parse against encoding/json, which is more lenient: what Parse takes, it takes
// too, with the same values; and what it takes, Parse refuses only for a reason of its own.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}  `,
		`{"a":[1,-2.5e-3,true,false,null,"\ud83d\ude00\n"],"b":{"":{}}}`, `{"a":1,"a":2}`, `"\ud800"`, "\"\xff\"", `[[[[]]]]`, `[01]`, "[1]\n", `NaN`,
	} {
		f.Add([]byte(s))
	}
	const depth = 6
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Parse(text, depth)
		if skip := NewDecoder(text, depth); (skip.Skip() == nil && skip.End() == nil) != (err == nil) {
			t.Fatalf("Parse says %v, Skip does not", err)
		}
		if err != nil {
			var bad *tensor.FormatError
			if !errors.As(err, &bad) || bad.Offset > int64(len(text)) {
				t.Fatalf("unplaced error %v", err)
			}
			// What is of another format from its beginning on has no place: it is all of it.
			if other := foreign.File(text[:min(len(text), foreign.HeadSize)]); bad.Offset < 0 && (other.Kind != foreign.Other || bad.Problem != "is "+other.Name) {
				t.Fatalf("unplaced error %v", err)
			}
			own := slices.ContainsFunc([]string{"duplicate key", "surrogate", "UTF-8", "nested"}, func(s string) bool {
				return strings.Contains(bad.Problem, s)
			})
			if !own && utf8.Valid(text) && json.Valid(text) {
				t.Fatalf("valid text refused: %v", err)
			}
			return
		}
		var want any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("invalid text accepted: %v", err)
		}
		if got := plain(v); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %#v, want %#v", got, want)
		}
	})
}

// plain turns objects into maps.
func plain(v any) any {
	switch v := v.(type) {
	case *Object:
		m := map[string]any{}
		for _, k := range v.Keys() {
			value, _ := v.Get(k)
			m[k] = plain(value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	}
	return v
}

// A text must not cost many times its size in keys.
func TestManyMembers(t *testing.T) {
	object := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d":0`, i)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	half := object(maxKeys / 2)
	for text, fits := range map[string]bool{
		object(maxKeys):                                      true,
		object(maxKeys + 1):                                  false,
		"[" + half + "," + half + "," + half + "]":           true, // one after the other
		strings.TrimSuffix(half, "}") + `,"x":` + half + "}": false,
	} {
		d := NewDecoder([]byte(text), 10)
		err := errors.Join(d.Skip(), d.End())
		var bad *tensor.FormatError
		if fits != (err == nil) || !fits && (!errors.As(err, &bad) || bad.Reason != tensor.TooLarge) {
			t.Errorf("%.20s… of %d bytes: %v", text, len(text), err)
		}
	}
}
