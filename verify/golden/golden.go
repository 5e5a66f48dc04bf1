// Package golden reads and writes golden fixtures: what an implementation computed for some tokens, as a safetensors
// file. Record writes one with the reference implementation; Script returns a Python program that writes one with
// google-deepmind/recurrentgemma or with transformers. GOLDEN.md describes the format.
package golden

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// Fixture is an open golden fixture. Its tensors are float32 or int32:
//
//	tokens        int32   [batch, length]
//	positions     int32   [batch, length]          optional: 0, 1, 2, … in each row
//	logits        float32 [batch, length, vocabulary]
//	hidden.0      float32 [batch, length, width]   optional: the embeddings, scaled
//	hidden.i      float32 [batch, length, width]   optional: the output of block i-1
//	temporal.i    float32 [batch, length, width]   optional: the output of block i's temporal half,
//	                                               before it is added
//	final_norm    float32 [batch, length, width]   optional
//	decode.logits float32 [batch, length - decode_start + 1, vocabulary], optional: the logits from
//	              position decode_start - 1 on, with tokens from decode_start on given one at a time
//	packed.*      the same tokens at packed.positions: rows of several documents, each of which
//	              starts at position 0
//
// Tensors with other names are ignored.
type Fixture struct {
	Path   string
	Meta   Meta
	Passes []Pass    // the plain pass, then the packed one if it was recorded
	Decode *Decoding // nil if decoding was not recorded

	checkpoint *tensor.Checkpoint
}

// Pass is one run of the tokens through the model.
type Pass struct {
	Name          string // "" or "packed"
	Batch, Length int
	Tokens        []int32 // [Batch, Length]
	Positions     []int32 // [Batch, Length]

	tensors map[string]*tensor.Tensor // by the names that reference.Observation gives
}

// Decoding is a run of the plain pass's tokens with a state, one token at a time.
type Decoding struct {
	Start  int // tokens at the start of each row that were given at once
	Length int // positions of each row that have logits, from Start-1 on

	logits *tensor.Tensor
}

// Open opens a fixture. It checks metadata, tokens, and the names, types and shapes of the tensors; activations are
// read when they are asked for. A file that is not a fixture gives a *tensor.FormatError.
func Open(path string) (*Fixture, error) {
	checkpoint, err := openFile(path)
	if err != nil {
		return nil, err
	}
	f := &Fixture{Path: path, checkpoint: checkpoint}
	if err := f.read(); err != nil {
		checkpoint.Close()
		return nil, tensor.Annotate(err, tensor.Location{File: path})
	}
	return f, nil
}

// openFile opens a safetensors file of the local file system.
func openFile(path string) (*tensor.Checkpoint, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return safetensors.Open(source, name)
}

// Close closes the file.
func (f *Fixture) Close() error { return f.checkpoint.Close() }

// Unchanged returns a *tensor.FormatError if the file was changed since it was opened.
func (f *Fixture) Unchanged() error { return storage.Unchanged(f.checkpoint.Source) }

// Pass returns the pass of that name, or nil.
func (f *Fixture) Pass(name string) *Pass {
	for i := range f.Passes {
		if f.Passes[i].Name == name {
			return &f.Passes[i]
		}
	}
	return nil
}

// Names returns the results that were recorded of the pass, in the order of computation: hidden.0, temporal.0,
// hidden.1, …, final_norm, logits.
func (p *Pass) Names() []string {
	var names []string
	for name := range p.tensors {
		names = append(names, name)
	}
	slices.SortFunc(names, compareSites)
	return names
}

// Width returns the size of a result's last axis, or 0 if the result was not recorded.
func (p *Pass) Width(name string) int {
	if t := p.tensors[name]; t != nil {
		return int(t.Shape[2])
	}
	return 0
}

// ReadAt fills dst with consecutive elements of a result [Batch, Length, Width(name)], starting at element first.
func (p *Pass) ReadAt(dst []float32, name string, first int) error {
	t := p.tensors[name]
	if t == nil {
		return tensor.Bad("fixture has no %s", p.FullName(name))
	}
	return readFloats(dst, t, first)
}

// Read returns a whole result.
func (p *Pass) Read(name string) (*reference.Activations, error) {
	width := p.Width(name)
	a := &reference.Activations{Batch: p.Batch, Length: p.Length, Width: width, Float32: make([]float32, p.Batch*p.Length*width)}
	return a, p.ReadAt(a.Float32, name, 0)
}

// FullName returns the name of a result's tensor in the file.
func (p *Pass) FullName(name string) string {
	if p.Name == "" {
		return name
	}
	return p.Name + "." + name
}

// ReadAt fills dst with consecutive logits [batch, Length, vocabulary], starting at element first.
func (d *Decoding) ReadAt(dst []float32, first int) error {
	return readFloats(dst, d.logits, first)
}

// Vocabulary returns the number of logits of each position.
func (d *Decoding) Vocabulary() int { return int(d.logits.Shape[2]) }

// ParseSite splits the name of a result, as reference.Observation.Name gives it, into the site and the index.
func ParseSite(name string) (site reference.Site, index int, ok bool) {
	kind, number, numbered := strings.Cut(name, ".")
	switch kind {
	case "hidden", "temporal":
		index, _ := strconv.Atoi(number)
		if strconv.Itoa(index) != number || index < 0 || index > maxTokens {
			return 0, 0, false
		}
		if kind == "hidden" {
			return reference.Hidden, index, true
		}
		return reference.Temporal, index, true
	case "final_norm":
		return reference.FinalNormed, 0, !numbered
	case "logits":
		return reference.Logits, 0, !numbered
	}
	return 0, 0, false
}

// compareSites orders names of results as a pass computes them.
func compareSites(a, b string) int {
	order := func(name string) (index int, site reference.Site) {
		site, index, _ = ParseSite(name)
		if site == reference.FinalNormed || site == reference.Logits {
			index = maxTokens + 1 // after all blocks
		}
		return index, site
	}
	i, x := order(a)
	j, y := order(b)
	return cmp.Or(cmp.Compare(i, j), cmp.Compare(x, y))
}
