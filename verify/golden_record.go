package verify

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// RecordOptions say what a fixture is to hold.
type RecordOptions struct {
	Semantics  reference.Semantics
	Arithmetic reference.Arithmetic
	LogitsOnly bool   // no hidden states
	DecodeFrom int    // also the logits of decoding, from this token of each row on; 0 for none
	Digest     string // of the weights, as Model.Digest gives it
}

// Recording is what Record wrote.
type Recording struct {
	Path        string `json:"path"`
	Bytes       int64  `json:"bytes"`
	Tensors     int    `json:"tensors"`
	Batch       int    `json:"batch"`
	Length      int    `json:"length"`
	Packed      bool   `json:"packed"`
	DecodeStart int    `json:"decode_start,omitempty"`
	Semantics   string `json:"semantics"`
	Arithmetic  string `json:"arithmetic"`
	ModelDigest string `json:"model_digest"`
}

// Record runs a model on tokens and writes what it shows as a fixture, in one step: until then path
// is as it was. Memory does not grow with the tokens times the vocabulary.
func Record(ctx context.Context, m *Model, t *Tokens, o RecordOptions, path string) (*Recording, error) {
	if err := t.check(m.Config.VocabSize); err != nil {
		return nil, err
	}
	if o.DecodeFrom < 0 || o.DecodeFrom > t.Length {
		return nil, &convert.SettingsError{Problem: fmt.Sprintf("decoding cannot begin at token %d of rows of %d", o.DecodeFrom, t.Length)}
	}
	r := &recorder{model: m, tokens: t, options: o, run: m.Reference(o.Semantics, o.Arithmetic)}
	r.declare()
	layout, err := safetensors.NewLayout(r.specs, 0, r.metadata())
	if err != nil {
		return nil, err
	}
	size := layout.Files[0].Size
	err = storage.Replace(path, size, func(w *os.File) error {
		if _, err := w.WriteAt(layout.Files[0].Header, 0); err != nil {
			return err
		}
		r.file, r.places = w, layout.Places
		return r.record(ctx)
	})
	if err != nil {
		return nil, err
	}
	return &Recording{Path: path, Bytes: size, Tensors: len(r.specs), Batch: t.Batch, Length: t.Length, Packed: t.Packed != nil,
		DecodeStart: o.DecodeFrom, Semantics: o.Semantics.String(), Arithmetic: o.Arithmetic.Precision.String(), ModelDigest: o.Digest}, nil
}

// recorder writes one fixture.
type recorder struct {
	model   *Model
	run     *reference.Model
	tokens  *Tokens
	options RecordOptions

	specs  []safetensors.Spec
	at     map[string]int // index into specs and places, by name
	file   *os.File
	places []safetensors.Place
	buffer []byte
}

func (r *recorder) metadata() map[string]string {
	meta := map[string]string{
		"implementation": ImplementationGriffin,
		"griffin":        convert.ToolVersion(),
		"semantics":      r.options.Semantics.String(),
		"dtype":          r.options.Arithmetic.Precision.String(),
		"backend":        "cpu " + runtime.GOARCH,
	}
	if r.options.Digest != "" {
		meta["model_digest"] = r.options.Digest
	}
	if r.options.DecodeFrom > 0 {
		meta["decode_start"] = strconv.Itoa(r.options.DecodeFrom)
	}
	return meta
}

// declare lists the tensors that will be written.
func (r *recorder) declare() {
	t, c := r.tokens, &r.model.Config
	r.at = map[string]int{}
	add := func(name string, dtype tensor.DType, shape ...int64) {
		r.at[name] = len(r.specs)
		r.specs = append(r.specs, safetensors.Spec{Name: name, DType: dtype, Shape: shape})
	}
	batch, length := int64(t.Batch), int64(t.Length)
	add("tokens", tensor.I32, batch, length)
	for _, prefix := range r.prefixes() {
		add(prefix+"positions", tensor.I32, batch, length)
		add(prefix+"logits", tensor.F32, batch, length, c.VocabSize)
		if r.options.LogitsOnly {
			continue
		}
		for i := range len(c.BlockTypes) + 1 {
			add(fmt.Sprintf("%shidden.%d", prefix, i), tensor.F32, batch, length, c.Width)
		}
		for i := range c.BlockTypes {
			add(fmt.Sprintf("%stemporal.%d", prefix, i), tensor.F32, batch, length, c.Width)
		}
		add(prefix+"final_norm", tensor.F32, batch, length, c.Width)
	}
	if r.options.DecodeFrom > 0 {
		add("decode.logits", tensor.F32, batch, length-int64(r.options.DecodeFrom)+1, c.VocabSize)
	}
}

func (r *recorder) prefixes() []string {
	if r.tokens.Packed != nil {
		return []string{"", "packed."}
	}
	return []string{""}
}

// record runs the passes.
func (r *recorder) record(ctx context.Context) error {
	if err := r.integers("tokens", r.tokens.Tokens); err != nil {
		return err
	}
	for _, prefix := range r.prefixes() {
		positions := r.tokens.Positions
		if prefix != "" {
			positions = r.tokens.Packed
		}
		if err := r.integers(prefix+"positions", positions); err != nil {
			return err
		}
		pass := reference.Pass{Tokens: r.tokens.Tokens, Positions: positions, Batch: r.tokens.Batch}
		err := Forward(ctx, r.run, pass, func(result Result) error {
			return r.floats(prefix+result.Name(), result.First*result.Width, &result.Activations)
		})
		if err != nil {
			return err
		}
	}
	if r.options.DecodeFrom == 0 {
		return nil
	}
	steps := r.tokens.Length - r.options.DecodeFrom + 1
	return Decode(ctx, r.run, r.tokens.Tokens, r.tokens.Batch, r.options.DecodeFrom, func(position int, logits *reference.Activations) error {
		for b := range r.tokens.Batch {
			place := (b*steps + position - r.options.DecodeFrom + 1) * logits.Width
			if err := r.floats("decode.logits", place, some(logits, b, 1)); err != nil {
				return err
			}
		}
		return nil
	})
}

// recordPiece is the numbers that are encoded at a time.
const recordPiece = 256 << 10

// floats writes numbers as float32, from element first of a tensor on. A tensor that is not declared is left
// out.
func (r *recorder) floats(name string, first int, a *reference.Activations) error {
	i, ok := r.at[name]
	if !ok {
		return nil
	}
	for from := 0; from < a.Len(); from += recordPiece {
		n := min(recordPiece, a.Len()-from)
		p := r.buffer[:0]
		for k := range n {
			p = binary.LittleEndian.AppendUint32(p, math.Float32bits(float32(a.At(from+k))))
		}
		r.buffer = p
		if _, err := r.file.WriteAt(p, r.places[i].Offset+4*int64(first+from)); err != nil {
			return err
		}
	}
	return nil
}

// integers writes tokens or positions.
func (r *recorder) integers(name string, values []int32) error {
	p := make([]byte, 0, 4*len(values))
	for _, v := range values {
		p = binary.LittleEndian.AppendUint32(p, uint32(v))
	}
	_, err := r.file.WriteAt(p, r.places[r.at[name]].Offset)
	return err
}
