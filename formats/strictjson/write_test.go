package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
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
		if got, err := written(v); err != nil || got != want {
			t.Errorf("got %s (%v)", got, err)
		}
	}
	if o.hidden != nil {
		t.Error("a hidden field was set")
	}
}

// written returns what WriteTo writes.
func written(v any) (string, error) {
	var b bytes.Buffer
	err := strictjson.WriteTo(&b, "", v)
	return b.String(), err
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

// A list that is written item by item is the same text as at once.
func TestWriteList(t *testing.T) {
	type item struct {
		Name  string  `json:"name"`
		Shape []int64 `json:"shape"`
	}
	type list struct {
		Title string `json:"title"`
		Items []item `json:"items"`
		After []int  `json:"after"`
	}
	for _, items := range [][]item{nil, {{"a", nil}}, {{"a", []int64{1, 2}}, {"<b>\n  \"items\": []", []int64{}}, {"", []int64{3}}}} {
		v := list{Title: "t", Items: items, After: []int{1, 2}}
		want, err := written(&v)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		v.Items = nil
		if err := strictjson.WriteList(&got, &v, "items", len(items), func(i int) any { return &items[i] }); err != nil || got.String() != want {
			t.Errorf("%d items: %v\n%s\nwant\n%s", len(items), err, got.String(), want)
		}
	}
	full := errors.New("full")
	if err := strictjson.WriteList(writer{full}, &list{}, "items", 1, func(int) any { return &item{} }); !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
}

// What is written field by field is the text of encoding/json, with [] for lists and arrays of numbers on one line.
func TestWriteTo(t *testing.T) {
	type point struct {
		X, Y int
		Of   []float64 `json:"of,omitempty"`
	}
	type embedded struct {
		Name  string                  `json:"name"`
		Lazy  strictjson.List[point]  `json:"lazy"`
		Whole []*point                `json:"whole"`
		None  strictjson.List[*point] `json:"none"`
		Left  map[string]point        `json:"left,omitempty"`
		Plain []string                `json:"plain"`
	}
	type outer struct {
		*json.Decoder `json:"-"`
		embedded
		Null  *point           `json:"null"`
		Gone  *point           `json:"gone,omitempty"`
		Inner *struct{}        `json:"inner"`
		Any   any              `json:"any"`
		Raw   json.RawMessage  `json:"raw"`
		Text  json.Number      `json:"text,omitempty"`
		Zero  int              `json:",omitempty"`
		By    map[string][]int `json:"by"`
		Deep  []embedded       `json:"deep"`
	}
	points := []point{{1, 2, nil}, {3, 4, []float64{1, 2}}}
	e := embedded{Name: "<&>\n", Lazy: strictjson.Items(points...), Whole: []*point{nil, &points[1]}, Left: map[string]point{"a": points[0]}, Plain: []string{}}
	for _, v := range []any{&outer{embedded: e, Any: &e, Raw: json.RawMessage(`{"a":[1,{}]}`), Inner: &struct{}{}, By: map[string][]int{"x": {1, 2}}, Deep: []embedded{e, {Whole: []*point{}, Plain: []string{}}}},
		&e, e, points, []int{1, 2}, map[string]any{"b": 1, "a": []any{}}, "<", nil, &struct{}{}, strictjson.Items(points...)} {
		var want, got bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(strictjson.WithLists(v)); err != nil {
			t.Fatal(err)
		}
		if err := strictjson.WriteTo(&got, "", v); err != nil || got.String() != string(strictjson.JoinNumbers(want.Bytes())) {
			t.Errorf("%v\n%s\nwant\n%s", err, &got, strictjson.JoinNumbers(want.Bytes()))
		}
	}
	var got bytes.Buffer
	if err := strictjson.WriteTo(&got, "s 1", &points[0]); err != nil || got.String() != "{\n  \"schema\": \"s 1\",\n  \"X\": 1,\n  \"Y\": 2\n}\n" {
		t.Errorf("with a schema: %v\n%s", err, &got)
	}
	if err := strictjson.WriteTo(&got, "", []*func(){nil, new(func())}); err == nil {
		t.Error("a function has JSON")
	}
	var back strictjson.List[point]
	if err := json.Unmarshal([]byte(`[{"X": 7}]`), &back); err != nil || back.Len() != 1 || back.At(0).X != 7 {
		t.Errorf("%v, %d items", err, back.Len())
	}
}

// writer fails.
type writer struct{ err error }

func (w writer) Write([]byte) (int, error) { return 0, w.err }
