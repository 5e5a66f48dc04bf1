package huggingface

import (
	"encoding/json"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
)

func TestEditJSON(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing changes a byte", "{ \"b\" :[1, 2.0],\n\t\"é\":\"<\"}\n", "{ \"b\" :[1, 2.0],\n\t\"é\":\"<\"}\n"},
		{"values", "{\n  \"cap\": 30.0,\n  \"inner\": {\"window\": 1},\n  \"window\" :  2048 ,\n  \"z\": null\n}\n",
			"{\n  \"cap\": 1048576.0,\n  \"inner\": {\"window\": 1},\n  \"window\" :  9 ,\n  \"z\": null\n}\n"},
		{"one that is not there", "{\n  \"cap\": 1\n}", "{\n  \"cap\": 1048576.0,\n  \"window\": 9\n}"},
		{"in one line", `{"a": "}", "cap": -1e5}`, `{"a": "}", "cap": 1048576.0,"window": 9}`},
		{"both missing", `{ "a": [{}] }`, `{ "a": [{}], "cap": 1048576.0, "window": 9 }`},
	} {
		set := []Field{{Name: "cap", Value: manifest.Float(1 << 20)}, {Name: "window", Value: int64(9)}}
		if tt.text == tt.want {
			set = nil
		}
		got, err := editJSON([]byte(tt.text), set)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.name, err, got, tt.want)
		}
	}
	for _, text := range []string{"", "[]", "{", `{"a"`, `{"a": }`, `{"a": 1,`, "{}"} {
		if got, err := editJSON([]byte(text), []Field{{Name: "cap", Value: 1}}); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestRemoveField(t *testing.T) {
	for text, want := range map[string]string{
		"{\n  \"a\": 1,\n  \"x\": [2],\n  \"b\": 3\n}": "{\n  \"a\": 1,\n  \"b\": 3\n}",
		"{\n  \"x\": 1 ,\n  \"b\": 3\n}":               "{\n  \"b\": 3\n}",
		"{\n  \"a\": 1,\n  \"x\": \"},\"\n}\n":         "{\n  \"a\": 1\n}\n",
		`{"x": 1}`:                                     `{}`,
		`{"a": {"x": 1}}`:                              `{"a": {"x": 1}}`,
		`{"a": "x", "x": "a"}`:                         `{"a": "x"}`,
	} {
		got, err := editJSON([]byte(text), []Field{{Name: "x", Remove: true}})
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", text, err, got, want)
		}
	}
	both := []Field{{Name: "x", Remove: true}, {Name: "a", Value: 2}, {Name: "new", Value: 3}}
	if got, err := editJSON([]byte(`{"x": 1, "a": 1}`), both); err != nil || string(got) != `{ "a": 2,"new": 3}` {
		t.Errorf("%v: %s", err, got)
	}
}

// FuzzEditJSON: the edited object has the new values, and its other fields are unchanged.
func FuzzEditJSON(f *testing.F) {
	f.Add([]byte("{\n  \"a\": [1, {\"window\": 2}],\n  \"window\": 2048\n}\n"))
	f.Add([]byte(`{"cap":1,"b":"}"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var before, after map[string]json.RawMessage
		if strictjson.Check(text, 20) != nil || json.Unmarshal(text, &before) != nil || len(before) == 0 {
			return // such a config.json is refused before it is edited
		}
		edited, err := editJSON(text, []Field{{Name: "window", Value: 9}, {Name: "cap", Value: manifest.Float(30)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(edited, &after); err != nil {
			t.Fatalf("%v: %s", err, edited)
		}
		before["window"], before["cap"] = json.RawMessage("9"), json.RawMessage("30.0")
		for key, want := range before {
			if string(after[key]) != string(want) {
				t.Fatalf("%s is %s in %s", key, after[key], edited)
			}
		}
		if len(after) != len(before) {
			t.Fatalf("%s", edited)
		}
	})
}
