package reference

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

// TestSnapshot: a state that is restored from a snapshot continues with the bits of the state itself, before and after
// the window is full, in every semantics and precision.
func TestSnapshot(t *testing.T) {
	for _, name := range fixtures {
		_, m := openCase(t, filepath.Join("..", "testdata", name))
		tokens, positions := make([]int32, 40), make([]int32, 40)
		for i := range tokens {
			tokens[i] = int32(i * 7 % m.Config.VocabSize)
			positions[i] = int32(i)
			if i >= 7 { // a second document
				positions[i] -= 7
			}
		}
		for semantics := range Transformers5 + 1 {
			for precision := range Fast + 1 {
				t.Run(fmt.Sprint(name, "/", semantics, "/", precision), func(t *testing.T) {
					m.Semantics, m.Arithmetic.Precision = semantics, precision
					for _, cut := range []int{1, 3, 7, 9, 25} {
						state := m.NewState(1)
						results(t, m, Pass{Tokens: tokens[:cut], Positions: positions[:cut], Batch: 1, State: state})
						snapshot, err := state.Snapshot()
						if err != nil {
							t.Fatal(err)
						}
						want := results(t, m, Pass{Tokens: tokens[cut:], Positions: positions[cut:], Batch: 1, State: state}) // does not change the snapshot
						restored, err := m.Restore(snapshot)
						if err != nil {
							t.Fatal(err)
						}
						p := Pass{Tokens: tokens[cut:], Positions: positions[cut:], Batch: 1, State: restored}
						if cut > 7 {
							p.Positions = nil // they count on
						}
						sameBits(t, want, results(t, m, p))
						if restored.Tokens() != len(tokens) {
							t.Errorf("the restored state has seen %d tokens", restored.Tokens())
						}
					}
				})
			}
		}
	}
}

// TestSnapshotOfAnotherModel: Restore refuses arrays that do not fit, whatever they claim.
func TestSnapshotOfAnotherModel(t *testing.T) {
	_, m := openCase(t, filepath.Join("..", "testdata", "odd-griffin"))
	for _, tt := range []struct {
		name   string
		change func(*Snapshot)
		want   string
	}{
		{"nothing", func(*Snapshot) {}, ""},
		{"negative tokens", func(s *Snapshot) { s.Tokens = -1 }, "-1 tokens"},
		{"more tokens than positions", func(s *Snapshot) { s.Tokens = math.MaxInt32 + 1 }, "tokens"},
		{"negative position", func(s *Snapshot) { s.Position = -1 }, "position -1"},
		{"document after the end", func(s *Snapshot) { s.DocumentStart = 4 }, "document from token 4"},
		{"another number of tokens", func(s *Snapshot) { s.Tokens = 2 }, "keys.0"},
		{"no arrays", func(s *Snapshot) { s.Arrays = nil }, "0 arrays"},
		{"an array missing", func(s *Snapshot) { s.Arrays = s.Arrays[1:] }, "arrays"},
		{"another name", func(s *Snapshot) { s.Arrays[1].Name = "x" }, "no array values.0"},
		{"twice", func(s *Snapshot) { s.Arrays[1] = s.Arrays[0] }, "arrays"},
		{"shape", func(s *Snapshot) { s.Arrays[0].Shape = []int{12, 3} }, "shape [12 3]"},
		{"elements", func(s *Snapshot) { s.Arrays[0].Float32 = s.Arrays[0].Float32[1:] }, "35 elements"},
		{"precision", func(s *Snapshot) {
			s.Arrays[0].Float32, s.Arrays[0].Float64 = nil, make([]float64, 36)
		}, "0 elements"},
	} {
		state := m.NewState(1)
		results(t, m, Pass{Tokens: []int32{1, 2, 3}, Batch: 1, State: state})
		s, err := state.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		tt.change(s)
		_, err = m.Restore(s)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := m.NewState(2).Snapshot(); err == nil {
		t.Error("a snapshot of two rows")
	}
}
