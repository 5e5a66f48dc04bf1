package verify

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// What faults are made of.

// layer returns the i-th block of a kind, and false where there are not as many.
func (m *made) layer(kind model.BlockType, i int) (int, bool) {
	if i >= len(m.layers[kind]) {
		return 0, false
	}
	return m.layers[kind][i], true
}

// one changes one tensor.
func one(name func(*made) (string, bool), edit func(*entry)) func(*made) []string {
	return func(m *made) []string {
		n, ok := name(m)
		if !ok {
			return nil
		}
		edit(m.get(n))
		return []string{n}
	}
}

// contradicting names fields of config.json too, which an edit of tensors makes wrong.
func contradicting(edit func(*made) []string, fields ...string) func(*made) []string {
	return func(m *made) []string { return append(edit(m), fields...) }
}

func named1(name string) func(*made) (string, bool) {
	return func(*made) (string, bool) { return name, true }
}

func recurrent(tail string) func(*made) (string, bool) { return first(model.Recurrent, tail) }
func attention(tail string) func(*made) (string, bool) { return first(model.Attention, tail) }

func first(kind model.BlockType, tail string) func(*made) (string, bool) {
	return func(m *made) (string, bool) {
		i, ok := m.layer(kind, 0)
		return in(i, tail), ok
	}
}

func last(tail string) func(*made) (string, bool) {
	return func(m *made) (string, bool) { return in(m.blocks-1, tail), true }
}

// both changes two tensors.
func both(a, b func(*made) (string, bool), edit func(a, b *entry)) func(*made) []string {
	return func(m *made) []string {
		x, ok := a(m)
		y, fine := b(m)
		if !ok || !fine {
			return nil
		}
		edit(m.get(x), m.get(y))
		return []string{x, y}
	}
}

func exchange(a, b *entry) { a.data, b.data = b.data, a.data }

// stale puts the second tensor's elements into the first.
func stale(a, b func(*made) (string, bool)) func(*made) []string {
	return func(m *made) []string {
		x, ok := a(m)
		y, fine := b(m)
		if !ok || !fine {
			return nil
		}
		m.get(x).data = slices.Clone(m.get(y).data)
		return []string{x}
	}
}

// bits returns an element.
func (e *entry) bits(i int64) uint64 {
	p := e.data[i*e.size():][:e.size()]
	if e.size() == 2 {
		return uint64(binary.LittleEndian.Uint16(p))
	}
	return uint64(binary.LittleEndian.Uint32(p))
}

func (e *entry) setBits(i int64, x uint64) {
	p := e.data[i*e.size():][:e.size()]
	if e.size() == 2 {
		binary.LittleEndian.PutUint16(p, uint16(x))
		return
	}
	binary.LittleEndian.PutUint32(p, uint32(x))
}

func (e *entry) count() int64 { return int64(len(e.data)) / e.size() }

// flip changes one bit of one element; elements count from the end where negative.
func flip(element int64, bit int) func(*entry) {
	return func(e *entry) {
		i := element
		if i < 0 {
			i += e.count()
		}
		if bit < 0 {
			bit = int(e.size()*8) + bit
		}
		e.setBits(i, e.bits(i)^1<<bit)
	}
}

// special puts a number of that float32 pattern into the middle.
func special(pattern uint32) func(*entry) {
	return func(e *entry) {
		values := e.values()
		values[len(values)/2] = math.Float32frombits(pattern)
		e.set(values)
	}
}

func (e *entry) values() []float32 {
	p := e.data
	if e.dtype != tensor.F32 {
		cast, err := tensor.NewCast(e.dtype, tensor.F32)
		if err != nil {
			panic(err)
		}
		p = make([]byte, 4*e.count())
		cast(p, e.data)
	}
	out := make([]float32, e.count())
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(p[4*i:]))
	}
	return out
}

func (e *entry) set(values []float32) {
	p := make([]byte, 4*len(values))
	for i, x := range values {
		binary.LittleEndian.PutUint32(p[4*i:], math.Float32bits(x))
	}
	if e.dtype == tensor.F32 {
		e.data = p
		return
	}
	cast, err := tensor.NewCast(tensor.F32, e.dtype)
	if err != nil {
		panic(err)
	}
	e.data = make([]byte, int64(len(values))*e.size())
	cast(e.data, p)
}

// each changes every value.
func each(change func(x float32) float32) func(*entry) {
	return func(e *entry) {
		values := e.values()
		for i, x := range values {
			values[i] = change(x)
		}
		e.set(values)
	}
}

// rearranged gives element i of the tensor what was element from(i).
func rearranged(e *entry, from func(i int64) int64) {
	old := slices.Clone(e.data)
	for i := range e.count() {
		copy(e.data[i*e.size():][:e.size()], old[from(i)*e.size():])
	}
}

// transposedSquares turns the last two axes, which are of one length.
func transposedSquares(e *entry) {
	n := e.shape[len(e.shape)-1]
	rearranged(e, func(i int64) int64 { return i/(n*n)*(n*n) + i%n*n + i/n%n })
}

// asIfReversed has the elements that the transposed shape has in their order: a reshape where a
// transpose belongs.
func asIfReversed(e *entry) {
	rows, cols := e.shape[0], e.shape[1]
	rearranged(e, func(i int64) int64 { return i%rows*cols + i/rows })
}

// rolled moves parts of the leading axis on by n.
func rolled(n int64) func(*entry) {
	return func(e *entry) {
		inner := e.count() / e.shape[0]
		rearranged(e, func(i int64) int64 { return (i/inner+n)%e.shape[0]*inner + i%inner })
	}
}

func swapRows(a, b int64) func(*entry) {
	return func(e *entry) {
		x := slices.Clone(e.row(a))
		copy(e.row(a), e.row(b))
		copy(e.row(b), x)
	}
}

func zero(p []byte) { clear(p) }

func reshaped(shape ...int64) func(*entry) { return func(e *entry) { e.shape = shape } }

// cast gives a tensor another dtype.
func (e *entry) cast(d tensor.DType) {
	values := e.values()
	e.dtype = d
	e.set(values)
}

// otherType is a dtype of weights that a tensor does not have.
func otherType(d tensor.DType) tensor.DType {
	if d == tensor.F32 {
		return tensor.BF16
	}
	return tensor.F32
}

// all lists the tensors whose names have a part.
func (m *made) all(part string) (names []string) {
	for _, e := range m.tensors {
		if strings.Contains(e.name, part) {
			names = append(names, e.name)
		}
	}
	return names
}

// rename renames tensors, and returns all old and new names that are at fault then: those that no
// tensor has any more, and those that none should have.
func (m *made) rename(to func(name string) string) []string {
	before, after := map[string]bool{}, map[string]bool{}
	for _, e := range m.tensors {
		before[e.name] = true
		e.name = to(e.name)
		after[e.name] = true
	}
	var out []string
	for name := range before {
		if !after[name] {
			out = append(out, name)
		}
	}
	for name := range after {
		if !before[name] {
			out = append(out, name)
		}
	}
	return out
}

// field sets a field of config.json, under every name that the file has for it.
func field(name string, value func(m *made) any) func(*made) []string {
	return func(m *made) []string {
		x := value(m)
		if x == nil {
			return nil
		}
		if outer, inner, nested := strings.Cut(name, "."); nested {
			m.config[outer].(map[string]any)[inner] = x
		} else {
			m.config[name] = x
		}
		return []string{name}
	}
}

func constant(x any) func(*made) any { return func(*made) any { return x } }

// recorded keeps the conversion.json, which agrees with the settings that are given: a field of config.json that contradicts both was changed.
func recorded(do func(*made) []string) func(*made) []string {
	return func(m *made) []string {
		m.keeps = true
		return do(m)
	}
}

// without takes a field out whose default is not the model's.
func without(name string) func(*made) []string {
	return func(m *made) []string {
		delete(m.config, name)
		return []string{name}
	}
}

// files disturbs the files of a directory in shards; the first tensor's name is what has to be named.
func files(disturb func(dir string, shards []string, index map[string]any) error, names func(m *made) string) func(*made) []string {
	return func(m *made) []string {
		for _, e := range m.tensors {
			m.shard += int64(len(e.data)) / 5
		}
		m.disturb = func(dir string) error {
			shards, err := filepath.Glob(filepath.Join(dir, "model-*.safetensors"))
			if err != nil || len(shards) < 3 {
				return fmt.Errorf("%d shards, %v", len(shards), err)
			}
			path := filepath.Join(dir, safetensors.IndexName)
			index := readJSON(path)
			if err := disturb(dir, shards, index); err != nil {
				return err
			}
			return os.WriteFile(path, toJSON(index), 0o666)
		}
		return []string{names(m)}
	}
}
