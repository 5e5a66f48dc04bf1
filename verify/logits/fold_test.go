package logits

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
)

// Faults of several blocks that say the same are one, which names the blocks, and the worst of them.
func TestFold(t *testing.T) {
	r := &Result{Blocks: []model.BlockType{model.Recurrent, model.Recurrent, model.Attention, model.Recurrent, model.Attention, model.Recurrent, model.Recurrent, model.Recurrent, model.Recurrent}}
	of := func(edit func(f *Fault), half Half, blocks ...int) (all []*Fault) {
		for _, b := range blocks {
			f := &Fault{Block: b, Half: half, Kind: FaultKind(r.Blocks[b]), First: Location{Token: 2}, Worst: Location{Token: b, Share: Number(10 + b)}, Tensors: []string{"shared", string(half) + string(rune('0'+b))}}
			edit(f)
			all = append(all, f)
		}
		return all
	}
	plain := func(*Fault) {}
	because := func(cause string) func(f *Fault) { return func(f *Fault) { f.Cause = cause } }
	where := func(where string) func(f *Fault) { return func(f *Fault) { f.Where = where } }
	norm := &Fault{Block: 9, Kind: FinalNormFault}
	for _, tt := range []struct {
		name   string
		faults []*Fault
		want   []string // titles
		places []int
	}{
		{"none", nil, nil, nil},
		{"one", of(because("c"), TemporalHalf, 2), []string{"Block 2, temporal half (attention)"}, []int{0}},
		{"one cause", of(because("c"), TemporalHalf, 2, 4), []string{"All 2 attention blocks, temporal half"}, []int{2}},
		{"two causes", slices.Concat(of(because("c"), TemporalHalf, 2), of(because("d"), TemporalHalf, 4)), []string{"Block 2, temporal half (attention)", "Block 4, temporal half (attention)"}, []int{0, 0}},
		{"one cause of two halves", slices.Concat(of(because("c"), TemporalHalf, 2, 3), of(because("c"), MLPHalf, 5, 6)), []string{"Blocks 2 and 3, temporal half", "Blocks 5 and 6, MLP"}, []int{2, 2}},
		{"few unexplained", of(plain, MLPHalf, 0, 3, 4), []string{"Block 0, MLP half", "Block 3, MLP half", "Block 4, MLP half"}, []int{0, 0, 0}},
		{"unexplained", of(plain, MLPHalf, 0, 3, 4, 6), []string{"Blocks 0, 3, 4 and 6, MLP"}, []int{4}},
		{"without halves", of(plain, "", 0, 3, 4, 6), []string{"Blocks 0, 3, 4 and 6"}, []int{4}},
		{"many", of(plain, MLPHalf, 0, 1, 2, 3, 4, 5, 6, 7), []string{"Blocks 0 to 7, MLP"}, []int{8}},
		{"all of a kind", of(plain, TemporalHalf, 0, 1, 3, 5, 6, 7, 8), []string{"All 7 recurrent blocks, temporal half"}, []int{7}},
		{"all, and the norm", append(slices.Concat(of(plain, TemporalHalf, 0, 1, 2, 3, 4, 5, 6, 7, 8), of(plain, MLPHalf, 0, 1, 2, 3, 4, 5, 6, 7, 8)), norm), []string{"All 9 blocks, both halves, and the final norm"}, []int{19}},
		{"some halves", append(slices.Concat(of(plain, TemporalHalf, 0, 1), of(plain, MLPHalf, 1, 2)), norm), []string{"Blocks 0 to 2 and the final norm"}, []int{5}},
		{"the norm", []*Fault{norm}, []string{"Final norm"}, []int{0}},
		{"other tokens", slices.Concat(of(where("x"), MLPHalf, 0, 1, 2, 3), of(where("y"), MLPHalf, 4)), []string{"Blocks 0 to 3, MLP", "Block 4, MLP half"}, []int{4, 0}},
		{"outside the blocks", []*Fault{{Block: -1, Kind: EmbeddingFault}, {Block: 9, Kind: LogitsFault}, {Block: 9, Kind: LogitsFault}, {Block: 9, Kind: LogitsFault}, {Block: 9, Kind: DecodingFault, Pass: "decode"}},
			[]string{"Embedding", "Logits", "Logits", "Logits", "Decoding"}, []int{0, 0, 0, 0, 0}},
	} {
		var titles []string
		var places []int
		for _, f := range r.Fold(tt.faults, false) {
			titles, places = append(titles, f.Title()), append(places, f.Places)
		}
		if !slices.Equal(titles, tt.want) || !slices.Equal(places, tt.places) {
			t.Errorf("%s: %q, %d, want %q, %d", tt.name, titles, places, tt.want, tt.places)
		}
	}

	if got := r.Fold(of(plain, MLPHalf, 0, 3), true); len(got) != 1 || got[0].Title() != "Blocks 0 and 3, MLP" {
		t.Errorf("%d faults that are explained", len(got))
	}
	all := of(because("c"), TemporalHalf, 2, 4)
	all[0].Worst.Share, all[0].Where, all[1].Where = Number(math.Inf(1)), "x", "y"
	one := r.Fold(all, false)[0]
	if want := "all 2 attention blocks, temporal half: first wrong at token 2 of row 0 (position 0), worst in block 2 at token 2 of row 0, channel 0; explained by: c"; one.Detail != want || one.WorstIn() != "block 2" {
		t.Errorf("%q, want %q", one.Detail, want)
	}
	if want := []string{"shared", "temporal2", "temporal4"}; !slices.Equal(one.Tensors, want) || len(all[0].Tensors) != 2 || all[0].Detail != "" {
		t.Errorf("%q, want %q", one.Tensors, want)
	}
	mixed := r.Fold(slices.Concat(of(plain, TemporalHalf, 0, 1), of(plain, MLPHalf, 1, 6)), false)[0]
	if want := "blocks 0, 1 and 6: first wrong at token 2 of row 0 (position 0), worst in block 6, MLP at token 6 of row 0, channel 0, 16 times the envelope"; mixed.Detail != want {
		t.Errorf("%q, want %q", mixed.Detail, want)
	}
}

// A fold begins where the first of its faults does, which is named if others begin later, and has the site, the token and the pass of it. Faults that are
// first outside in different passes are apart.
func TestFoldedFirst(t *testing.T) {
	r := &Result{Blocks: slices.Repeat([]model.BlockType{model.Recurrent}, 5)}
	fault := func(block int, half Half, pass string, row, token int) *Fault {
		return &Fault{Block: block, Half: half, Kind: RecurrentFault, Site: hidden(block + 1), Pass: pass, First: Location{Row: row, Token: token}, Cause: "c", Setting: &Setting{Name: EpsilonSetting}}
	}
	for _, tt := range []struct {
		name   string
		faults []*Fault
		want   []string // the titles, and where each is first wrong
	}{
		{"all at one token", []*Fault{fault(0, MLPHalf, "", 1, 2), fault(1, MLPHalf, "", 1, 2)}, []string{"Blocks 0 and 1, MLP: hidden.1 at token 2 of row 1"}},
		{"a later block", []*Fault{fault(0, MLPHalf, "", 1, 2), fault(1, MLPHalf, "", 0, 3), fault(2, MLPHalf, "", 1, 1)}, []string{"Blocks 0 to 2, MLP: hidden.2 in block 1 at token 3 of row 0"}},
		{"the first block", []*Fault{fault(0, MLPHalf, "", 0, 2), fault(1, MLPHalf, "", 0, 3)}, []string{"Blocks 0 and 1, MLP: hidden.1 in block 0 at token 2 of row 0"}},
		{"a half", []*Fault{fault(0, MLPHalf, "", 0, 2), fault(1, TemporalHalf, "", 0, 1)}, []string{"Blocks 0 and 1: hidden.2 in block 1, temporal half (recurrent) at token 1 of row 0"}},
		{"other passes", []*Fault{fault(0, MLPHalf, "packed", 0, 2), fault(1, MLPHalf, "", 0, 8), fault(2, MLPHalf, "packed", 0, 1)},
			[]string{"Blocks 0 and 2, MLP: hidden.3 in block 2 at packed token 1 of row 0", "Block 1, MLP half: hidden.2 at token 8 of row 0"}},
	} {
		var got []string
		for _, f := range r.Fold(tt.faults, false) {
			_, first, _ := strings.Cut(f.describe(), "first wrong")
			first, _, _ = strings.Cut(first, " (position")
			got = append(got, f.Title()+": "+f.Site+first)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What faults that are one have in common is kept, and what only some have is not. One block is no kind of blocks, and up to seven are named.
func TestFoldedInCommon(t *testing.T) {
	r := &Result{Blocks: []model.BlockType{model.Recurrent, model.Attention, model.Recurrent, model.Recurrent, model.Recurrent, model.Recurrent, model.Recurrent, model.Recurrent, model.Recurrent}}
	of := func(half Half, where string, blocks ...int) (all []*Fault) {
		for _, b := range blocks {
			all = append(all, &Fault{Block: b, Half: half, Kind: FaultKind(r.Blocks[b]), Where: where, Cause: "c", Setting: &Setting{Name: EpsilonSetting}})
		}
		return all
	}
	for _, tt := range []struct {
		faults       []*Fault
		title, where string
	}{
		{of(MLPHalf, "x", 0, 1, 3), "Blocks 0, 1 and 3, MLP", "x"},
		{append(of(MLPHalf, "x", 0, 1), of(MLPHalf, "y", 3)...), "Blocks 0, 1 and 3, MLP", ""},
		{append(of(MLPHalf, "x", 1), of(TemporalHalf, "x", 1)...), "Block 1, both halves", "x"},
		{of(MLPHalf, "", 0, 1, 2, 3, 4, 5, 6), "Blocks 0 to 6, MLP", ""},
	} {
		got := r.Fold(tt.faults, false)
		if len(got) != 1 || got[0].Title() != tt.title || got[0].Where != tt.where {
			t.Errorf("%d faults: %q, %q, want %q, %q", len(got), got[0].Title(), got[0].Where, tt.title, tt.where)
		}
	}

	broken := func(block int, name string, nan int64) *Fault {
		one := brokenTensor{name: name}
		one.NaN = nan
		f := &Fault{Block: block, Kind: RecurrentFault, broken: []brokenTensor{one}}
		f.blameBroken()
		return f
	}
	first := broken(0, "a", 1)
	got := r.Fold([]*Fault{first, broken(2, "b", 20), broken(3, "c", 300)}, false)
	if len(got) != 1 || got[0].Cause != "a and 2 more tensors, which hold 321 NaN" || !slices.Equal(got[0].Tensors, []string{"a", "b", "c"}) || len(first.broken) != 1 {
		t.Errorf("%d faults: %s, %q", len(got), got[0].Cause, got[0].Tensors)
	}
}

// Blocks that follow each other are a range; of many parts the first are named.
func TestNumbersOf(t *testing.T) {
	for _, tt := range []struct {
		numbers []int
		want    string
	}{
		{[]int{3}, "3"}, {[]int{3, 4}, "3 and 4"}, {[]int{3, 4, 5}, "3 to 5"}, {[]int{0, 1, 3, 4, 5, 9}, "0, 1, 3 to 5 and 9"},
		{[]int{0, 1, 3, 4, 6, 7, 9}, "0, 1, 3, 4, 6, 7 and 9"}, {[]int{0, 1, 3, 4, 6, 7, 9, 10}, "0, 1, 3, 4, 6, 7 and 2 more"},
		{[]int{0, 1, 2, 3, 5, 7, 9, 11, 13, 15, 16, 17}, "0 to 3, 5, 7, 9, 11, 13 and 3 more"},
	} {
		if got := numbersOf(tt.numbers); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.numbers, got, tt.want)
		}
	}
}
