package model

import (
	"slices"
	"strconv"
	"strings"
)

// Layout is a way to name and arrange the parameters of a model.
type Layout uint8

// The layouts. Flax and Torch are those of a family's original implementations, HuggingFace that of
// transformers.
const (
	UnknownLayout Layout = iota
	Flax                 // dense layers are "kernel" [in, out]
	Torch                // dense layers are "weight" [out, in]; everything else is as in Flax
	HuggingFace

	layoutCount
)

// String returns "flax", "torch" or "huggingface".
func (l Layout) String() string {
	switch l {
	case Flax:
		return "flax"
	case Torch:
		return "torch"
	case HuggingFace:
		return "huggingface"
	}
	return "unknown"
}

// PerLayout has a string for each layout.
type PerLayout [layoutCount]string

// convention is a set of names. The two original layouts share most of theirs, so that a subtree is
// first found by its convention, and its layout is decided afterwards.
type convention uint8

const (
	originalNames convention = iota
	hfNames
)

// layout returns the layout whose block names the convention has.
func (c convention) layout() Layout {
	if c == hfNames {
		return HuggingFace
	}
	return Flax
}

// vocabulary has the tails of each convention, each with whether it is of a block.
type vocabulary [2]map[string]bool

func newVocabulary(f *Family) *vocabulary {
	v := &vocabulary{{}, {}}
	for i := range f.Rules {
		r := &f.Rules[i]
		for l, c := range map[Layout]convention{Flax: originalNames, Torch: originalNames, HuggingFace: hfNames} {
			if tail := r.At[l].Tail; tail != "" {
				v[c][tail] = r.Scope.block
			}
		}
	}
	return v
}

// reading is one way to read the name of a tensor as the name of a parameter.
type reading struct {
	convention convention
	prefix     string // what precedes the model's root
	block      int    // -1 outside blocks
	tail       string
	rest       string // what follows prefix
}

// maxName is far longer than any name of a parameter under any wrapper.
const maxName = 1024

// readings returns every way to read a name.
func (v *vocabulary) readings(name string, f *Family) []reading {
	if len(name) > maxName {
		return nil
	}
	var out []reading
	for i := 0; i < len(name); i++ {
		if i > 0 && name[i-1] != '.' {
			continue
		}
		for c := range convention(len(v)) {
			block, tail := splitBlock(name[i:], f.Blocks[c.layout()])
			tail = unwrap(tail)
			if inBlock, known := v[c][tail]; known && inBlock == (block >= 0) {
				out = append(out, reading{c, name[:i], block, tail, name[i:]})
			}
		}
	}
	return out
}

// stackedReadings returns every way to read a name as that of a parameter of blocks which has no number of a block.
func (v *vocabulary) stackedReadings(name string) []reading {
	if len(name) > maxName {
		return nil
	}
	var out []reading
	for i := 1; i < len(name); i++ {
		if name[i-1] != '.' {
			continue
		}
		if first, _, _ := strings.Cut(name[i:], "."); slices.Contains(wrapperSegments, first) {
			continue
		}
		for c := range convention(len(v)) {
			if tail := unwrap(name[i:]); v[c][tail] {
				out = append(out, reading{c, name[:i], -1, tail, name[i:]})
			}
		}
	}
	return out
}

// key returns the name of the parameter from the model's root on, without wrappers.
func (r reading) key(f *Family) string {
	if r.block < 0 {
		return r.tail
	}
	root := f.Blocks[r.convention.layout()]
	if number, ok := strings.CutPrefix(r.rest, root); ok && strings.HasSuffix(number, r.tail) {
		if n, ok := strings.CutSuffix(number[:len(number)-len(r.tail)], "."); ok && n == strconv.Itoa(r.block) {
			return r.rest // which takes no memory, and there may be very many names
		}
	}
	return root + strconv.Itoa(r.block) + "." + r.tail
}

// splitBlock takes "blocks.3." off a name and returns the number; -1 if the name does not begin so. Flax names the
// modules of a list "blocks_3".
func splitBlock(name, root string) (int, string) {
	rest, ok := strings.CutPrefix(name, root)
	if base, dotted := strings.CutSuffix(root, "."); dotted && !ok {
		rest, ok = strings.CutPrefix(name, base+"_")
	}
	if !ok {
		return -1, name
	}
	number, rest, ok := strings.Cut(rest, ".")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || strconv.Itoa(n) != number {
		return -1, name
	}
	return n, rest
}

// wrapperSegments are inserted into names by torch.compile, DDP, FSDP and activation checkpointing,
// and have no meaning here.
var wrapperSegments = []string{"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

// leafWrappers end the names of arrays that Flax keeps in an object of their own: nnx.Variable, nn.Partitioned.
var leafWrappers = []string{".value", ".raw_value"}

func unwrap(tail string) string {
	for i := 0; i < len(leafWrappers); i++ {
		if rest, ok := strings.CutSuffix(tail, leafWrappers[i]); ok {
			tail, i = rest, -1
		}
	}
	if !strings.Contains(tail, "_wrapped_module") && !strings.Contains(tail, "_orig_mod") && !strings.Contains(tail, "module.") {
		return tail
	}
	segments := strings.Split(tail, ".")
	return strings.Join(slices.DeleteFunc(segments, func(s string) bool { return slices.Contains(wrapperSegments, s) }), ".")
}

// optimizerState are segments of names below which training code keeps tensors that are named like
// parameters: moments, gradients and the like.
var optimizerState = []string{
	"opt", "optim", "opt_state", "optimizer", "optimizer_state", "optimizer_state_dict", "optimizer_states", "optim_state", "param_states",
	"mu", "nu", "m", "v", "exp_avg", "exp_avg_sq", "momentum", "momentum_buffer", "trace", "slots", "accumulator",
	"grad", "grads", "gradients", "acc_grads",
}

// trainerState are the first segments of names that training code gives to what it keeps beside the
// parameters.
var trainerState = []string{
	"step", "steps", "global_step", "num_steps", "epoch", "iteration", "rng", "rngs", "rng_state", "rng_states", "key", "seed", "scaler", "loss", "metrics",
	"lr_scheduler", "lr_schedulers", "scheduler", "schedule", "args", "config", "hparams", "hyper_parameters", "ema", "ema_params", "batch_stats",
}

func isOptimizerState(name string) bool {
	for s := range strings.SplitSeq(name, ".") {
		if slices.Contains(optimizerState, s) {
			return true
		}
	}
	return false
}

// isTrainerState reports whether a name, from the model's root on, is one of trainer or optimizer
// state.
func isTrainerState(name string) bool {
	first, _, _ := strings.Cut(name, ".")
	return isOptimizerState(name) || slices.Contains(trainerState, first)
}
