package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Proof says that a converted checkpoint holds every element of its source in its place, or where
// it does not.
type Proof struct {
	Tensors  int       `json:"tensors"`  // of the destination that were compared
	Elements int64     `json:"elements"` // of them
	Bytes    int64     `json:"bytes"`
	Failures []Failure `json:"failures"` // a list for every tensor that is wrong, none if all is right

	Rounded    int64 `json:"rounded,omitempty"`    // elements that have another dtype or were divided, and so were held against rounding
	Overflowed int64 `json:"overflowed,omitempty"` // of them finite ones that became infinite
}

// Failure is a tensor of the destination that is not what the source says.
type Failure struct {
	Tensor  string  `json:"tensor"`
	Source  string  `json:"source,omitempty"` // the source's tensor that the first wrong element comes from
	Problem string  `json:"problem"`
	Index   []int64 `json:"index,omitempty"` // of the first wrong element
	Want    string  `json:"want,omitempty"`  // its value in the source
	Got     string  `json:"got,omitempty"`   // and in the destination
	Wrong   int64   `json:"wrong,omitempty"` // elements
}

// ProofError says that written weights are not those of the source.
type ProofError struct{ Failures []Failure }

func (e *ProofError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d tensors are not those of the source", len(e.Failures))
	for _, f := range e.Failures {
		fmt.Fprintf(&b, "\n  %s: %s", f.Tensor, f.Problem)
	}
	return b.String()
}

// Err returns a *ProofError if anything failed.
func (p *Proof) Err() error {
	if len(p.Failures) == 0 {
		return nil
	}
	return &ProofError{p.Failures}
}

// Prove reads the source of a plan and a checkpoint that is said to be its outcome, and compares
// every element: bit for bit, or where the dtype changes or elements are divided against the definition
// of rounding to nearest, ties to even. It shares nothing with Execute but the plan: the source is read as a
// stream, in its own order, and each element's place in the destination computed from the view.
//
// Weights that differ are no error but Failures of the proof. Memory does not grow with the
// tensors. progress is told the bytes of the destination compared so far; calls do not overlap.
func Prove(ctx context.Context, p *Plan, output *tensor.Checkpoint, progress func(done int64)) (*Proof, error) {
	return newProver(p, output, progress).run(ctx)
}

func newProver(p *Plan, output *tensor.Checkpoint, progress func(done int64)) *prover {
	return &prover{plan: p, output: output, progress: progress, failures: map[int]*Failure{}, block: proofBlock}
}

func (v *prover) run(ctx context.Context) (*Proof, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	v.ctx = ctx
	v.checkStructure()
	queue := v.groups()
	v.block = min(v.block, v.largest())
	var group sync.WaitGroup
	for range max(min(runtime.GOMAXPROCS(0), 4, len(queue)), 1) {
		group.Go(func() {
			if err := v.work(queue); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return v.proof(), nil
}

type prover struct {
	ctx    context.Context
	plan   *Plan
	output *tensor.Checkpoint
	sums   *runningSums // nil where nobody asks for digests
	block  int          // bytes of source that a worker holds

	firstOnly bool // of a tensor that differs, only that it does is asked for

	mu       sync.Mutex
	progress func(done int64)
	done     int64
	compared int64
	rounded  int64
	overflow int64
	failures map[int]*Failure // by index into plan.Dests; -1 and below for tensors that are too many
}

// checkStructure reports tensors that are missing, too many, or of another type or shape.
func (v *prover) checkStructure() {
	known := map[string]bool{}
	for i, d := range v.plan.Dests {
		known[d.Name] = true
		switch t := v.output.Tensor(d.Name); {
		case t == nil:
			v.failures[i] = &Failure{Tensor: d.Name, Problem: "missing"}
		case t.DType != d.DType:
			v.failures[i] = &Failure{Tensor: d.Name, Problem: fmt.Sprintf("%s instead of %s", t.DType, d.DType)}
		case !slices.Equal(t.Shape, d.Shape):
			v.failures[i] = &Failure{Tensor: d.Name, Problem: fmt.Sprintf("shape %s instead of %s", tensor.ShapeString(t.Shape), tensor.ShapeString(d.Shape))}
		}
	}
	for i, t := range v.output.Tensors() {
		if !known[t.Name] {
			v.failures[-1-i] = &Failure{Tensor: t.Name, Problem: "not part of the conversion"}
		}
	}
}

// groups returns the moves of each source tensor in the order in which its stream gives them, the
// largest tensors first, leaving out those whose destination is not there.
func (v *prover) groups() chan []*Move {
	by := map[*tensor.Tensor][]*Move{}
	for i := range v.plan.Moves {
		if m := &v.plan.Moves[i]; v.failures[m.Dest] == nil && m.View.Elements() > 0 {
			by[m.Source] = append(by[m.Source], m)
		}
	}
	var all [][]*Move
	for _, moves := range by {
		slices.SortFunc(moves, func(a, b *Move) int {
			return cmp.Or(cmp.Compare(a.View.Offset, b.View.Offset), cmp.Compare(a.Dest, b.Dest))
		})
		all = append(all, moves)
	}
	slices.SortFunc(all, func(a, b []*Move) int {
		return cmp.Or(cmp.Compare(b[0].Source.Bytes(), a[0].Source.Bytes()), cmp.Compare(a[0].Source.Name, b[0].Source.Name))
	})
	queue := make(chan []*Move, len(all))
	for _, moves := range all {
		queue <- moves
	}
	close(queue)
	return queue
}

// largest returns the bytes of the largest source, which is all that a worker can need to hold.
func (v *prover) largest() int {
	n := int64(1)
	for _, m := range v.plan.Moves {
		n = max(n, m.Source.Bytes())
	}
	return int(min(n, proofBlock))
}

// proofBlock is the bytes of source that a worker holds: a whole matrix of the 2B model.
const proofBlock = 38 << 20

func (v *prover) work(queue chan []*Move) (err error) {
	memory, err := storage.NewBuffer(v.block)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, memory.Free()) }()
	buffers := newProofBuffers(memory.Bytes)
	for moves := range queue {
		if err := v.compareAll(moves, buffers, nil); err != nil {
			return tensor.Annotate(err, tensor.Location{Tensor: moves[0].Source.Name})
		}
	}
	return nil
}

// proofBuffers are what a worker holds.
type proofBuffers struct {
	block   []byte // of the source
	window  []byte // of the destination
	scratch []byte // for what is skipped
}

func newProofBuffers(block []byte) *proofBuffers {
	return &proofBuffers{block: block, window: make([]byte, windowBytes), scratch: make([]byte, 64<<10)}
}

// compareAll compares all that one source tensor gives. Its checksum is computed on the way. decided, if
// not nil, is told of each move whether it holds.
func (v *prover) compareAll(moves []*Move, buffers *proofBuffers, decided func(m *Move, same bool)) error {
	in := &input{cursor: cursor{source: moves[0].Source}}
	if err := in.begin(); err != nil {
		return err
	}
	if lay, ok, err := tensor.Layout(in.source); ok && err == nil && in.sums != nil {
		watched := *lay
		watched.Store = in.watch(lay.Store)
		in.source = &tensor.Tensor{Name: in.source.Name, DType: in.source.DType, Shape: in.source.Shape, Data: &watched}
	}
	defer in.close()
	for _, m := range moves {
		c, err := newComparison(v, m, &in.cursor, buffers)
		if err != nil {
			return err
		}
		if err := c.do(); err != nil {
			return err
		}
		if decided != nil {
			decided(m, !c.differs)
		}
	}
	return in.end()
}

// count adds elements that were compared.
func (v *prover) count(elements, bytes int64, rounded bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.compared += elements
	if rounded {
		v.rounded += elements
	}
	v.done += bytes
	if v.progress != nil {
		v.progress(v.done)
	}
}

// overflowed adds elements that became infinite.
func (v *prover) overflowed(n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.overflow += n
}

// wrong notes n elements that are not what they should be, and of the first of them its row-major
// index in the destination.
func (v *prover) wrong(m *Move, element, n int64, want, got string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.plan.Dests[m.Dest]
	f := v.failures[m.Dest]
	if f == nil {
		f = &Failure{Tensor: d.Name}
		v.failures[m.Dest] = f
	}
	f.Wrong += n
	index := tensor.Unravel(element, d.Shape)
	if f.Index == nil || slices.Compare(index, f.Index) < 0 {
		f.Source, f.Index, f.Want, f.Got = m.Source.Name, index, want, got
	}
}

// proof sums up.
func (v *prover) proof() *Proof {
	p := &Proof{Tensors: len(v.plan.Dests), Elements: v.compared, Bytes: v.done, Failures: []Failure{}, Rounded: v.rounded, Overflowed: v.overflow}
	for _, f := range v.failures {
		if f.Wrong > 0 {
			f.Problem = fmt.Sprintf("%d elements are wrong; the first, %s, is %s and not %s as in %s",
				f.Wrong, tensor.ShapeString(f.Index), f.Got, f.Want, f.Source)
		}
		p.Failures = append(p.Failures, *f)
	}
	slices.SortFunc(p.Failures, func(a, b Failure) int { return cmp.Compare(a.Tensor, b.Tensor) })
	return p
}
