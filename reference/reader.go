package reference

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// request is a parameter that a pass uses.
type request struct {
	block int
	name  string
	shape []int // a matrix of shape [out, in] may also be stored as [in, out]
	whole bool  // read in one piece
}

// elements returns the number of elements of the parameter.
func (r *request) elements() int {
	n := 1
	for _, d := range r.shape {
		n *= d
	}
	return n
}

// pieceElements returns the number of elements of each piece but the last.
func (r *request) pieceElements(p *Parameter, blockTerms int) int {
	if r.whole {
		return r.elements()
	}
	return p.pieceElements(r.shape[0], r.shape[1], blockTerms)
}

// requests lists the parameters of the blocks [first, end) and, if head is set, those of the logits and, if
// norm is set, of the final norm, in the order in which a pass uses them. (The embeddings of tokens
// are not among them: they are single rows of a matrix.)
func (c *Config) requests(first, end int, norm, head bool) []request {
	var all []request
	block := first
	vector := func(name string, n int) { all = append(all, request{block, name, []int{n}, true}) }
	matrix := func(name string, out, in int) {
		all = append(all, request{block, name + Kernel, []int{out, in}, false})
	}
	linear := func(name string, out, in int) { matrix(name, out, in); vector(name+Bias, out) }
	gate := func(name string) {
		size := c.LRUWidth / c.NumHeads
		all = append(all, request{block, name + Kernel, []int{c.NumHeads, size, size}, true})
		vector(name+Bias, c.LRUWidth)
	}
	for ; block < end; block++ {
		vector(TemporalNorm, c.Width)
		if c.BlockTypes[block] == Attention {
			project := matrix
			if c.variant().AttentionBias {
				project = linear
			}
			project(ProjQ, c.QueryWidth(), c.Width)
			project(ProjK, c.KVWidth(), c.Width)
			project(ProjV, c.KVWidth(), c.Width)
			linear(ProjFinal, c.Width, c.QueryWidth())
		} else {
			linear(LinearY, c.LRUWidth, c.Width)
			linear(LinearX, c.LRUWidth, c.Width)
			all = append(all, request{block, Conv1D + Kernel, []int{c.LRUWidth, c.ConvTaps()}, true})
			vector(Conv1D+Bias, c.LRUWidth)
			vector(AParam, c.LRUWidth)
			gate(InputGate)
			gate(AGate)
			linear(LinearOut, c.Width, c.LRUWidth)
		}
		vector(ChannelNorm, c.Width)
		linear(MLPGate, c.MLPExpandedWidth, c.Width)
		linear(MLPUp, c.MLPExpandedWidth, c.Width)
		linear(MLPDown, c.Width, c.MLPExpandedWidth)
	}
	block = Outer
	if norm {
		vector(FinalNorm, c.Width)
	}
	if head {
		all = append(all, request{Outer, c.headName(), []int{c.VocabSize, c.Width}, false})
	}
	return all
}

// headName returns the name of the matrix of the logits.
func (c *Config) headName() string {
	if c.SeparateHead {
		return OutputHead
	}
	return Embedding
}

// piece is a number of elements of a parameter as they are stored, or the error of reading them.
type piece struct {
	parameter *Parameter
	data      []byte
	err       error

	users  atomic.Int32 // engines that are not done with data
	buffer []byte       // what data lies in, nil if it is used in place
	free   chan<- []byte
}

// done releases the piece. Its data must not be used any more.
func (p *piece) done() {
	if p.users.Add(-1) == 0 && p.buffer != nil {
		p.free <- p.buffer
	}
}

// pieceBytes is the approximate size of the pieces in which a matrix is read. Tests change it. Pieces in memory are larger by
// inMemoryFactor: when one token is decoded, starting the goroutines takes long compared with a small piece.
var pieceBytes = 4 << 20

const inMemoryFactor = 16

// piecesAhead is the number of pieces that are in memory at a time: those that are being multiplied, and
// those that are read meanwhile.
const piecesAhead = 4

// reader reads the parameters of a pass ahead of their use, so that reading and computing go on at the
// same time, and gives each piece to several engines, so that it is read once for all.
type reader struct {
	weights    Weights
	requests   []request
	blockTerms int           // see Arithmetic.blockTerms
	engines    []chan *piece // of each engine, in the order of the requests
	free       chan []byte
	stop       chan struct{}
	stopped    chan struct{}
}

// startReader starts reading for a number of engines.
func startReader(weights Weights, requests []request, blockTerms, engines int) *reader {
	r := &reader{weights: weights, requests: requests, blockTerms: blockTerms, free: make(chan []byte, piecesAhead),
		stop: make(chan struct{}), stopped: make(chan struct{})}
	for range engines {
		r.engines = append(r.engines, make(chan *piece, piecesAhead))
	}
	for range piecesAhead {
		r.free <- []byte{}
	}
	task.Start(r.run)
	return r
}

// close ends the reading and waits until no parameter is open.
func (r *reader) close() {
	close(r.stop)
	<-r.stopped
}

func (r *reader) run() error {
	defer close(r.stopped)
	for _, want := range r.requests {
		more := false
		err := task.Call(func() error {
			more = r.read(want)
			return nil
		})
		if err != nil {
			r.send(&piece{err: err})
		}
		if err != nil || !more {
			break
		}
	}
	return nil
}

// read reads one parameter and returns whether there is to be more.
func (r *reader) read(want request) bool {
	p, err := r.weights.Parameter(want.block, want.name)
	if err != nil {
		r.send(&piece{err: err})
		return false
	}
	defer p.close()
	if err := p.check(want.shape); err != nil {
		r.send(&piece{err: annotate(want.block, want.name, err)})
		return false
	}
	total, size := want.elements(), want.pieceElements(p, r.blockTerms)
	for first := 0; first < total; first += size {
		next := &piece{parameter: p, free: r.free}
		var buffer []byte
		if !p.inMemory() {
			select {
			case buffer = <-r.free:
			case <-r.stop:
				return false
			}
		}
		if next.data, next.err = p.read(first, min(size, total-first), buffer); next.err != nil {
			next.err = annotate(want.block, want.name, next.err)
		} else if !p.inMemory() {
			next.buffer = next.data[:cap(next.data)]
		}
		if !r.send(next) || next.err != nil {
			return false
		}
	}
	return true
}

// send gives a piece to all engines and returns whether there is to be more.
func (r *reader) send(p *piece) bool {
	p.users.Store(int32(len(r.engines)))
	for _, engine := range r.engines {
		select {
		case engine <- p:
		case <-r.stop:
			return false
		}
	}
	return true
}

// pieceElements returns the number of elements of each piece of a matrix but the last: whole rows as
// they are stored, a multiple of what is computed together: of blockTerms inputs, or of a group of outputs.
func (p *Parameter) pieceElements(out, in, blockTerms int) int {
	cols, unit := in, kernel.GroupWidth[float32]()
	if p.InOut {
		cols, unit = out, blockTerms
	}
	bytes := pieceBytes
	if p.inMemory() {
		bytes *= inMemoryFactor
	}
	return max(bytes/(cols*int(p.DType.Size()))/unit*unit, unit) * cols
}

// operand is a parameter as an engine takes it from a reader, piece by piece.
type operand struct {
	*Parameter
	first  *piece // read with the parameter
	pieces <-chan *piece
	alone  *reader // reads this parameter only

	// The part of a parameter in memory that is still to come, and how much of it is a piece.
	rest      []byte
	pieceSize int
}

// open returns the next parameter, which is the one requested.
func (e *engine[T]) open(want request) (*operand, error) {
	o := &operand{pieces: e.pieces}
	if e.requests != nil {
		if e.requests[0].block != want.block || e.requests[0].name != want.name {
			panic(fmt.Sprintf("reference: block %d: %s is used where %s is read", want.block, want.name, e.requests[0].name))
		}
		e.requests = e.requests[1:]
	}
	if e.pieces == nil {
		if inMemory, err := e.openInMemory(want); inMemory != nil || err != nil {
			return inMemory, err
		}
		o.alone = startReader(e.weights, []request{want}, e.blockTerms, 1)
		o.pieces = o.alone.engines[0]
	}
	first, err := o.receive(e.ctx)
	if err != nil {
		o.close()
		return nil, err
	}
	o.first, o.Parameter = first, first.parameter
	return o, nil
}

// openInMemory returns a parameter whose elements are in memory, or nil if they are not. Then there is nothing to read
// ahead, and no other goroutine that would have to wake this one.
func (e *engine[T]) openInMemory(want request) (*operand, error) {
	p, err := e.weights.Parameter(want.block, want.name)
	if err != nil {
		return nil, err
	}
	if !p.inMemory() {
		p.close()
		return nil, nil
	}
	if err := p.check(want.shape); err != nil {
		return nil, annotate(want.block, want.name, err)
	}
	o := &operand{Parameter: p, pieceSize: want.pieceElements(p, e.blockTerms) * int(p.DType.Size())}
	if o.rest, err = p.read(0, want.elements(), nil); err != nil {
		return nil, annotate(want.block, want.name, err)
	}
	return o, nil
}

// receive waits for a piece.
func (o *operand) receive(ctx context.Context) (*piece, error) {
	select {
	case p := <-o.pieces:
		return p, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// next returns the next piece.
func (o *operand) next(ctx context.Context) (*piece, error) {
	if p := o.first; p != nil {
		o.first = nil
		return p, nil
	}
	if o.pieces == nil {
		data := o.rest[:min(o.pieceSize, len(o.rest))]
		o.rest = o.rest[len(data):]
		return &piece{data: data}, ctx.Err()
	}
	return o.receive(ctx)
}

// close ends the reading of a parameter that is read alone.
func (o *operand) close() {
	if o.alone != nil {
		o.alone.close()
	}
}
