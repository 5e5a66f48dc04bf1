package strictjson_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
)

func TestJoinNumbers(t *testing.T) {
	text, err := json.MarshalIndent(map[string]any{"a": []int{1, -2}, "b": []any{[]float64{0.5, 1e30}, "x"}, "c": []any{}, "d": []any{1, "NaN", "-Infinity"},
		"e": []string{"1", "[\n 1\n]\""}, "f": 3, "g": []any{}, "h": []any{true}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "a": [1, -2],
  "b": [
    [0.5, 1e+30],
    "x"
  ],
  "c": [],
  "d": [1, "NaN", "-Infinity"],
  "e": [
    "1",
    "[\n 1\n]\""
  ],
  "f": 3,
  "g": [],
  "h": [
    true
  ]
}`
	if got := strictjson.JoinNumbers(text); string(got) != want {
		t.Errorf("got %s", got)
	}
}

func TestWrite(t *testing.T) {
	type inner struct {
		Shape []int64  `json:"shape"`
		Notes []string `json:"notes,omitempty"`
	}
	type outer struct {
		inner
		First  *inner  `json:"first"`
		All    []inner `json:"all"`
		None   *inner  `json:"none"`
		Any    any     `json:"any"`
		hidden []int
	}
	o := outer{First: &inner{}, All: []inner{{Shape: []int64{1, 2}}, {}}, Any: &inner{}}
	const want = `{
  "shape": [],
  "first": {
    "shape": []
  },
  "all": [
    {
      "shape": [1, 2]
    },
    {
      "shape": []
    }
  ],
  "none": null,
  "any": {
    "shape": []
  }
}
`
	for _, v := range []any{o, &o} {
		if got, err := strictjson.Write(v); err != nil || string(got) != want {
			t.Errorf("got %s (%v)", got, err)
		}
	}
	if o.hidden != nil {
		t.Error("a hidden field was set")
	}
}

// JoinNumbers changes nothing but white space.
func FuzzJoinNumbers(f *testing.F) {
	f.Add([]byte(`{"a":[1,2,[3],"[\n1\n]"],"b":[-1e5,"NaN"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var indented, before, after bytes.Buffer
		if json.Indent(&indented, text, "", "  ") != nil {
			strictjson.JoinNumbers(text)
			return
		}
		if err := json.Compact(&before, indented.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&after, strictjson.JoinNumbers(indented.Bytes())); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before.Bytes(), after.Bytes()) {
			t.Errorf("%s became %s", before.Bytes(), after.Bytes())
		}
	})
}
