package runtime

import (
	"bufio"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// Digest identifies the weights in their layout. It is the layout ("flax", "torch" or "huggingface"), a space, the name of the
// hash function a, a colon, and the digest of one line for each parameter, sorted,
//
//	NAME DTYPE SHAPE DIGEST\n
//
// with the name from the model's root on (without "params.", "model." and other prefixes), torch's name of the stored
// type, the sizes joined by "x", and the digest of the elements, row-major and little-endian. Output heads that are
// copies of the embedding are left out.
//
// known has digests of tensors that were computed before, by full name; it may be nil. Digest reads the
// other tensors, and checks the checksums that their format has. progress, if not nil, is called with the bytes of each
// tensor that is done, from several goroutines.
func (m *Model) Digest(ctx context.Context, a digest.Algorithms, known map[string]digest.Sum, progress func(bytes int64)) (string, error) {
	return digestOf(ctx, m.Found.Layout.String(), m.Found.ParameterTensors(&m.Config), a, known, progress)
}

// DigestOf identifies the weights of a checkpoint of any kind: as Digest does if a model of the family is in it that lacks no tensor, whether its
// settings are known or not; otherwise by all of its tensors under their full names, with the word "tensors" in place of the layout.
// name is that of one of several models, "" for the only one.
func DigestOf(ctx context.Context, c *tensor.Checkpoint, name string, a digest.Algorithms, known map[string]digest.Sum, progress func(bytes int64)) (string, error) {
	if m, err := model.Recognize(c, model.Options{Name: name}); err == nil && !lacksTensors(m) {
		config := m.Config
		if configured, err := m.Configure(model.Settings{}); err == nil {
			config = configured.Config
		}
		parameters := m.ParameterTensors(&config)
		if slices.ContainsFunc(parameters, func(p model.NamedTensor) bool { return c.Tensor(p.Tensor.Name) != p.Tensor }) {
			known = nil // the model has other elements under these names
		}
		return digestOf(ctx, m.Layout.String(), parameters, a, known, progress)
	}
	var all []model.NamedTensor
	for _, t := range c.Tensors() {
		all = append(all, model.NamedTensor{Name: t.Name, Tensor: t})
	}
	return digestOf(ctx, "tensors", all, a, known, progress)
}

// lacksTensors reports whether tensors of a model are missing, so that those that it has may be a small part of its weights.
func lacksTensors(m *model.Model) bool {
	problems, ok := m.Problems().(*model.MismatchError)
	return ok && len(problems.Missing) > 0
}

func digestOf(ctx context.Context, what string, tensors []model.NamedTensor, a digest.Algorithms, known map[string]digest.Sum, progress func(bytes int64)) (string, error) {
	sums := digest.NewSums(len(tensors)) // lines of very many tensors would take much memory
	var mu sync.Mutex
	group, ctx := task.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range tensors {
		group.Go(func() error {
			sum := known[p.Tensor.Name].Only(a)
			if sum.Algorithms() != a {
				var err error
				if sum, err = tensor.Digest(ctx, p.Tensor, a); err != nil {
					return err
				}
			}
			mu.Lock()
			sums.Set(i, sum)
			mu.Unlock()
			if progress != nil {
				progress(p.Tensor.Bytes())
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	return what + " " + digestLines(tensors, sums, a).Named(), nil
}

// digestLines returns the digest of the lines of tensors with these digests, sorted.
func digestLines(tensors []model.NamedTensor, sums *digest.Sums, a digest.Algorithms) digest.Sum {
	line := func(i int32) string {
		p := &tensors[i]
		sizes := make([]string, len(p.Tensor.Shape))
		for k, n := range p.Tensor.Shape {
			sizes[k] = fmt.Sprint(n)
		}
		return fmt.Sprintf("%s %s %s %s\n", p.Name, p.Tensor.DType, strings.Join(sizes, "x"), sums.At(int(i)).Hex())
	}
	order := make([]int32, len(tensors))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		x, y := tensors[a].Name, tensors[b].Name
		if strings.HasPrefix(x, y) || strings.HasPrefix(y, x) { // what follows the shorter name decides
			x, y = line(a), line(b)
		}
		return strings.Compare(x, y)
	})
	h, n := digest.New(a), int64(0)
	w := bufio.NewWriterSize(h, 64<<10) // all lines together may be long
	for _, i := range order {
		written, _ := w.WriteString(line(i))
		n += int64(written)
	}
	w.Flush() // a Hash takes all
	return h.Sum(n)
}

// DigestLength returns the length of what Digest returns.
func (m *Model) DigestLength(a digest.Algorithms) int {
	return len(m.Found.Layout.String() + " " + digest.Of(a, nil).Named())
}

// DigestAlgorithm returns the hash function of a digest that Digest returned, 0 for another text.
func DigestAlgorithm(recorded string) digest.Algorithms {
	_, named, _ := strings.Cut(recorded, " ")
	name, _, _ := strings.Cut(named, ":")
	a, err := digest.Parse(name)
	if err != nil {
		return 0
	}
	return a
}
