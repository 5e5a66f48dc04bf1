package torch

import (
	"bytes"
	"errors"
	"math/big"
	"strconv"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// loader converts scanned pickles to values, and collects the storages that they refer to.
type loader struct {
	legacy   bool
	storages map[string]*storageInfo
	order    []*storageInfo // by first appearance
}

// unpickle builds the value of a pickle that scan has copied.
func (l *loader) unpickle(copied []byte) (v any, err error) {
	defer func() { // the scanner prevents panics of gopickle, unless either has a bug
		if r := recover(); r != nil {
			err = tensor.Bad("pickle cannot be read: %v", r)
		}
	}()
	u := pickle.NewUnpickler(bytes.NewReader(copied))
	u.FindClass = findClass
	u.PersistentLoad = l.persistentLoad
	v, err = u.Load()
	var bad *tensor.FormatError
	if err != nil && !errors.As(err, &bad) {
		err = tensor.Bad("pickle cannot be read: %w", err)
	}
	return v, err
}

// persistentLoad converts the tuple ("storage", class, key, location, numel) of a zip file, or
// ("storage", class, key, location, numel, view) of a legacy file, to a *storageRef. numel counts
// elements of the class, which are bytes for an UntypedStorage.
func (l *loader) persistentLoad(id any) (any, error) {
	parts, items := id.(*types.Tuple), 5
	if l.legacy {
		items = 6
	}
	if parts == nil || parts.Len() == 0 {
		return nil, tensor.Bad("persistent id does not describe a storage")
	}
	if what, _ := parts.Get(0).(string); what != "storage" || parts.Len() != items {
		return nil, tensor.Bad("persistent id %q of %d items does not describe a storage", what, parts.Len())
	}
	class, ok := parts.Get(1).(storageClass)
	if !ok {
		return nil, tensor.Bad("storage is of a class that is not a storage class of torch")
	}
	key, _ := parts.Get(2).(string)
	if !isKey(key) {
		return nil, tensor.Bad("storage key %q is not a number", key)
	}
	n, ok := parts.Get(4).(int)
	_, size, err := tensor.SizeOf(class.dtype, []int64{int64(n)})
	if !ok || err != nil {
		return nil, tensor.Bad("storage %s claims %v elements of %s", key, parts.Get(4), class.dtype)
	}
	s, err := l.storage(key, class, size)
	if err != nil {
		return nil, err
	}
	ref := &storageRef{storageInfo: s, class: class, length: size}
	if l.legacy {
		return ref, ref.narrow(parts.Get(5))
	}
	return ref, nil
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

// storage returns the storage of that key. All ids must give it the same size and, in legacy files, where
// numel defines the length of the storage, the same element type.
func (l *loader) storage(key string, class storageClass, size int64) (*storageInfo, error) {
	s := l.storages[key]
	if s == nil {
		s = &storageInfo{key: key, class: class, bytes: size}
		l.storages[key] = s
		l.order = append(l.order, s)
	}
	if s.bytes != size || l.legacy && s.class != class {
		return nil, tensor.Bad("storage %s is described as %d bytes of %s and as %d bytes of %s",
			key, s.bytes, s.class.dtype, size, class.dtype)
	}
	return s, nil
}

// narrow applies the view of a legacy persistent id: None, or (key, offset, numel) in elements.
func (r *storageRef) narrow(view any) error {
	if view == nil {
		return nil
	}
	parts, ok := view.(*types.Tuple)
	if !ok || parts.Len() != 3 {
		return tensor.Bad("storage %s has a view that is not a tuple of 3", r.key)
	}
	offset, ok1 := parts.Get(1).(int)
	n, ok2 := parts.Get(2).(int)
	width := r.class.dtype.Size()
	all := r.bytes / width
	if !ok1 || !ok2 || offset < 0 || n < 0 || int64(offset) > all || int64(n) > all-int64(offset) {
		return tensor.Bad("view of storage %s, offset %v and %v elements, is not within its %d elements",
			r.key, parts.Get(1), parts.Get(2), all)
	}
	r.first, r.length = int64(offset)*width, int64(n)*width
	return nil
}

// describe returns the kind of a value that is neither tensor nor container, in the plural.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "booleans"
	case int, float64, *big.Int:
		return "numbers"
	case string:
		return "strings"
	case []byte:
		return "byte strings"
	case *storageRef:
		return looseStorages
	case *other:
		return v.what
	}
	return "types"
}

// looseStorages is the kind of a storage that is not part of a tensor.
const looseStorages = "storages without a tensor"

// keyText returns a key of a dict as part of a tensor's name, and false if the key is not text, an integer
// or a boolean.
func keyText(key any) (string, bool) {
	switch k := key.(type) {
	case string:
		return k, true
	case int:
		return strconv.Itoa(k), true
	case bool:
		if k {
			return "True", true
		}
		return "False", true
	}
	return "", false
}
