package runtime

import (
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
)

// Two sides diverge where their windows do, or before where the runtime of one does otherwise. Without attention no window matters.
func TestDivergeFrom(t *testing.T) {
	attention, recurrent := []model.BlockType{model.Recurrent, model.Attention}, []model.BlockType{model.Recurrent}
	for _, tt := range []struct {
		blocks []model.BlockType
		a, b   int64 // windows
		own    int
		want   int
	}{
		{attention, 8, 8, -1, -1},
		{attention, 8, 9, -1, 9}, // the window precedes the token itself
		{attention, 9, 8, -1, 9},
		{attention, 8, 8, 0, 0},
		{attention, 8, 8, 3, 3},
		{attention, 8, 9, 3, 3},
		{attention, 8, 9, 12, 9},
		{recurrent, 8, 9, -1, -1},
		{recurrent, 8, 9, 2, 2},
	} {
		side := func(window int64) *Side {
			m := &Model{}
			m.Config.BlockTypes, m.Config.AttentionWindow = tt.blocks, window
			m.Original = m.Config
			return &Side{m, Original}
		}
		if got := (&pair{a: side(tt.a), b: side(tt.b), own: tt.own}).divergeFrom(); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}
