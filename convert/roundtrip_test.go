package convert

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// randomModel returns a small model whose elements are random bits, NaN included.
func randomModel(t *testing.T, rng *rand.Rand, l model.Layout) (*tensor.Checkpoint, model.Settings) {
	heads := 1 + rng.Int64N(3)
	c := model.Config{VocabSize: 5 + rng.Int64N(60), NumHeads: heads, Width: heads * 4 * (1 + rng.Int64N(4)), MLPExpandedWidth: 1 + rng.Int64N(50),
		LRUWidth: heads * (1 + rng.Int64N(12)), ConvWidth: 4}
	for range 1 + rng.IntN(4) {
		c.BlockTypes = append(c.BlockTypes, []model.BlockType{model.Recurrent, model.Recurrent, model.Attention}[rng.IntN(3)])
	}
	if !c.Has(model.Recurrent) {
		c.LRUWidth = c.Width
	}
	dtype := []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.F64}[rng.IntN(4)]
	prefix := []string{"", "params.", "state.params."}[rng.IntN(3)]
	tensors := modelTensors(&c, l, prefix)
	for _, x := range tensors {
		if x.DType = dtype; rng.IntN(20) == 0 {
			x.DType = tensor.F32
		}
		data := make([]byte, x.Bytes())
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		withData(x, data)
	}
	return checkpoint(t, tensors...), model.Settings{AttentionWindow: ptr(1 + rng.Int64N(99)), LogitsSoftCap: ptr(1 + 40*rng.Float64()), EmbeddingScale: ptr(true)}
}

// journey is a checkpoint that is converted again and again.
type journey struct {
	t   *testing.T
	dir string
	at  *tensor.Checkpoint
	say string // how it came there
}

// to converts the checkpoint, proves it, and goes on from there.
func (j *journey) to(o Options) *journey {
	j.t.Helper()
	dst := filepath.Join(j.t.TempDir(), "w.pt") // one name, which is in a file of torch's
	say := fmt.Sprintf("%s > %s %s", j.say, o.To, o.OrbaxFormat)
	o.Verify = true
	if _, err := Convert(j.t.Context(), j.at, dst, o); err != nil {
		j.t.Fatalf("%s: %v", say, err)
	}
	c, err := formats.Open(dst, formats.Options{})
	if err != nil {
		j.t.Fatalf("%s: %v", say, err)
	}
	j.t.Cleanup(func() { c.Close() })
	return &journey{j.t, dst, c, say}
}

// same checks that two checkpoints have the same tensors, bit for bit.
func (j *journey) same(want *tensor.Checkpoint) {
	j.t.Helper()
	m, err := model.Recognize(want, model.Options{})
	if err != nil {
		j.t.Fatal(err)
	}
	if len(j.at.Tensors()) != len(want.Tensors()) {
		j.t.Errorf("%s: %d tensors, not %d", j.say, len(j.at.Tensors()), len(want.Tensors()))
	}
	for _, w := range want.Tensors() {
		name := model.Griffin.Roots[m.Layout] + w.Name[len(m.Prefix):]
		got := j.at.Tensor(name)
		if got == nil || got.DType != w.DType || !slices.Equal(got.Shape, w.Shape) || !bytes.Equal(readAll(j.t, got), readAll(j.t, w)) {
			j.t.Errorf("%s: %s is not what it was", j.say, name)
		}
	}
}

// sameFiles checks that two destinations have the same files, but for conversion.json, which records the
// source.
func (j *journey) sameFiles(other *journey) {
	j.t.Helper()
	a, b := contents(j.t, j.dir), contents(j.t, other.dir)
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			j.t.Errorf("%s of %s is not that of %s", name, j.say, other.say)
		}
	}
	if len(a) != len(b) {
		j.t.Errorf("%s has %d files, %s %d", j.say, len(a), other.say, len(b))
	}
}

func contents(t *testing.T, path string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(path, func(file string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == manifest.Name {
			return err
		}
		content, err := os.ReadFile(file)
		files[file[len(path):]] = content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestRoundTrips converts random models to the Hugging Face layout and back, and from one original layout
// to the other and back, in all formats. Every way gives the same bytes.
func TestRoundTrips(t *testing.T) {
	rounds := uint64(len(orbax.Formats()))
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(66, round))
		layout := []model.Layout{model.Flax, model.Torch}[(round+round/2)%2]
		source, settings := randomModel(t, rng, layout)
		start := &journey{t: t, at: source, say: fmt.Sprintf("round %d: %s", round, layout)}
		format := orbax.Formats()[round]
		home, away := Options{To: ToOrbax, OrbaxFormat: format}, Options{To: ToTorch}
		if layout == model.Torch {
			home, away = away, home
		}
		hf := Options{Settings: settings, MaxShardSize: 1000 << rng.IntN(10)}

		first := start.to(home)
		first.same(source)
		asHF := start.to(hf)
		back := asHF.to(home)
		back.same(source)
		back.sameFiles(first)
		other := first.to(away)
		other.to(home).sameFiles(first)
		asHF.to(away).sameFiles(other)
		otherHF := other.to(hf)
		otherHF.sameFiles(asHF)
		asHF.to(Options{MaxShardSize: hf.MaxShardSize}).sameFiles(asHF)
		if t.Failed() {
			break
		}
	}
}

// TestRoundTripsThroughOtherTypes: a float32 model that is converted to bfloat16 and back is rounded, and
// a bfloat16 model that is converted to float32 and back is unchanged.
func TestRoundTripsThroughOtherTypes(t *testing.T) {
	rng := rand.New(rand.NewPCG(66, 1000))
	for {
		source, settings := randomModel(t, rng, model.Flax)
		if d := source.Tensors()[0].DType; d != tensor.BF16 {
			continue
		}
		for _, x := range source.Tensors() { // without NaN, whose bits may change
			data := readAll(t, x)
			for i := 1; i < len(data); i += int(x.DType.Size()) {
				data[i] &= 0x3f
			}
			withData(x, data)
		}
		start := &journey{t: t, at: source, say: "bfloat16"}
		wide := start.to(Options{Settings: settings, DType: tensor.F32})
		back := wide.to(Options{To: ToOrbax, DType: tensor.BF16})
		plain := start.to(Options{To: ToOrbax, DType: tensor.BF16})
		back.sameFiles(plain)
		return
	}
}
