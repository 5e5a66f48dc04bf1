// Package savefile reads a file of torch.save: the zip container of torch 1.6 and later, or the legacy
// container from before.
//
// What was saved is a pickle, which is a program. Nothing of it is run: see package pickle. Its value is
// made of dicts, lists and other values of that package, and of tensors (Ref, Wrapped) whose elements
// are not read yet.
package savefile

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// HeadSize is as many bytes of a file as Detect wants to see.
const HeadSize = 512

// Detect reports whether a file that begins with head, its first HeadSize bytes, may be one of
// torch.save: a zip file, or a pickle. Only reading it tells whether it is.
func Detect(head []byte) bool {
	return bytes.HasPrefix(head, []byte(LocalMark)) || isLegacy(head) || isPickle(head)
}

// isPickle reports whether head begins as a pickle of protocols 2 to 5. The third byte is an
// opcode then, and none of those is 0, as the third byte of a short safetensors file's length is.
func isPickle(head []byte) bool {
	return len(head) > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 && pickle.IsOpcode(head[2]) &&
		!(len(head) > 8 && head[8] == '{' && bytes.Equal(head[4:8], make([]byte, 4)))
}

// File is a file of torch.save whose pickle was read.
type File struct {
	Root any // what was saved

	format   string
	protocol int
	order    []*member                // storages by first appearance
	check    func() error             // checks the checksums of small storages
	describe func(*tensor.Checkpoint) // adds the facts of the container

	checksums string
}

// Read reads the container and the pickle of a file of size bytes. Errors of reading tensors later name its path; those of Read do not.
func Read(path string, r io.ReaderAt, size int64) (*File, error) {
	return ReadParts(path, r, size, nil)
}

// ReadParts is Read for a reader that keeps more than the class of tensors that are one rank's part of a tensor.
func ReadParts(path string, r io.ReaderAt, size int64, keep Keep) (*File, error) {
	const tarMark = 257 // offset of "ustar"
	head := make([]byte, min(size, HeadSize))
	if err := tensor.ReadFullAt(r, head, 0); err != nil {
		return nil, err
	}
	switch {
	case len(head) == 0:
		return nil, tensor.Bad("file is empty")
	case bytes.HasPrefix(head, []byte(LocalMark)):
		return readZip(path, r, size, keep)
	case isLegacy(head):
		return readLegacy(r, size, keep)
	case isPickle(head):
		return nil, tensor.Bad("file is a pickle, but does not begin with torch's magic number").Advise(adviceToResave)
	case len(head) > tarMark+5 && string(head[tarMark:][:5]) == "ustar":
		return nil, tensor.Bad("tar container of torch before 0.4, which griffin does not read").
			Advise("load the file with torch and save it again")
	}
	return nil, tensor.Bad("neither a zip file nor a legacy file of torch.save")
}

// CheckSizes returns an error if Read may not read a pickle or a directory of so many bytes.
func CheckSizes(pickle, directory int64) error {
	if pickle > MaxPickle {
		return tensor.Bad("pickle of %d bytes exceeds %d MiB", pickle, MaxPickle>>20)
	}
	return checkDirectory(directory)
}

// Checksums says which checksums of the storages the container keeps, as the Detail tensor.Checksums does.
func (f *File) Checksums() string { return f.checksums }

// Tensor returns the tensor that a Ref of the file describes, without a name.
func (f *File) Tensor(ref *Ref) (*tensor.Tensor, error) {
	if ref.problem != nil {
		return nil, ref.problem
	}
	data, err := ref.data()
	if err != nil {
		return nil, err
	}
	return &tensor.Tensor{DType: ref.dtype, Shape: ref.shape, Data: data}, nil
}

// Options say what to make of a file.
type Options struct {
	// SkipUnreadable leaves out, with a note, the tensors that cannot be read: sparse and quantized ones,
	// for example. Otherwise they are an error with the reason Unreadable.
	SkipUnreadable bool
}

// Checkpoint returns the tensors of the file as a checkpoint. Closing it closes the closers. A small file
// that is damaged is refused at once.
func (f *File) Checkpoint(path string, options Options, closers ...io.Closer) (*tensor.Checkpoint, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	list, err := f.List()
	if err != nil {
		return nil, err
	}
	var tensors []*tensor.Tensor
	var skipped []string
	var problem error // of the first that is skipped
	users := map[*member]int{}
	claimed := int64(0) // bytes of all tensors
	for _, n := range list.Tensors {
		t, err := f.readable(n)
		switch {
		case err == nil:
			users[n.Value.(*Ref).storage]++
			claimed += min(t.Bytes(), math.MaxInt64/2-claimed)
			t.Name = n.Name
			tensors = append(tensors, t)
			continue
		case tensor.ReasonOf(err) != Unreadable || !options.SkipUnreadable:
			return nil, tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(n.Name)})
		case problem == nil:
			problem = err
		}
		skipped = append(skipped, tensor.QuoteName(n.Name))
	}
	if len(tensors) == 0 {
		return nil, list.noTensor(problem)
	}
	if most := f.mostBytes(); claimed > most {
		return nil, tensor.Bad("tensors have %d bytes, and of the storages that they share griffin reads at most %d", claimed, most).
			Because(tensor.TooLarge)
	}
	c, err := tensor.NewCheckpoint(path, f.format, tensors, closers...)
	if err != nil {
		return nil, err
	}
	c.Describe("pickle protocol", strconv.Itoa(max(f.protocol, 1)))
	f.describe(c)
	describeStorages(c, len(f.order), users)
	list.describe(c)
	c.LeaveOut("tensors that cannot be read", skipped)
	c.LeaveOut("tensors in objects of unknown classes", namesOf(list.Hidden))
	return c, nil
}

// How often the tensors of a file may repeat its storages, on average, besides slack bytes. Tied parameters are twice or,
// in models that run a block several times, dozens of times in a file.
const (
	maxRepeated = 64
	maxInflates = 16 // of deflated storages, which are inflated for each tensor
	slack       = 256 << 20
)

// mostBytes returns how many bytes the tensors of the file may have, so that reading all of them takes a time that is
// linear in its size.
func (f *File) mostBytes() int64 {
	most := int64(slack)
	for _, m := range f.order {
		factor := int64(maxRepeated)
		if m.deflated {
			factor = maxInflates
		}
		most += min(m.size, (math.MaxInt64/2-most)/factor) * factor
	}
	return most
}

// note adds a note about tensors, if there are any.
func namesOf(list []Named) (names []string) {
	for _, n := range list {
		names = append(names, tensor.QuoteName(n.Name))
	}
	return names
}

// readable returns a tensor of the list, or why it is none that can be read by itself.
func (f *File) readable(n Named) (*tensor.Tensor, error) {
	switch v := n.Value.(type) {
	case *Ref:
		return f.Tensor(v)
	case *Wrapped:
		if v.IsSharded() {
			return nil, tensor.Bad("is one rank's part of a tensor that is spread over several ranks (%s)", v.Name()).Because(Sharded)
		}
		return nil, unsupportedRef("a tensor of the class " + v.Name() + ", which wraps others").problem
	}
	return nil, tensor.Bad("is not a tensor")
}

// Sharded is the reason of the error about a file that holds one rank's parts of tensors.
const Sharded tensor.Reason = "parts of one rank"

// noTensor returns the error about a file without a tensor that can be read. problem is why one cannot,
// or nil.
func (l *List) noTensor(problem error) error {
	switch {
	case problem != nil:
		return problem
	case len(l.Hidden) > 0:
		return tensor.Bad("lies in an object of an unknown class, like all tensors of the file").Of(l.Hidden[0].Name).Advise(adviceToResave)
	}
	return tensor.Bad("pickle holds no tensor").
		Advise("a checkpoint is a dict of tensors, as torch.save(model.state_dict(), path) writes it")
}

func describeStorages(c *tensor.Checkpoint, storages int, users map[*member]int) {
	c.Describe("storages", strconv.Itoa(storages))
	shared, by := 0, 0
	for _, n := range users {
		if n > 1 {
			shared++
			by += n
		}
	}
	if shared > 0 {
		c.Describe("shared storages", fmt.Sprintf("%d, by %d tensors", shared, by))
	}
}

// StorageOffset identifies the storage in which a tensor of a File lies within the file: its offset, -1
// for data of another kind.
func StorageOffset(t *tensor.Tensor) int64 {
	if d, ok := t.Data.(interface{ storageOffset() int64 }); ok {
		return d.storageOffset()
	}
	return -1
}

func (t *Ref) storageOffset() int64 { return t.storage.offset }
