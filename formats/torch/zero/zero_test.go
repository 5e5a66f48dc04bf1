package zero_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/torchtest"
	"github.com/griffin-ckpt/griffin/formats/torch/zero"
)

func open(dir string) (*tensor.Checkpoint, error) {
	return zero.Open(storage.Local(dir), ".", zero.Newest, zero.Options{})
}

// TestMaster reads what DeepSpeed wrote: the tensors are those that its zero_to_fp32.py gives.
func TestMaster(t *testing.T) {
	for _, dir := range []string{"testdata/stage-1", "testdata/stage-2", "testdata/stage-3"} {
		t.Run(dir, func(t *testing.T) {
			if !zero.Detect(storage.Local(dir), ".") {
				t.Error("not detected")
			}
			c, err := open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			torchtest.Check(t, c, dir+"/want.json")
		})
	}
}

// TestCompute reads the weights that the model computes with.
func TestCompute(t *testing.T) {
	for _, dir := range []string{"testdata/stage-1", "testdata/stage-2"} {
		c, err := zero.Open(storage.Local(dir), ".", zero.Newest, zero.Options{Weights: zero.Compute})
		if err != nil {
			t.Fatal(err)
		}
		torchtest.Check(t, c, dir+"/compute.json")
		c.Close()
	}
	_, err := zero.Open(storage.Local("testdata/stage-3"), ".", zero.Newest, zero.Options{Weights: zero.Compute})
	if tensor.ReasonOf(err) != zero.ReasonNoComputeWeights {
		t.Errorf("stage 3: %v", err)
	}
}

// TestSteps opens the step that latest names, one that is asked for, and the directory of a step.
func TestSteps(t *testing.T) {
	source := fstest.MapFS{}
	files, _ := filepath.Glob("testdata/hostile/sound-stage-2/global_step5/*")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range []string{"global_step5", "global_step70", "global_step600"} {
			source["run/"+tag+"/"+filepath.Base(file)] = &fstest.MapFile{Data: data}
		}
	}
	for name, c := range map[string]struct {
		latest, dir string
		step        int64
		want        string // of the error
		notes       int
	}{
		"named":        {"global_step70\n", "run", zero.Newest, "", 0},
		"newest":       {"", "run", zero.Newest, "", 1},
		"asked for":    {"global_step70", "run", 5, "", 0},
		"not there":    {"global_step70", "run", 6, "holds no step 6", 0},
		"itself":       {"", "run/global_step5", zero.Newest, "", 0},
		"not a step":   {"global_step71", "run", zero.Newest, `names the step "global_step71"`, 0},
		"no directory": {"", "away", zero.Newest, "does not exist", 0},
	} {
		delete(source, "run/latest")
		if c.latest != "" {
			source["run/latest"] = &fstest.MapFile{Data: []byte(c.latest)}
		}
		ckpt, err := zero.Open(source, c.dir, c.step, zero.Options{})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want == "" && len(ckpt.Notes) != c.notes:
			t.Errorf("%s: notes %q", name, ckpt.Notes)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestNames lists the tensors in the order of the module, whatever the order of the optimizer's parameters, then those that are not in the
// module. It refuses a module that names two tensors alike.
func TestNames(t *testing.T) {
	const dir, model = "testdata/hostile/sound-stage-2/global_step5/", "mp_rank_00_model_states.pt"
	source := fstest.MapFS{}
	files, _ := filepath.Glob(dir + "*")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source["s/"+filepath.Base(file)] = &fstest.MapFile{Data: data}
	}
	sound := source["s/"+model].Data
	for name, c := range map[string]struct {
		change []string // old and new in turn
		want   string
	}{
		"sound":         {nil, "w[6 4] v[4] b[4]"},
		"another order": {[]string{"h\x04ctorch\nSize\n", "h\x10ctorch\nSize\n", "h\x10h&", "h\x04h&"}, "w[4] v[6 4] b[4]"},
		"not in module": {[]string{"h\x04ctorch\nSize\n", "X\x01\x00\x00\x00zctorch\nSize\n"}, "v[4] b[4] z[6 4]"},
		"twice":         {[]string{"X\x01\x00\x00\x00w", "X\x01\x00\x00\x00v"}, `tensor "v": two tensors of one name`},
	} {
		text := string(torchtest.Pickle(t, sound))
		changed := strings.NewReplacer(c.change...).Replace(text)
		if (changed == text) != (c.change == nil) {
			t.Fatalf("%s: nothing to change", name)
		}
		source["s/"+model] = &fstest.MapFile{Data: torchtest.WithPickle(t, sound, []byte(changed))}
		var got []string
		ckpt, err := zero.Open(source, "s", zero.Newest, zero.Options{})
		if err == nil {
			for _, x := range ckpt.Tensors() {
				got = append(got, fmt.Sprint(x.Name, x.Shape))
			}
			_, err = torchtest.Digests(ckpt)
		}
		if have := strings.Join(got, " ") + fmt.Sprint(err); !strings.Contains(have, c.want) || err != nil && got != nil {
			t.Errorf("%s: %s, want %s", name, have, c.want)
		}
	}
}

// TestParallel refuses models that are spread in other ways as well.
func TestParallel(t *testing.T) {
	for _, name := range []string{"mp_rank_01_model_states.pt", "layer_00-model_00-model_states.pt", "layer_0_expert_0_mp_rank_00_model_states.pt"} {
		source := fstest.MapFS{"global_step5/mp_rank_00_model_states.pt": {}, "global_step5/" + name: {}}
		_, err := zero.Open(source, ".", zero.Newest, zero.Options{})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostile(t *testing.T) {
	torchtest.Hostile(t, open, map[string]string{
		"buffer-is-a-parameter":        `tensor "w": two tensors of one name`,
		"calls-system":                 `pickle refers to "posix.system"`,
		"flat-tensor-is-a-matrix":      `single_partition_of_fp32_groups holds float32[6, 4], which is not flat`,
		"flat-tensor-is-text":          `single_partition_of_fp32_groups holds something that is not a tensor`,
		"flat-tensor-too-long":         `parameters of group 0 take 28 of 54 elements`,
		"flat-tensor-too-long-stage-3": `parameters take 14 of 20 elements of a rank's master weights`,
		"flat-tensor-too-short":        `tensor "w": master weights of group 0 end after 18 elements`,
		"flat-tensors-of-two-groups":   `rank_1_mp_rank_00_optim_states.pt: group 1 is float32[4], and differs`,
		"flat-tensors-of-two-types":    `group 0 is float16[14], and differs from that of rank 0`,
		"flat-tensors-unequal-stage-3": `group 0 is float32[4], and differs from that of rank 0`,
		"frozen-too-short":             `tensor "f": no chunk has the elements [4:9]`,
		"frozen-without-fragment":      `tensor "f": frozen parameter is missing`,
		"latest-is-binary":             `names the step "\x00\n\x00", which is not in the directory`,
		"latest-leads-out":             `names the step "../sound-stage-2/global_step5"`,
		"latest-names-nothing":         `names the step "global_step6"`,
		"missing-first-rank":           `file of rank 0 with optimizer states is missing`,
		"missing-model-states":         `there is no file with the states of the model`,
		"missing-rank":                 `files of ranks are missing, of 2 with optimizer states: 1`,
		"module-is-a-list":             `is not a file with the states of a model`,
		"no-flat-tensors":              `there is no single_partition_of_fp32_groups`,
		"no-groups-stage-3":            `there are no master weights`,
		"paddings-negative":            `group 0 has a negative padding`,
		"paddings-too-few":             `group 0 of 2 parameters has paddings that do not fit`,
		"partitions-1000000000000":     `optimizer states are of 1000000000000 partitions`,
		"partitions-negative":          `optimizer states are of -2 partitions`,
		"partitions-three":             `files of ranks are missing, of 3 with optimizer states: 2`,
		"shapes-larger":                `tensor "w": master weights of group 0 end after 28 elements`,
		"shapes-negative":              `tensor "w": negative size in shape [-6 4]`,
		"shapes-of-text":               `shape of a parameter is not one`,
		"shapes-of-two-groups":         `there are shapes of 2 groups and master weights of 1`,
		"shapes-overflow":              `tensor "w": shape [4611686018427387904, 4] overflows`,
		"shapes-smaller":               `parameters of group 0 take 8 of 28 elements`,
		"stage-9":                      `no stage of ZeRO that is known: 9`,
		"stage-of-text":                `no stage of ZeRO that is known: 0`,
	})
}

// FuzzStates reads any pickles in the files of the model's and of the optimizer's states.
func FuzzStates(f *testing.F) {
	const dir = "testdata/hostile/sound-stage-2/global_step5/"
	const model, optimizer, other = "mp_rank_00_model_states.pt", "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"
	files := map[string][]byte{}
	for _, name := range []string{model, optimizer, other} {
		data, err := os.ReadFile(dir + name)
		if err != nil {
			f.Fatal(err)
		}
		files[name] = data
	}
	samples, _ := filepath.Glob("testdata/hostile/*/*/" + model)
	for _, sample := range samples {
		a, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(filepath.Dir(sample), optimizer)); err == nil {
			f.Add(torchtest.Pickle(f, a), torchtest.Pickle(f, b))
		}
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		source := fstest.MapFS{"s/" + other: {Data: files[other]},
			"s/" + model:     {Data: torchtest.WithPickle(t, files[model], a)},
			"s/" + optimizer: {Data: torchtest.WithPickle(t, files[optimizer], b)}}
		for _, weights := range []zero.Weights{zero.Master, zero.Compute} {
			c, err := zero.Open(source, "s", zero.Newest, zero.Options{Weights: weights})
			if err == nil {
				_, err = torchtest.Digests(c)
			}
			if err != nil && !torchtest.IsFormatError(err) {
				t.Fatalf("%v is not a format error", err)
			}
		}
	})
}
