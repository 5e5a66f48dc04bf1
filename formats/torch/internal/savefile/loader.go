package savefile

import (
	"errors"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// Limits on one pickle. That of tensor.MaxTensors tensors with names as models have them takes 150 to 250 bytes a tensor, and 250
// to 500 of memory; of one rank's parts of tensors, 400 bytes a tensor and more.
const (
	MaxPickle  = 64 << 20  // bytes of one that is written or inflated
	maxStored  = 256 << 20 // bytes of one that is read from a file
	maxReading = 96 << 20  // bytes of memory
)

// loader reads pickles, and collects the storages that they refer to.
type loader struct {
	legacy bool
	*container
	archive  *archive           // nil for a legacy file, and for a pickle by itself
	storages map[string]*member // by key, without an archive
	order    []*member          // by first appearance
	known    map[string]*axes   // by their numbers
	sizes    map[string]*Size   // by their numbers
	kept     int64              // bytes of memory that known and sizes take
	keep     Keep
}

func newLoader(in *container, keep Keep) *loader {
	return &loader{container: in, keep: keep, storages: map[string]*member{}, known: map[string]*axes{}, sizes: map[string]*Size{}}
}

// read reads a pickle. facts says that it holds no tensor.
func (l *loader) read(file io.ReaderAt, offset, size int64, facts bool) (pickle.Result, error) {
	config := pickle.Config{
		Names: namesWith(l.keep), Own: map[pickle.Global]any{{Module: "torch", Name: "Size"}: &pickle.Func{Call: l.makeSize}},
		Persistent: l.persistentLoad, Kept: func() int64 { return l.kept }, MaxBytes: maxStored, MaxMemory: maxReading,
	}
	if facts {
		config.Persistent, config.NoNames = nil, true
	}
	r, err := pickle.Read(file, offset, size, config)
	var bad *tensor.FormatError
	if errors.As(err, &bad) && bad.Reason == pickle.RefusedName {
		bad.Advise(adviceToResave)
	}
	return r, err
}

// adviceToResave is for files that hold more than tensors in dicts and lists.
const adviceToResave = "griffin runs nothing that a checkpoint names; load the file in Python, if you trust it, and save only the tensors: torch.save(model.state_dict(), path)"

// persistentLoad converts the tuple ("storage", class, key, location, numel) of a zip file, or
// ("storage", class, key, location, numel, view) of a legacy file, to a *storageRef. numel counts
// elements of the class, which are bytes for an UntypedStorage.
func (l *loader) persistentLoad(id any) (v any, kept int64, err error) {
	items := 5
	if l.legacy {
		items = 6
	}
	parts, ok := id.(*pickle.Tuple)
	if !ok || len(parts.Items) == 0 {
		return nil, 0, tensor.Bad("persistent id does not describe a storage")
	}
	what, _ := parts.Items[0].(string)
	if l.legacy && what == "module" && len(parts.Items) == 4 {
		return parts.Items[1], 0, nil // a class, with its source
	}
	if what != "storage" || len(parts.Items) != items {
		return nil, 0, tensor.Bad("persistent id %q of %d items does not describe a storage", tensor.Clip(what), len(parts.Items))
	}
	class, ok := parts.Items[1].(storageClass)
	if name, unknown := parts.Items[1].(*pickle.Global); unknown && !l.legacy {
		return &storageRef{problem: tensor.Bad("storage is of the class %s, which griffin does not know", tensor.Clip(name.String())).Because(Unreadable)}, memoryProblem, nil
	}
	if !ok {
		return nil, 0, tensor.Bad("storage is of a class that is not a storage class of torch")
	}
	key, _ := parts.Items[2].(string)
	if !isKey(key) {
		return nil, 0, tensor.Bad("storage key %q is not a number", tensor.Clip(key))
	}
	n, ok := parts.Items[4].(int64)
	_, size, err := tensor.SizeOf(class.dtype, []int64{n})
	if !ok || err != nil {
		return nil, 0, tensor.Bad("storage %s claims %s elements of %s", key, pickle.Show(parts.Items[4]), class.dtype)
	}
	s, kept, err := l.storage(key, class, size)
	if err != nil {
		return nil, 0, err
	}
	ref := &storageRef{member: s, loader: l, class: class}
	if class.quantized {
		ref.problem = unsupportedRef("a quantized tensor").problem
	}
	if l.legacy {
		return ref, kept, ref.narrow(parts.Items[5])
	}
	return ref, kept, nil
}

// isKey reports whether a storage key is one that torch makes: a counter or, in legacy files, an
// address.
func isKey(key string) bool {
	for _, c := range key {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(key) >= 1 && len(key) <= 20
}

// storage returns the storage of that key, and the memory that it takes if it was not known. All ids must give it the same size and, in
// legacy files, where numel defines the length of the storage, the same element type.
func (l *loader) storage(key string, class storageClass, size int64) (m *member, kept int64, err error) {
	if l.archive == nil {
		m = l.storages[key]
	} else if m = l.archive.find("data/" + key); m == nil {
		return nil, 0, tensor.Bad("storage %s is not in the file", key)
	}
	if m == nil {
		m = &member{container: l.container, name: key, size: size}
		l.storages[key] = m
		kept = memoryStorage + int64(len(key))
	}
	if !m.isUsed {
		if m.size != size {
			return nil, 0, tensor.Bad("storage %s has %d bytes in the file, but %d in the pickle", key, m.size, size)
		}
		m.isUsed, m.class = true, class
		l.order = append(l.order, m)
		kept += memoryPointer
	}
	if m.size != size || l.legacy && m.class != class {
		return nil, 0, tensor.Bad("storage %s is described as %d bytes of %s and as %d bytes of %s",
			key, m.size, m.class.dtype, size, class.dtype)
	}
	return m, kept, nil
}

// narrow applies the view of a legacy persistent id: None, or (key, offset, numel) in elements.
func (r *storageRef) narrow(view any) error {
	if view == nil {
		return nil
	}
	parts, ok := view.(*pickle.Tuple)
	if !ok || len(parts.Items) != 3 {
		return tensor.Bad("storage %s has a view that is not a tuple of 3", r.name)
	}
	offset, ok1 := parts.Items[1].(int64)
	n, ok2 := parts.Items[2].(int64)
	width := r.class.dtype.Size()
	all := r.size / width
	if !ok1 || !ok2 || offset < 0 || n < 0 || offset > all || n > all-offset {
		return tensor.Bad("view of storage %s, offset %s and %s elements, is not within its %d elements",
			r.name, pickle.Show(parts.Items[1]), pickle.Show(parts.Items[2]), all)
	}
	r.within = &span{offset * width, n * width}
	return nil
}
