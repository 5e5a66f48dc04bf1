package generate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/internal/stream"
)

// Reasons for which Load refuses a file with a *tensor.FormatError.
const (
	ReasonNotState   tensor.Reason = "not a state file"
	ReasonOtherModel tensor.Reason = "state of another model"
)

// SettingError is the cause of a refusal for ReasonOtherModel if the weights are those of the state, and what they are run with is not.
type SettingError struct {
	Setting     string // the key of the metadata
	State, Have string // its value in the state and in the model
}

func (e *SettingError) Error() string {
	return fmt.Sprintf("state has %s %q, but the model has %q", e.Setting, e.State, e.Have)
}

// stateVersion is the version of the format that STATE.md describes.
const stateVersion = "1"

// logitsName is the tensor with the logits of the last token.
const logitsName = "logits"

// Save reads the token that was generated last, if it has not been read, and writes the state to a file, which
// replaces one that is there when it is complete. digest identifies the weights of the model. STATE.md describes
// the format.
func (s *Session) Save(ctx context.Context, path, digest string) error {
	logits, err := s.predict(ctx)
	if err != nil {
		return err
	}
	snapshot, err := s.stream.State.Snapshot()
	if err != nil {
		return err
	}
	meta := settingsOf(s.stream.Model)
	meta["griffin_state"] = stateVersion
	meta["model_digest"] = digest
	meta["tokens"] = strconv.Itoa(snapshot.Tokens)
	meta["position"] = strconv.Itoa(int(snapshot.Position))
	meta["document_start"] = strconv.Itoa(snapshot.DocumentStart)
	meta["last_token"] = strconv.Itoa(int(s.last))
	content, err := encode(meta, append(snapshot.Arrays, reference.StateArray{Name: logitsName,
		Shape: []int{logits.Len()}, Float32: logits.Float32, Float64: logits.Float64}))
	if err != nil {
		return err
	}
	return publish.ReplaceWith(path, content)
}

// settingKeys are the metadata about what the weights are run with. They must be the same when a state is loaded.
var settingKeys = []string{"semantics", "arithmetic", "attention_window", "logits_soft_cap", "embedding_scale",
	"hidden_activation", "rms_norm_eps", "rope_theta", "partial_rotary_factor", "head_dim", "num_key_value_heads"}

// settingsOf returns the value of each of settingKeys.
func settingsOf(m *reference.Model) map[string]string {
	settings := variantOf(&m.Config)
	settings["semantics"] = m.Semantics.String()
	settings["arithmetic"] = m.Arithmetic.Precision.String()
	settings["attention_window"] = strconv.Itoa(m.Config.AttentionWindow)
	settings["logits_soft_cap"] = decimal(m.Config.LogitsSoftCap)
	settings["embedding_scale"] = strconv.FormatBool(m.Config.EmbeddingScale)
	return settings
}

// variantOf returns those that are the same in all models of the original.
func variantOf(c *reference.Config) map[string]string {
	original := reference.OriginalVariant()
	v := cmp.Or(c.Variant, &original)
	return map[string]string{
		"hidden_activation":     v.Activation.String(),
		"rms_norm_eps":          decimal(v.NormEpsilon),
		"rope_theta":            decimal(v.RopeTheta),
		"partial_rotary_factor": decimal(v.RotaryFactor),
		"head_dim":              strconv.Itoa(c.HeadDim()),
		"num_key_value_heads":   strconv.Itoa(v.KVHeads),
	}
}

func decimal(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// encode returns a safetensors file.
func encode(meta map[string]string, arrays []reference.StateArray) ([]byte, error) {
	specs := make([]tensor.Spec, len(arrays))
	for i, a := range arrays {
		specs[i] = tensor.Spec{Name: a.Name, DType: tensor.F32}
		if a.Float64 != nil {
			specs[i].DType = tensor.F64
		}
		for _, n := range a.Shape {
			specs[i].Shape = append(specs[i].Shape, int64(n))
		}
	}
	layout, err := safetensors.NewLayout(specs, 0, meta)
	if err != nil {
		return nil, err
	}
	content := make([]byte, layout.Files[0].Size)
	copy(content, layout.Header(0))
	for i, a := range arrays {
		to := content[layout.Ranges[i].Offset:]
		for k, x := range a.Float32 {
			binary.LittleEndian.PutUint32(to[4*k:], math.Float32bits(x))
		}
		for k, x := range a.Float64 {
			binary.LittleEndian.PutUint64(to[8*k:], math.Float64bits(x))
		}
	}
	return content, nil
}

// IsState reports whether a safetensors file with that metadata is a state file, of whatever version and model.
func IsState(meta map[string]string) bool { return meta["griffin_state"] != "" }

// Load returns the session that a file of Save holds. digest returns the digest that the weights of the model have, given the
// one that was recorded, which shows by which hash function. A file that is corrupt, or of another model, digest, semantics or
// arithmetic, gives a *tensor.FormatError.
func Load(m *reference.Model, path string, digest func(recorded string) (string, error)) (*Session, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	c, err := safetensors.Open(source, name)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s, err := load(m, c, digest)
	return s, tensor.Annotate(err, tensor.Location{File: path})
}

func load(m *reference.Model, c *tensor.Checkpoint, digest func(recorded string) (string, error)) (*Session, error) {
	if !IsState(c.Metadata) {
		return nil, tensor.Bad("not a state file: it has no metadata griffin_state").Because(ReasonNotState)
	} else if version := c.Metadata["griffin_state"]; version != stateVersion {
		return nil, tensor.Bad("state file has version %q, want %s", version, stateVersion)
	}
	weights, err := digest(c.Metadata["model_digest"])
	if err != nil {
		return nil, err
	}
	if got := c.Metadata["model_digest"]; got != weights {
		return nil, tensor.Bad("state has model_digest %q, but the model has %q", got, weights).Because(ReasonOtherModel)
	}
	original := m.Config
	original.Variant = nil
	recorded, want := variantOf(&original), settingsOf(m) // of a state that does not record a variant
	maps.Copy(recorded, c.Metadata)
	for _, key := range settingKeys {
		if got, have := recorded[key], want[key]; got != have {
			return nil, tensor.Bad("%w", &SettingError{key, got, have}).Because(ReasonOtherModel)
		}
	}
	snapshot, last, err := progress(c.Metadata)
	if err != nil {
		return nil, err
	}
	if last < 0 || last >= m.Config.VocabSize || snapshot.Tokens < 1 {
		return nil, tensor.Bad("state is of %d tokens, the last of which is %d, but the vocabulary has %d", snapshot.Tokens, last, m.Config.VocabSize)
	}
	s := &Session{stream: &stream.Stream{Model: m}, last: int32(last)}
	if got, most := len(c.Tensors()), 2*len(m.Config.BlockTypes)+1; got > most {
		return nil, tensor.Bad("state has %d tensors, want %d", got, most)
	}
	for _, t := range c.Tensors() {
		a, err := readArray(m, t, maxElements(m, snapshot.Tokens))
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: t.Name})
		}
		if t.Name != logitsName {
			snapshot.Arrays = append(snapshot.Arrays, a)
			continue
		}
		s.logits = &reference.Activations{Batch: 1, Length: 1, Width: m.Config.VocabSize, Float32: a.Float32, Float64: a.Float64}
	}
	if s.logits == nil || s.logits.Len() != m.Config.VocabSize {
		return nil, tensor.Bad("state has no tensor %s of %d elements", logitsName, m.Config.VocabSize)
	}
	if s.stream.State, err = m.Restore(snapshot); err != nil {
		return nil, tensor.Bad("state does not fit the model: %w", err)
	}
	return s, nil
}

// progress parses the metadata that says how far the text has been read.
func progress(meta map[string]string) (snapshot *reference.Snapshot, last int, err error) {
	var position int
	snapshot = &reference.Snapshot{}
	for key, to := range map[string]*int{"tokens": &snapshot.Tokens, "position": &position, "document_start": &snapshot.DocumentStart, "last_token": &last} {
		n, err := strconv.ParseInt(meta[key], 10, 32)
		if err != nil {
			return nil, 0, tensor.Bad("metadata %s is %q, want a number below 2^31", key, meta[key])
		}
		*to = int(n)
	}
	snapshot.Position = int32(position)
	return snapshot, last, nil
}

// maxElements returns the most elements that an array of the state of a model can have.
func maxElements(m *reference.Model, tokens int) int64 {
	c := &m.Config
	kept := int64(tokens)
	if !m.Semantics.Unlimited() {
		kept = min(kept, int64(c.AttentionWindow))
	}
	return max(int64(c.VocabSize), int64(c.ConvTaps())*int64(c.LRUWidth), kept*int64(c.KVWidth()))
}

// readArray reads a tensor of at most limit elements.
func readArray(m *reference.Model, t *tensor.Tensor, limit int64) (reference.StateArray, error) {
	a := reference.StateArray{Name: t.Name}
	if t.Elements() > limit {
		return a, tensor.Bad("shape is %s, but no array of the model's state has more than %d elements", tensor.ShapeString(t.Shape), limit)
	}
	want := tensor.F32
	if m.Arithmetic.Precision == reference.Float64 {
		want = tensor.F64
	}
	if t.DType != want {
		return a, tensor.Bad("dtype is %s, want %s", t.DType, want)
	}
	for _, n := range t.Shape {
		a.Shape = append(a.Shape, int(n))
	}
	raw := make([]byte, t.Bytes())
	if err := tensor.ReadFullAt(t, raw, 0); err != nil {
		return a, err
	}
	r := bytes.NewReader(raw)
	if want == tensor.F64 {
		a.Float64 = make([]float64, t.Elements())
		return a, binary.Read(r, binary.LittleEndian, a.Float64)
	}
	a.Float32 = make([]float32, t.Elements())
	return a, binary.Read(r, binary.LittleEndian, a.Float32)
}
