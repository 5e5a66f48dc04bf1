package dcp

import (
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// emptyMetadata returns metadata as readMetadata begins with.
func emptyMetadata() *metadata {
	return &metadata{byName: map[string]*entry{}, grids: newGrids(), fileOf: map[string]int{}, selection: selection{known: map[keys]*keys{}}}
}

// addRows adds a tensor of float32[rows, 4] with a chunk for each row.
func (m *metadata) addRows(t *testing.T, name string, rows int) *entry {
	t.Helper()
	g := &grid{shape: []int64{int64(rows), 4}}
	for i := range rows {
		g.boxes = append(g.boxes, int64(i), 0, 1, 4)
		g.chunks++
	}
	if _, err := m.addTensor(name, &tensorStorage{&properties{dtype: tensor.F32}, g}); err != nil {
		t.Fatal(err)
	}
	return m.byName[name]
}

// The first two keys of a path are kept if more follow; the last one is the value's own.
func TestAddPath(t *testing.T) {
	for _, tt := range []struct {
		path []any
		want *keys
	}{
		{[]any{"a"}, nil},
		{[]any{"a", "b"}, &keys{"a", ""}},
		{[]any{"a", "b", "c"}, &keys{"a", "b"}},
		{[]any{"a", "b", "c", "d"}, &keys{"a", "b"}},
		{[]any{"a", int64(5), "c"}, &keys{"a", ""}},
		{[]any{int64(5), "b", "c"}, nil},
	} {
		m := emptyMetadata()
		m.addPath("name", &pickle.Tuple{Items: tt.path})
		e := m.byName["name"]
		if (e == nil) != (tt.want == nil) || e != nil && *e.keys != *tt.want {
			t.Errorf("%v: %+v, want %+v", tt.path, e, tt.want)
		}
	}
}

// A value is below keys if its path begins with them and its name too.
func TestUnder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		of    *keys
		below keys
		want  bool
	}{
		{"model.w", &keys{"model", ""}, keys{"model", ""}, true},
		{"model.norm.w", &keys{"model", "norm"}, keys{"model", ""}, true},
		{"app.model.w", &keys{"app", "model"}, keys{"app", "model"}, true},
		{"app.optimizer.w", &keys{"app", "optimizer"}, keys{"app", "model"}, false},
		{"app.w", &keys{"app", ""}, keys{"app", "model"}, false},
		{"model.w", &keys{"model.w", ""}, keys{"model", ""}, false}, // its key has the dot
		{"model.w", nil, keys{"model", ""}, false},
		{"other.w", &keys{"model", ""}, keys{"model", ""}, false},
		{"model_w", &keys{"model", ""}, keys{"model", ""}, false},
	} {
		if got := (&entry{name: tt.name, keys: tt.of}).under(tt.below); got != tt.want {
			t.Errorf("%s of %+v under %+v: %t", tt.name, tt.of, tt.below, got)
		}
	}
}

// What is not the model's is known by the first key, or without keys by the name. Of a wrapper, the second key says what it is.
func TestIsModelAndFirstKey(t *testing.T) {
	wrapped := selection{wrapper: keys{"app", "model"}, prefix: "app.model."}
	for _, tt := range []struct {
		s       selection
		name    string
		of      *keys
		isModel bool
		first   string
	}{
		{selection{}, "layers.w", &keys{"layers", "0"}, true, "layers"},
		{selection{}, "optimizer.w", &keys{"optimizer", "state"}, false, "optimizer"},
		{selection{}, "lr_scheduler.w", &keys{"lr_scheduler", ""}, false, "lr_scheduler"},
		{selection{}, "layers.w", nil, true, "layers.w"},
		{selection{}, "optimizer.state.0", nil, false, "optimizer"},
		{selection{}, "step", nil, false, "step"},
		{selection{}, "step.w", nil, true, "step.w"},
		{selection{all: true}, "optimizer.state.0", nil, true, "optimizer"},
		{wrapped, "app.model.w", &keys{"app", "model"}, true, "app.model"},
		{wrapped, "app.optimizer.w", &keys{"app", "optimizer"}, false, "app.optimizer"},
		{wrapped, "app.w", &keys{"app", ""}, false, "app"},
		{wrapped, "other.w", &keys{"other", "w"}, false, "other"},
	} {
		e := &entry{name: tt.name, keys: tt.of}
		if got, first := tt.s.isModel(e), tt.s.firstKey(e); got != tt.isModel || first != tt.first {
			t.Errorf("%s of %+v: %t, first key %q, want %q", tt.name, tt.of, got, first, tt.first)
		}
	}
}

// Where there is nothing but the state of an optimizer, that is what is read. The chunks of what is not the model's are not kept, also of a tensor
// that comes after those that decide.
func TestSelectModel(t *testing.T) {
	m := emptyMetadata()
	e := m.addRows(t, "optimizer.state.0", 2)
	if m.selectModel(); e.grid == nil || !m.all {
		t.Errorf("nothing but an optimizer: %+v", m.selection)
	}
	m = emptyMetadata()
	e, model := m.addRows(t, "optimizer.state.0", 2), m.addRows(t, "w", 2)
	if m.selectModel(); e.grid != nil || model.grid == nil || m.all {
		t.Errorf("a model and an optimizer: %+v", m.selection)
	}
	if e, model = m.addRows(t, "optimizer.state.1", 2), m.addRows(t, "v", 2); e.grid != nil || model.grid == nil {
		t.Error("what comes later is not told apart")
	}
}
