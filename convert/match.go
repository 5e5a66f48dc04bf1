package convert

import (
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// naming is a set of names: the two original layouts share most of theirs, so that a subtree is
// first found by its naming, and then told Flax or torch.
type naming uint8

const (
	original naming = iota
	huggingFace
)

func (n naming) layouts() []Layout {
	if n == huggingFace {
		return []Layout{HuggingFace}
	}
	return []Layout{Flax, Torch}
}

// tails maps the tails of each naming to whether they are of a block.
var tails = func() (t [2]map[string]bool) {
	for n := range t {
		t[n] = map[string]bool{}
		for _, l := range naming(n).layouts() {
			for _, r := range rules {
				t[n][r.at[l].tail] = r.scope != once
			}
		}
	}
	return t
}()

// site is where the name of a tensor could be that of a parameter.
type site struct {
	naming naming
	prefix string // what precedes the model's root
	block  int    // -1 outside blocks
	tail   string
}

// maxName is far more than any name of the family, under any wrapper, has.
const maxName = 1024

// sites returns every way to read a name.
func sites(name string) []site {
	if len(name) > maxName {
		return nil
	}
	var out []site
	for i := 0; i < len(name); i++ {
		if i > 0 && name[i-1] != '.' {
			continue
		}
		for n := range tails {
			block, tail := splitBlock(name[i:], blockRoots[naming(n).layouts()[0]])
			tail = unwrap(tail)
			if inBlock, known := tails[n][tail]; known && inBlock == (block >= 0) {
				out = append(out, site{naming(n), name[:i], block, tail})
			}
		}
	}
	return out
}

// splitBlock takes "blocks.3." off a name. The number is -1 where there is none.
func splitBlock(name, root string) (int, string) {
	rest, ok := strings.CutPrefix(name, root)
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

// wrapperSegments are put into the middle of names by torch.compile, DDP, FSDP and activation
// checkpointing, and mean nothing here.
var wrapperSegments = []string{"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

func unwrap(tail string) string {
	if !strings.Contains(tail, "_wrapped_module") && !strings.Contains(tail, "_orig_mod") && !strings.Contains(tail, "module.") {
		return tail
	}
	segments := strings.Split(tail, ".")
	return strings.Join(slices.DeleteFunc(segments, func(s string) bool { return slices.Contains(wrapperSegments, s) }), ".")
}

// mirrors are segments of a name under which training code keeps tensors that have the names of
// parameters and are none.
var mirrors = []string{
	"opt", "optim", "opt_state", "optimizer", "optimizer_state", "optimizer_state_dict", "optimizer_states", "optim_state", "param_states",
	"mu", "nu", "m", "v", "exp_avg", "exp_avg_sq", "momentum", "momentum_buffer", "trace", "slots", "accumulator",
	"grad", "grads", "gradients", "acc_grads",
}

// besides are names that training code gives to what lies beside the parameters.
var besides = []string{
	"step", "steps", "global_step", "num_steps", "epoch", "iteration", "rng", "rngs", "rng_state", "rng_states", "key", "seed", "scaler", "loss", "metrics",
	"lr_scheduler", "lr_schedulers", "scheduler", "schedule", "args", "config", "hparams", "hyper_parameters", "ema", "ema_params", "batch_stats",
}

func isMirror(name string) bool {
	for s := range strings.SplitSeq(name, ".") {
		if slices.Contains(mirrors, s) {
			return true
		}
	}
	return false
}

// isBeside reports whether a tensor within the model's own level is the trainer's.
func isBeside(t *tensor.Tensor, rest string) bool {
	first, _, _ := strings.Cut(rest, ".")
	return len(t.Shape) == 0 || isMirror(rest) || slices.Contains(besides, first)
}

// candidate is a subtree that has tensors with the names of parameters.
type candidate struct {
	naming naming
	prefix string
	blocks int // tensors of blocks
	found  map[string][]*tensor.Tensor
}

func (c *candidate) size() int { return len(c.found) }

// key names a tensor of a model, whatever the wrappers.
func (s site) key() string {
	if s.block < 0 {
		return s.tail
	}
	return blockRoots[s.naming.layouts()[0]] + strconv.Itoa(s.block) + "." + s.tail
}

// candidates returns the subtrees that have blocks, the one with most tensors first.
func candidates(tensors []*tensor.Tensor) []*candidate {
	type place struct {
		naming naming
		prefix string
	}
	at := map[place]*candidate{}
	var all []*candidate
	for _, t := range tensors {
		for _, s := range sites(t.Name) {
			p := place{s.naming, s.prefix}
			c := at[p]
			if c == nil {
				c = &candidate{naming: s.naming, prefix: s.prefix, found: map[string][]*tensor.Tensor{}}
				at[p] = c
				all = append(all, c)
			}
			c.found[s.key()] = append(c.found[s.key()], t)
			if s.block >= 0 {
				c.blocks++
			}
		}
	}
	all = slices.DeleteFunc(all, func(c *candidate) bool { return c.blocks == 0 })
	slices.SortStableFunc(all, func(a, b *candidate) int { return b.size() - a.size() })
	return all
}
