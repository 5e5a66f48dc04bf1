package golden

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
)

// RecordOptions choose what a fixture holds.
type RecordOptions struct {
	LogitsOnly bool // no hidden states
	DecodeFrom int  // also record decoding, of tokens from this one of each row on; 0 for no decoding

	// Digest identifies the weights in the metadata, as a text of DigestLength bytes. It is called after the runs, so that it
	// can be computed from what they read; nil for none.
	Digest       func(context.Context) (string, error)
	DigestLength int
	Step         string // of the training run that the model is of, for the metadata; "" for none
	Source       fs.FS  // of the weights, nil for none: it is an error if they change before the fixture is complete
}

// Recording describes the fixture that Record wrote.
type Recording struct {
	Path        string `json:"path"`
	Bytes       int64  `json:"bytes"`
	Tensors     int    `json:"tensors"`
	Batch       int    `json:"batch"`
	Length      int    `json:"length"`
	Packed      bool   `json:"packed"`
	DecodeStart int    `json:"decode_start,omitempty"`
	Step        string `json:"step,omitempty"`      // RecordOptions.Step
	Quantized   string `json:"quantized,omitempty"` // what a quantised copy is, which was run dequantised
	Semantics   string `json:"semantics"`
	Arithmetic  string `json:"arithmetic"`
	ModelDigest string `json:"model_digest"`
}

// Record runs a model over tokens and writes the results as a fixture, which replaces the file at path only when it is
// complete. Memory does not grow with the number of tokens times the vocabulary. Tokens outside the vocabulary, logits that are
// not finite and weights that change meanwhile give a *tensor.FormatError.
func Record(ctx context.Context, path string, m *reference.Model, t *Tokens, o RecordOptions) (*Recording, error) {
	if err := t.check(m.Config.VocabSize); err != nil {
		return nil, err
	}
	if len(t.IDs) > maxRecorded {
		return nil, tensor.Bad("%d tokens, but a fixture has 1 to %d", len(t.IDs), maxRecorded)
	}
	if o.DecodeFrom < 0 || o.DecodeFrom > t.Length {
		return nil, fmt.Errorf("decoding cannot start at token %d of rows of %d tokens", o.DecodeFrom, t.Length)
	}
	r := &recorder{model: m, tokens: t, options: o}
	r.declare()
	if o.Digest != nil {
		r.digest = strings.Repeat("?", o.DigestLength)
	}
	layout, err := safetensors.NewLayout(r.specs, 0, r.metadata())
	if err != nil {
		return nil, err
	}
	size := layout.Files[0].Size
	err = publish.Replace(path, size, func(w io.WriterAt) error {
		r.file, r.ranges = w, layout.Ranges
		r.writer = newWriter(w)
		if err := r.writer.close(r.record(ctx)); err != nil {
			return err
		}
		if err := r.writeHeader(ctx, len(layout.Header(0))); err != nil {
			return err
		}
		return storage.Unchanged(o.Source)
	})
	if err != nil {
		return nil, err
	}
	return &Recording{Path: path, Bytes: size, Tensors: len(r.specs), Batch: t.Batch, Length: t.Length, Packed: t.Packed != nil,
		DecodeStart: o.DecodeFrom, Step: o.Step, Semantics: m.Semantics.String(), Arithmetic: m.Arithmetic.Precision.String(), ModelDigest: r.digest}, nil
}

// recorder writes one fixture.
type recorder struct {
	model   *reference.Model
	tokens  *Tokens
	options RecordOptions
	digest  string // of the weights; another text of its length until it is known

	specs  []tensor.Spec
	index  map[string]int // of a tensor in specs and ranges, by name
	file   io.WriterAt
	writer *writer // of floats to file
	ranges []safetensors.Range
}

func (r *recorder) metadata() map[string]string {
	meta := map[string]string{
		"implementation": string(Griffin),
		"griffin":        convert.ToolVersion(),
		"semantics":      r.model.Semantics.String(),
		"dtype":          r.model.Arithmetic.Precision.String(),
		"backend":        "cpu " + runtime.GOARCH,
	}
	if r.digest != "" {
		meta["model_digest"] = r.digest
	}
	if r.options.Step != "" {
		meta["step"] = r.options.Step
	}
	if r.options.DecodeFrom > 0 {
		meta["decode_start"] = strconv.Itoa(r.options.DecodeFrom)
	}
	return meta
}

// writeHeader writes the header, which has that length, with the digest of the weights.
func (r *recorder) writeHeader(ctx context.Context, length int) (err error) {
	if r.options.Digest != nil {
		if r.digest, err = r.options.Digest(ctx); err != nil {
			return err
		}
	}
	layout, err := safetensors.NewLayout(r.specs, 0, r.metadata())
	if err != nil {
		return err
	}
	header := layout.Header(0)
	if len(header) != length {
		return fmt.Errorf("the digest %q is not of the length %d", r.digest, r.options.DigestLength)
	}
	_, err = r.file.WriteAt(header, 0)
	return err
}

// declare lists the tensors that will be written.
func (r *recorder) declare() {
	t, c := r.tokens, &r.model.Config
	r.index = map[string]int{}
	add := func(name string, dtype tensor.DType, shape ...int64) {
		r.index[name] = len(r.specs)
		r.specs = append(r.specs, tensor.Spec{Name: name, DType: dtype, Shape: shape})
	}
	batch, length, width, vocabulary := int64(t.Batch), int64(t.Length), int64(c.Width), int64(c.VocabSize)
	add("tokens", tensor.I32, batch, length)
	for _, prefix := range r.prefixes() {
		add(prefix+"positions", tensor.I32, batch, length)
		add(prefix+"logits", tensor.F32, batch, length, vocabulary)
		if r.options.LogitsOnly {
			continue
		}
		for i := range len(c.BlockTypes) + 1 {
			add(fmt.Sprintf("%shidden.%d", prefix, i), tensor.F32, batch, length, width)
		}
		for i := range c.BlockTypes {
			add(fmt.Sprintf("%stemporal.%d", prefix, i), tensor.F32, batch, length, width)
		}
		add(prefix+"final_norm", tensor.F32, batch, length, width)
	}
	if r.options.DecodeFrom > 0 {
		add("decode.logits", tensor.F32, batch, length-int64(r.options.DecodeFrom)+1, vocabulary)
	}
}

func (r *recorder) prefixes() []string {
	if r.tokens.Packed != nil {
		return []string{"", "packed."}
	}
	return []string{""}
}

// record runs the passes and writes their results.
func (r *recorder) record(ctx context.Context) error {
	if err := r.integers("tokens", r.tokens.IDs); err != nil {
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
		pass := reference.Pass{Tokens: r.tokens.IDs, Positions: positions, Batch: r.tokens.Batch, Transient: true}
		err := forward.Run(ctx, r.model, pass, func(result forward.Result) error {
			return r.floats(prefix+result.Name(), &result)
		})
		if err != nil {
			return err
		}
	}
	if r.options.DecodeFrom == 0 {
		return nil
	}
	steps := r.tokens.Length - r.options.DecodeFrom + 1
	return forward.Decode(ctx, r.model, r.tokens.IDs, r.tokens.Batch, r.options.DecodeFrom, func(position int, logits *reference.Activations) error {
		for b := range r.tokens.Batch {
			result := forward.Result{Token: b*steps + position - r.options.DecodeFrom + 1}
			result.Activations = *forward.Tokens(logits, b, 1)
			if err := r.floats("decode.logits", &result); err != nil {
				return err
			}
		}
		return nil
	})
}

// floats writes a result. Tensors that are not declared are skipped.
func (r *recorder) floats(name string, result *forward.Result) error {
	i, ok := r.index[name]
	if !ok {
		return nil
	}
	a, width, base := &result.Activations, r.specs[i].Shape[2], r.ranges[i].Offset
	if strings.HasSuffix(name, "logits") && !isFinite(a) {
		return tensor.Bad("%w, those of token %d first: nothing could be compared with them", ErrNotFinite, result.Token)
	}
	if int64(a.Width) == width {
		return r.writer.floats(a, 0, a.Len(), base+4*width*int64(result.Token))
	}
	for row := range a.Len() / a.Width {
		if err := r.writer.floats(a, row*a.Width, a.Width, base+4*(width*int64(result.Token+row)+int64(result.First))); err != nil {
			return err
		}
	}
	return nil
}

// ErrNotFinite is the cause of the *tensor.FormatError that Record returns if logits are NaN or infinite.
var ErrNotFinite = errors.New("logits are not finite")

// isFinite reports whether no element is NaN or infinite as float32.
func isFinite(a *reference.Activations) bool {
	var zero float32 // NaN once an element is not finite
	for _, x := range a.Float32 {
		zero += x - x
	}
	for _, x := range a.Float64 {
		written := float32(x)
		zero += written - written
	}
	return zero == 0
}

// integers writes tokens or positions.
func (r *recorder) integers(name string, values []int32) error {
	p := make([]byte, 0, 4*len(values))
	for _, v := range values {
		p = binary.LittleEndian.AppendUint32(p, uint32(v))
	}
	_, err := r.file.WriteAt(p, r.ranges[r.index[name]].Offset)
	return err
}
