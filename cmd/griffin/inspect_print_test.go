package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
)

// Tensors are printed one by one as if the whole was printed at once.
func TestInspectionJSON(t *testing.T) {
	for n := range 3 {
		r := &inspection{Path: "a<b", Format: "x", Details: []detail{{"k", "v"}}, Metadata: map[string]string{"a": "[]\n}"}, Notes: []string{}, Tensors: []tensorEntry{}}
		for i := range n {
			r.Tensors = append(r.Tensors, tensorEntry{Name: fmt.Sprint("<", i), DType: "float32", Shape: []int64{2, int64(i)}})
		}
		var got, want bytes.Buffer
		check(t, printJSON(&got, schemaInspection, r))
		check(t, printAtOnce(&want, schemaInspection, r))
		if got.String() != want.String() {
			t.Errorf("%d tensors: got\n%s\nwant\n%s", n, &got, &want)
		}
	}
}

// Of a quantised copy, the note about a head that config.json ties says nothing of runtimes, which do not load each copy.
func TestTiedHeadOfCopy(t *testing.T) {
	for sample, says := range map[string]bool{"base": true, "mlx-4bit": false, "bnb-nf4": false} {
		c, err := formats.Open("../../testdata/quantized/"+sample, formats.Options{})
		check(t, err)
		defer c.Close()
		head := *c.Tensor("model.final_norm.weight") // no copy of the embedding
		head.Shape = []int64{40, 32}
		head.Name = "lm_head.weight"
		with, err := tensor.NewCheckpoint(c.Path, c.Format, append(slices.Clone(c.Tensors()), &head))
		check(t, err)
		with.Source, with.Root = c.Source, c.Root
		r, err := newInspection(with, "")
		check(t, err)
		notes := strings.Join(r.Model.Notes, "\n")
		if !strings.Contains(notes, "config.json ties lm_head.weight to the embedding, with which it is not compared here") || strings.Contains(notes, "if they differ") != says {
			t.Errorf("%s: %q", sample, notes)
		}
	}
}

// A tree of names with many parts is not larger than the names make it.
func TestDeepTree(t *testing.T) {
	var tensors []tensorEntry
	for i := range 100 {
		tensors = append(tensors, tensorEntry{Name: strings.Repeat(fmt.Sprint("p", i, "."), 500) + "w", DType: "float32"})
	}
	var out bytes.Buffer
	printTree(&out, tensors)
	if most := 100 * 501 * 200; out.Len() > most {
		t.Errorf("%d bytes", out.Len())
	}
}

// Layers are in natural order, and what is equal in several of them is one row.
func TestFolded(t *testing.T) {
	var tensors []tensorEntry
	for _, i := range []int{0, 1, 10, 11, 2} { // the order of safetensors
		name := fmt.Sprint("m.", i)
		shape := []int64{4}
		if i == 2 {
			shape = []int64{5}
		}
		tensors = append(tensors, tensorEntry{Name: name + ".a", DType: "float32", Shape: []int64{4}}, tensorEntry{Name: name + ".b", DType: "float32", Shape: shape})
	}
	tensors = append(tensors, tensorEntry{Name: "m.0.c", DType: "float32"}, tensorEntry{Name: "norm", DType: "float32"}, tensorEntry{Name: "7", DType: "float32"})
	for _, tt := range []struct {
		all  bool
		want string
	}{
		{true, "7 m.0.a m.0.b m.0.c m.1.a m.1.b m.2.a m.2.b m.10.a m.10.b m.11.a m.11.b norm"},
		{false, "7 m.0.c m.{0-1,10-11}.b x4 m.{0-2,10-11}.a x5 m.2.b norm"},
	} {
		var got []string
		for _, e := range folded(tensors, tt.all, nil) {
			got = append(got, e.Name)
			if e.layers > 0 {
				got = append(got, fmt.Sprint("x", e.layers))
			}
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("all %t: got %s, want %s", tt.all, got, tt.want)
		}
	}
	tensors[0].SHA256 = "0"
	if rows := folded(tensors[:4], false, nil); len(rows) != 3 { // m.0.a, m.1.a, m.{0-1}.b
		t.Errorf("a tensor with a digest is not by itself: %v", rows)
	}
}

// Layers of one kind have its name; of other sets with many ranges the first are shown.
func TestLayerSet(t *testing.T) {
	kinds := strings.Split("r r a r r a r r a r r", " ")
	for want, layers := range map[string][]int{
		"r":              {0, 1, 3, 4, 6, 7, 9, 10},
		"a":              {2, 5, 8},
		"0-10":           {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
		"0-1,3-4,6-7":    {0, 1, 3, 4, 6, 7},
		"0,2,4,…":        {0, 2, 4, 6, 8, 10},
		"2,5,8,11":       {2, 5, 8, 11},
		"0-1,3,6-7,9-10": {0, 1, 3, 6, 7, 9, 10},
		"3":              {3},
		"1-2,4-5,7-8,…":  {1, 2, 4, 5, 7, 8, 10, 20},
	} {
		if got := layerSet(layers, kinds); got != want {
			t.Errorf("%v: %s, want %s", layers, got, want)
		}
	}
}

// A model that has the shapes and the settings of a preset is called by its name, whatever states the settings.
func TestPresetOf(t *testing.T) {
	for i := range model.Griffin.Presets {
		p := &model.Griffin.Presets[i]
		m, c := &model.Model{Family: model.Griffin, Preset: p.Name}, p.Config
		if got := presetOf(m, &c); got != p.Name {
			t.Errorf("%s: got %q", p.Name, got)
		}
		c.AttentionWindow++
		if got := presetOf(m, &c); got != "" {
			t.Errorf("%s with another window: got %q", p.Name, got)
		}
	}
}

// Entries of a comparison are printed one by one as if the whole was printed at once, also what comes after them.
func TestDifferenceJSON(t *testing.T) {
	for n := range 3 {
		r := &diff.Result{A: diff.Side{Path: "<\n  \"tensors\": []"}, Config: []diff.ConfigDifference{}, Tensors: []diff.TensorDiff{}, Notes: []string{"after"}}
		for i := range n {
			r.Tensors = append(r.Tensors, diff.TensorDiff{Name: fmt.Sprint("<", i), Shape: []int64{2, int64(i)}, Metrics: &diff.Metrics{Changes: diff.NewChanges(diff.Change{Exponent: i, Count: 1})}})
		}
		var got, want bytes.Buffer
		check(t, printJSON(&got, schemaDifference, r))
		check(t, printAtOnce(&want, schemaDifference, r))
		if got.String() != want.String() {
			t.Errorf("%d tensors: got\n%s\nwant\n%s", n, &got, &want)
		}
	}
}

// printAtOnce prints a result as package encoding/json encodes it.
func printAtOnce(w io.Writer, schema string, v any) error {
	text, err := json.MarshalIndent(document{schema, v}, "", "  ")
	if err != nil {
		return err
	}
	for code, char := range map[string]string{`\u003c`: "<", `\u003e`: ">"} {
		text = bytes.ReplaceAll(text, []byte(code), []byte(char))
	}
	_, err = w.Write(append(strictjson.JoinNumbers(text), '\n'))
	return err
}

// Beside NaN, a distance is not finite.
func TestDetailsOfNaN(t *testing.T) {
	for _, tt := range []struct {
		largest, l2 float64
		want        string
	}{
		{math.NaN(), math.NaN(), "2 of 4 elements, distances that are not finite; first at [1]: 1, 2"},
		{math.Inf(1), math.NaN(), "2 of 4 elements, distances that are not finite; first at [1]: 1, 2"},
		{0.5, math.Inf(1), "2 of 4 elements, largest 0.5, relative L2 +Inf, cosine -; first at [1]: 1, 2"}, // of zeros
		{0.5, 0.25, "2 of 4 elements, largest 0.5, relative L2 0.25, cosine -; first at [1]: 1, 2"},
	} {
		m := &diff.Metrics{Differing: 2, MaxAbs: diff.Number(tt.largest), RelativeL2: diff.Number(tt.l2), Cosine: diff.Number(math.NaN()), First: []int64{1}, FirstA: 1, FirstB: 2}
		r := &diff.Result{Tensors: []diff.TensorDiff{{Name: "w", Status: diff.Differs, Elements: 4, Metrics: m}}}
		g := r.Groups()[0]
		if got := details(r, &g); got != tt.want {
			t.Errorf("%g, %g: %q, want %q", tt.largest, tt.l2, got, tt.want)
		}
	}
}

// One block is not several.
func TestNumberOfBlocks(t *testing.T) {
	for n, want := range map[int]string{1: "1 block R, ", 2: "2 blocks RR, "} {
		s := &modelSummary{}
		for range n {
			s.BlockTypes = append(s.BlockTypes, string(model.Recurrent))
		}
		if line := s.lines()[1]; !strings.HasPrefix(line, want) {
			t.Errorf("%q, not %q", line, want)
		}
	}
}

func TestMisfits(t *testing.T) {
	one, two := []model.Problem{{Tensor: "a"}}, []model.Problem{{Tensor: "a"}, {Tensor: "b"}}
	for want, e := range map[string]*model.MismatchError{
		"1 unexpected tensor":                                   {Family: "Griffin", Unexpected: one},
		"2 unexpected tensors, 1 mistyped tensor":               {Family: "Griffin", Unexpected: two, Mistyped: one},
		"not a complete Griffin model: 1 missing, 2 unexpected": {Family: "Griffin", Missing: one, Unexpected: two},
	} {
		if got := misfits(e); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
