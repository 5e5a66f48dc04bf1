package model

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// headAnd returns a head, and embeddings: the head divided, and copies, whose last element is another.
func headAnd(t *testing.T, by float64) (head *tensor.Tensor, embeddings map[HeadRelation][]byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	head = randomTensor(rng, "lm_head.weight", tensor.BF16, 700, 1000) // more than one step of a comparison
	content := readAll(t, head)
	divide, err := tensor.NewDivide(tensor.BF16, tensor.BF16, by)
	if err != nil {
		t.Fatal(err)
	}
	divided, own := make([]byte, len(content)), bytes.Clone(content)
	divide(divided, content)
	own[len(own)-1] ^= 1
	return head, map[HeadRelation][]byte{CopiedHead: content, UnscaledHead: divided, SeparateHead: own}
}

func TestRelate(t *testing.T) {
	head, embeddings := headAnd(t, 6)
	nearly := bytes.Clone(embeddings[UnscaledHead])
	nearly[len(nearly)-1] ^= 1
	for _, tt := range []struct {
		want    HeadRelation
		content []byte
	}{{CopiedHead, embeddings[CopiedHead]}, {UnscaledHead, embeddings[UnscaledHead]}, {SeparateHead, embeddings[SeparateHead]}, {SeparateHead, nearly}} {
		embedding := withData(&tensor.Tensor{Name: "e", DType: tensor.BF16, Shape: head.Shape}, tt.content)
		if got, err := relate(t.Context(), embedding, head, 6); got != tt.want || err != nil {
			t.Errorf("%d, want %d: %v", got, tt.want, err)
		}
		embedding.Data = &tensortest.Stream{Content: tt.content[:len(tt.content)-2]}
		var bad *tensor.FormatError
		if got, err := relate(t.Context(), embedding, head, 6); tt.want != SeparateHead && (got != UnknownHead || !errors.As(err, &bad) || bad.Tensor != "e") {
			t.Errorf("embedding that ends early: %d, %v", got, err)
		}
	}
	// A type that cannot be divided can be copied.
	whole := withData(&tensor.Tensor{Name: "e", DType: tensor.I8, Shape: []int64{4}}, []byte("abcd"))
	other := withData(&tensor.Tensor{Name: "h", DType: tensor.I8, Shape: []int64{4}}, []byte("abcx"))
	if got, err := relate(t.Context(), whole, whole, 6); got != CopiedHead || err != nil {
		t.Errorf("integers: %d, %v", got, err)
	}
	if got, err := relate(t.Context(), whole, other, 6); got != SeparateHead || err != nil {
		t.Errorf("other integers: %d, %v", got, err)
	}
}

func TestResolveRelation(t *testing.T) {
	head, embeddings := headAnd(t, huggingface.EmbeddingScale(1000))
	embedding := func(d tensor.DType, content []byte, shape ...int64) *tensor.Tensor {
		return withData(&tensor.Tensor{Name: "model.embed_tokens.weight", DType: d, Shape: shape}, content)
	}
	unscaled := embedding(tensor.BF16, embeddings[UnscaledHead], 700, 1000)
	untied, tied := &hfconfig.Config{}, &hfconfig.Config{TieWordEmbeddings: true}
	for _, tt := range []struct {
		name      string
		m         Model
		embedding *tensor.Tensor
		want      HeadRelation
	}{
		{"unscaled", Model{Layout: HuggingFace, Heads: []Head{{head, nil}}, files: &files{config: untied}}, unscaled, UnscaledHead},
		{"copied", Model{Layout: HuggingFace, Heads: []Head{{head, nil}}, files: &files{config: untied}}, embedding(tensor.BF16, embeddings[CopiedHead], 700, 1000), CopiedHead},
		{"tied", Model{Layout: HuggingFace, Heads: []Head{{head, nil}}, files: &files{config: tied}}, unscaled, UnknownHead},
		{"no head", Model{Layout: HuggingFace, files: &files{config: untied}}, unscaled, UnknownHead},
		{"an original", Model{Layout: Torch, Heads: []Head{{head, nil}}, files: &files{}, Config: Config{SeparateHead: true}}, unscaled, UnknownHead},
		{"no config, untied", Model{Layout: HuggingFace, Heads: []Head{{head, nil}}, files: &files{}, Config: Config{SeparateHead: true}}, unscaled, UnscaledHead},
		{"no config, tied", Model{Layout: HuggingFace, Heads: []Head{{head, nil}}, files: &files{}}, unscaled, UnknownHead},
		{"untied by an adapter", Model{Layout: HuggingFace, Heads: []Head{{head, nil}}, files: &files{config: tied}, headChanged: true, Config: Config{SeparateHead: true}}, unscaled, UnscaledHead},
		{"no embedding", Model{Layout: HuggingFace, Heads: []Head{{head, nil}}, files: &files{config: untied}}, nil, SeparateHead},
		{"another type", Model{Layout: HuggingFace, Heads: []Head{{head, nil}}, files: &files{config: untied}}, embedding(tensor.F16, embeddings[CopiedHead], 700, 1000), SeparateHead},
		{"another shape", Model{Layout: HuggingFace, Heads: []Head{{head, nil}}, files: &files{config: untied}}, embedding(tensor.BF16, embeddings[CopiedHead], 1000, 700), SeparateHead},
	} {
		m := &tt.m
		m.Family, m.Config.Width, m.found = Griffin, 1000, newByKey()
		if tt.embedding != nil {
			m.found.add("embed_tokens.weight", tt.embedding)
			m.found.add("embedder.input_embedding", tt.embedding)
		}
		if err := resolveRelation(t.Context(), m); err != nil || m.HeadRelation != tt.want {
			t.Errorf("%s: %d, want %d: %v", tt.name, m.HeadRelation, tt.want, err)
		}
	}
}

func TestCopyCheck(t *testing.T) {
	content := bytes.Repeat([]byte("abcdefgh"), 200_000) // more than one step
	of := withData(&tensor.Tensor{Name: "e", DType: tensor.BF16, Shape: []int64{800, 1000}}, content)
	for _, tt := range []struct {
		name    string
		dtype   tensor.DType
		shape   []int64
		differs int // byte
		want    int64
	}{
		{"equal", tensor.BF16, []int64{800, 1000}, -1, -1},
		{"first", tensor.BF16, []int64{800, 1000}, 0, 0},
		{"second byte of the third", tensor.BF16, []int64{800, 1000}, 5, 2},
		{"in the second step", tensor.BF16, []int64{800, 1000}, compareStep + 6, compareStep/2 + 3},
		{"last", tensor.BF16, []int64{800, 1000}, len(content) - 1, 799_999},
		{"another type", tensor.F16, []int64{800, 1000}, -1, 0},
		{"another shape", tensor.BF16, []int64{1000, 800}, -1, 0},
	} {
		other := bytes.Clone(content)
		if tt.differs >= 0 {
			other[tt.differs] ^= 1
		}
		c := Copy{Of: of, Tensor: withData(&tensor.Tensor{Name: "h", DType: tt.dtype, Shape: tt.shape}, other), View: tensor.RowMajor(tt.shape...)}
		if at, err := c.Check(t.Context()); at != tt.want || err != nil {
			t.Errorf("%s: %d, want %d: %v", tt.name, at, tt.want, err)
		}
	}
}

// unknownLayout is data whose layout cannot be found.
type unknownLayout struct{ tensor.Data }

func (unknownLayout) Strided() (*tensor.Strided, error) { return nil, io.ErrClosedPipe }

func TestSharesStorage(t *testing.T) {
	file := bytes.NewReader(make([]byte, 100))
	at := tensor.Strided{Store: file, Base: 4, Length: 12, DType: tensor.F32, View: tensor.RowMajor(3, 4)}
	changed := func(change func(s *tensor.Strided)) *tensor.Tensor {
		s := at
		change(&s)
		return &tensor.Tensor{DType: tensor.F32, Shape: s.View.Shape, Data: &s}
	}
	same := changed(func(*tensor.Strided) {})
	for _, tt := range []struct {
		name  string
		other *tensor.Tensor
		view  tensor.View
		want  bool
	}{
		{"the same", changed(func(*tensor.Strided) {}), tensor.RowMajor(3, 4), true},
		{"a file that is checked", changed(func(s *tensor.Strided) { s.Store = tensor.NewCheckedStore(file, nil) }), tensor.RowMajor(3, 4), true},
		{"transposed", changed(func(*tensor.Strided) {}), tensor.RowMajor(3, 4).Permute(1, 0), false},
		{"another file", changed(func(s *tensor.Strided) { s.Store = bytes.NewReader(nil) }), tensor.RowMajor(3, 4), false},
		{"another place", changed(func(s *tensor.Strided) { s.Base = 8 }), tensor.RowMajor(3, 4), false},
		{"another type", changed(func(s *tensor.Strided) { s.DType = tensor.I32 }), tensor.RowMajor(3, 4), false},
		{"another order of bytes", changed(func(s *tensor.Strided) { s.BigEndian = true }), tensor.RowMajor(3, 4), false},
		{"another offset", changed(func(s *tensor.Strided) { s.View.Offset = 1 }), tensor.RowMajor(3, 4), false},
		{"another shape", changed(func(s *tensor.Strided) { s.View = tensor.RowMajor(4, 3) }), tensor.RowMajor(4, 3), false},
		{"other strides", changed(func(s *tensor.Strided) { s.View.Strides = []int64{1, 3} }), tensor.RowMajor(3, 4), false},
		{"decoded", &tensor.Tensor{Data: &tensortest.Stream{}}, tensor.RowMajor(3, 4), false},
		{"unknown", &tensor.Tensor{Data: unknownLayout{}}, tensor.RowMajor(3, 4), false},
	} {
		for _, c := range []Copy{{Of: same, Tensor: tt.other, View: tt.view}, {Of: tt.other, Tensor: same, View: tt.view}} {
			if got := c.sharesStorage(); got != tt.want {
				t.Errorf("%s: %t", tt.name, got)
			}
		}
	}
}

// What is said of a head that differs from the embedding to which it should be tied.
func TestCheckCopiesDiffers(t *testing.T) {
	c := Copy{Of: withData(named("embedding", 2, 2), countingData(4)), Tensor: withData(named("head", 2, 2), append(countingData(3), 9, 9, 9, 9)), View: tensor.RowMajor(2, 2)}
	for _, tt := range []struct {
		layout Layout
		config *hfconfig.Config
		want   string
	}{
		{Torch, nil, "nothing states"}, {HuggingFace, nil, "nothing states"}, {Torch, &hfconfig.Config{}, "nothing states"}, {HuggingFace, &hfconfig.Config{}, "config.json ties"},
	} {
		m := &Model{Layout: tt.layout, files: &files{config: tt.config}, Checkpoint: &tensor.Checkpoint{Path: "x"}}
		err := CheckCopies(t.Context(), m, []Copy{c})
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || bad.Tensor != "head" || !strings.Contains(err.Error(), "from element 3 on") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, config.json %t: %v", tt.layout, tt.config != nil, err)
		}
		if err := CheckCopies(t.Context(), m, []Copy{{Of: c.Of, Tensor: c.Of, View: c.View}}); err != nil {
			t.Error(err)
		}
		first := Copy{Of: c.Of, Tensor: withData(named("head", 2, 2), append([]byte{1}, countingData(4)[1:]...)), View: c.View}
		if err := CheckCopies(t.Context(), m, []Copy{first}); err == nil {
			t.Error("the first element differs, and nothing is said")
		}
	}
}

// The head of a tied Hugging Face model stands for an embedding that is not there.
func TestEmbedByHead(t *testing.T) {
	head := named("lm_head.weight", 8, 4)
	for _, tt := range []struct {
		name   string
		layout Layout
		heads  []Head
		found  bool
		config *hfconfig.Config
		want   bool
	}{
		{"no config", HuggingFace, []Head{{head, nil}}, false, nil, true},
		{"tied", HuggingFace, []Head{{head, nil}}, false, &hfconfig.Config{TieWordEmbeddings: true}, true},
		{"untied", HuggingFace, []Head{{head, nil}}, false, &hfconfig.Config{}, false},
		{"an original", Torch, []Head{{head, nil}}, false, nil, false},
		{"an embedding", HuggingFace, []Head{{head, nil}}, true, nil, false},
		{"no head", HuggingFace, nil, false, nil, false},
		{"two heads", HuggingFace, []Head{{head, nil}, {head, nil}}, false, nil, false},
	} {
		m := &Model{Family: Griffin, Layout: tt.layout, Heads: tt.heads, files: &files{config: tt.config}, found: newByKey()}
		if tt.found {
			m.found.add(Griffin.EmbeddingName(tt.layout), named("embedding", 8, 4))
		}
		recognizer{m}.embedByHead()
		if got := m.EmbeddedByHead; got != tt.want || got != (m.Embedding() == head) || got != (len(m.Notes) == 1) || got && len(m.Heads) > 0 {
			t.Errorf("%s: %t, %q", tt.name, got, m.Notes)
		}
	}
}

// A config.json says whether a head is tied, so that nothing is read.
func TestResolveHeadStated(t *testing.T) {
	m := modelWithWeights(t, rand.New(rand.NewPCG(1, 1)), &tinyConfig, HuggingFace, tensor.BF16)
	broken := &tensor.Tensor{Name: "lm_head.weight", DType: tensor.BF16, Shape: slices.Clone(m.Embedding().Shape), Data: tensortest.Broken{Err: io.ErrClosedPipe}}
	m.Heads = []Head{{broken, nil}}
	for _, tt := range []struct {
		name    string
		files   files
		changed bool
		layout  Layout
		want    error
	}{
		{"stated", files{config: &hfconfig.Config{}}, false, HuggingFace, nil},
		{"corrupt", files{configErr: io.ErrUnexpectedEOF}, false, HuggingFace, io.ErrUnexpectedEOF},
		{"not stated", files{}, false, HuggingFace, io.ErrClosedPipe},
		{"changed by an adapter", files{config: &hfconfig.Config{}}, true, HuggingFace, io.ErrClosedPipe},
	} {
		m.files, m.headChanged, m.Layout = &tt.files, tt.changed, tt.layout
		if err := resolveHead(t.Context(), m); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
